"""When batches came into the journal, by their numbers: how long the oldest has waited for a sink."""

from __future__ import annotations

from bisect import bisect_right

MOST_MARKS = 2048


class Ages:
    """Remembers coarsely when the journal had come to which number. For one thread that notes, any that asks.

    Marks thin out as they grow old, so that memory is bounded and an age is
    right within a second or a thousandth of it.
    """

    def __init__(self, next_sequence: int, now_s: float) -> None:
        """Begin: what came before is of an age that is not known."""
        self._marks: tuple[tuple[int, float], ...] = ((next_sequence, now_s),)

    def note(self, next_sequence: int, now_s: float) -> None:
        """Note which number the next batch gets; called about once a second."""
        marks = self._marks
        if marks[-1][0] == next_sequence:
            marks = marks[:-1]  # nothing came: what comes is no older than now
        elif len(marks) >= MOST_MARKS:
            marks = marks[::2]
        self._marks = (*marks, (next_sequence, now_s))

    def age_s(self, sequence: int, now_s: float) -> float | None:
        """Return the seconds since a batch was committed, at most a second more; None where not known."""
        marks = self._marks
        place = bisect_right(marks, sequence, key=lambda mark: mark[0]) - 1
        return now_s - marks[place][1] if place >= 0 else None
