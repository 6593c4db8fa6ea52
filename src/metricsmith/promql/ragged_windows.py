"""Windows over series with timestamps of their own, one after another in flat arrays.

Steps are regular, so the first window that ends at or after a sample is arithmetic. Counting samples
per window and summing up replaces a search for each window.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from metricsmith.model.arrays import I64
from metricsmith.model.selection import RaggedGroup
from metricsmith.promql.values import Grid, RangeVector


@dataclass(frozen=True, slots=True)
class Coverage:
    """Which steps of each series have a window: all, or those that may hold a sample.

    Series that live for a small part of the query (churn) would otherwise cost
    as much as those that live throughout.

    Shapes:
        offsets: (S + 1,) samples of each series.
        low, widths: (S,) first step, and number of steps from there on.
    """

    offsets: I64
    low: I64
    widths: I64
    ends: Grid
    range_ms: int
    closed: bool
    every_step: bool

    @classmethod
    def of(cls, group: RaggedGroup, vector: RangeVector) -> Coverage:
        """Return the coverage of a group; every step, unless that is more than twice what is needed."""
        low, widths = _spans(group, vector.ends, vector.range_ms)
        steps = vector.ends.count
        every_step = bool(2 * widths.sum() >= steps * len(widths))
        if every_step:
            low, widths = np.zeros_like(low), np.full_like(widths, steps)
        return cls(group.offsets, low, widths, vector.ends, vector.range_ms, vector.closed, every_step)

    def parts(self, size: int) -> Iterator[slice]:
        """Yield runs of series with about `size` samples or windows, whichever are more."""
        lengths = np.diff(self.offsets)
        upto = np.cumsum(np.maximum(lengths, self.widths))
        start = 0
        while start < len(lengths):
            before = int(upto[start - 1]) if start else 0
            stop = max(start + 1, int(np.searchsorted(upto, before + size, side="right")))
            if self.offsets[stop] > self.offsets[start]:
                yield slice(start, stop)
            start = stop

    def cells(self, part: slice) -> tuple[I64, I64]:
        """Return series and step of each window, of some series.

        Shapes:
            returns: two of (W,)
        """
        widths = self.widths[part]
        begin = np.cumsum(widths) - widths
        steps = np.arange(int(widths.sum()), dtype=np.int64) - np.repeat(begin - self.low[part], widths)
        return np.repeat(np.arange(part.start, part.stop), widths), steps

    def bounds(self, times: I64, part: slice) -> tuple[I64, I64]:
        """Return first and last sample of each window, counted in the part; last < first when empty.

        Shapes:
            times: (P,) of the part's series.
            returns: two of (W,)
        """
        lengths = np.diff(self.offsets[part.start : part.stop + 1])
        if self.every_step:
            return self._bounds_of_every_step(times, lengths)
        widths = self.widths[part]
        cells = np.cumsum(widths + 1) - widths - 1
        inside = np.ones(int(widths.sum()) + len(widths), dtype=np.bool_)
        inside[cells + widths] = False
        low, limits = np.repeat(self.low[part], lengths), np.repeat(widths, lengths)
        cell = np.repeat(cells, lengths)
        upto_end = _upto(times, self.ends, low, limits, cell, len(inside))
        upto_start = _upto(times, self._starts(), low, limits, cell, len(inside))
        return upto_start[inside], upto_end[inside] - 1

    def _bounds_of_every_step(self, times: I64, lengths: I64) -> tuple[I64, I64]:
        ends, steps = self.ends, self.ends.count
        back = self.range_ms // ends.step_ms if ends.step_ms and not self.closed else 0
        if back * ends.step_ms == self.range_ms and back <= steps:
            # Windows begin where earlier windows end: one count serves both.
            earlier = Grid(ends.start_ms - self.range_ms, ends.step_ms, steps + back)
            upto = _upto_every_step(times, lengths, earlier)
            return upto[:, :steps].ravel(), upto[:, back:].ravel() - 1
        upto_start = _upto_every_step(times, lengths, self._starts())
        return upto_start.ravel(), _upto_every_step(times, lengths, ends).ravel() - 1

    def _starts(self) -> Grid:
        return self.ends.shifted(-self.range_ms - (1 if self.closed else 0))


def _spans(group: RaggedGroup, ends: Grid, range_ms: int) -> tuple[I64, I64]:
    """Return the first step whose window may hold a sample of each series, and how many follow.

    Shapes:
        returns: two of (S,)
    """
    filled = np.diff(group.offsets) > 0
    if not ends.step_ms or not len(group.times):
        return np.zeros(len(filled), np.int64), np.where(filled, ends.count, 0)
    first_ms = group.times[np.where(filled, group.offsets[:-1], 0)]
    last_ms = group.times[np.where(filled, group.offsets[1:] - 1, 0)]
    low = np.maximum(-((ends.start_ms - first_ms) // ends.step_ms), 0)
    high = np.minimum((last_ms + range_ms - ends.start_ms) // ends.step_ms, ends.count - 1)
    return low, np.where(filled, np.maximum(high - low + 1, 0), 0)


def _upto_every_step(times: I64, lengths: I64, ends: Grid) -> I64:
    """Return the flat index after the last sample not later than each step.

    Shapes:
        returns: (S, T)
    """
    width = ends.count + 1
    cells = np.repeat(np.arange(len(lengths), dtype=np.int64) * width, lengths)
    upto = _upto(times, ends, 0, ends.count, cells, len(lengths) * width)
    return upto.reshape(-1, width)[:, :-1]


def _upto(times: I64, ends: Grid, low: I64 | int, widths: I64 | int, cells: I64, total: int) -> I64:
    """Return the number of samples up to each window end; one cell more per series counts what is later.

    Shapes:
        low, widths, cells: (P,) what holds for each sample's series; cells is where its windows begin.
        returns: (total,)
    """
    if ends.step_ms:
        step = -((ends.start_ms - times) // ends.step_ms) - low
    else:
        step = np.where(times <= ends.start_ms, 0, widths)
    counts = np.bincount(cells + np.clip(step, 0, widths), minlength=total)
    return np.cumsum(counts, dtype=np.int64)
