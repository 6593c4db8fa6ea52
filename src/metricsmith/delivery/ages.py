"""When batches came into the journal, by their numbers: how long the oldest has waited for a sink."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise

MOST_MARKS = 4096
"""Twice what is left after thinning when the agent has run for a month."""
FINENESS = 200
"""Ages are right within this part of them, or within a second."""

_Mark = tuple[int, float]


class Ages:
    """Remembers when the journal had come to which number: the longer ago, the more coarsely.

    One thread notes, any may ask.
    """

    def __init__(self, next_sequence: int, now_s: float) -> None:
        """Begin: what came before is of an age that is not known."""
        self._marks: tuple[_Mark, ...] = ((next_sequence, now_s),)

    def note(self, next_sequence: int, now_s: float) -> None:
        """Note which number the next batch gets; called about once a second."""
        marks = self._marks
        if marks[-1][0] == next_sequence:
            marks = marks[:-1]  # nothing came: what comes is no older than now
        elif len(marks) >= MOST_MARKS:
            marks = _thinned(marks, now_s)
        self._marks = (*marks, (next_sequence, now_s))

    def age_s(self, sequence: int, now_s: float) -> float | None:
        """Return the seconds since a batch was committed, hardly ever less; None where not known."""
        marks = self._marks
        place = bisect_right(marks, sequence, key=lambda mark: mark[0]) - 1
        return now_s - marks[place][1] if place >= 0 else None


def _thinned(marks: tuple[_Mark, ...], now_s: float) -> tuple[_Mark, ...]:
    kept = [marks[0]]
    for mark, after in pairwise(marks[1:]):
        if after[1] - kept[-1][1] > (now_s - after[1]) / FINENESS:
            kept.append(mark)
    return (*kept, marks[-1])
