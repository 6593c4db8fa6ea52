"""Records per second of one pipeline."""

from __future__ import annotations

from collections import deque

MARKS = 10


class Throughput:
    """Records per second over the last window, derived when somebody asks.

    Recording only adds to a number. Each reading leaves a mark, and the figure is
    the growth since the youngest mark that is a window old: so who reads rarely
    gets it since the last reading, and a pipeline that stops comes to 0. Readings
    are made by one thread at a time.
    """

    __slots__ = ("_marks", "_reported", "_total", "_window_s", "seen")

    def __init__(self, window_s: float, now_s: float) -> None:
        self.seen = 0
        self._window_s = window_s
        self._marks: deque[tuple[float, int]] = deque([(now_s, 0)])
        self._reported = False
        self._total = 0

    def processed(self, records: int) -> None:
        """Count records of a batch, unless the pipeline reports its totals."""
        if not self._reported:
            self.seen += records

    def total(self, records: int) -> None:
        """Take the growth of a total that the pipeline keeps itself.

        Its first total is where counting begins, as is one that is smaller than the
        last: a state that was read back is no throughput.
        """
        if self._reported and records > self._total:
            self.seen += records - self._total
        self._reported, self._total = True, records

    def per_second(self, now_s: float) -> float:
        """Return the records per second until now."""
        marks, seen, least_s = self._marks, self.seen, self._window_s / MARKS
        while len(marks) > 1 and now_s - marks[1][0] >= self._window_s:
            marks.popleft()
        since_s, before = marks[0]
        if now_s - marks[-1][0] >= least_s:
            marks.append((now_s, seen))
        return (seen - before) / max(now_s - since_s, least_s)
