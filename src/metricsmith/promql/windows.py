"""Which samples lie in which window, found for whole groups of series at once.

Kernels are written once, on the last axis: a group of series that share timestamps comes as (S, P)
values with one window per step, other series come one after another in a flat (P,) array with one
window per series and step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.model.sample_groups import gather_small
from metricsmith.model.selection import MatrixGroup, RaggedGroup
from metricsmith.promql.ragged_windows import Coverage
from metricsmith.promql.values import Grid, RangeVector

Step = TypeVar("Step", F64, I64)

CHUNK_VALUES = 65_536
"""Samples or results per piece of work: a few arrays of this length fit the second-level cache."""


@dataclass(frozen=True, slots=True)
class Windows:
    """One piece of work for a kernel: samples, and inclusive sample bounds of each window.

    Shapes:
        values: (S, P), or (P,) for series one after another.
        times: (P,) int64.
        first, last: (W,) int64; an empty window has first 0 and last -1.
        ends: (W,) window ends.
        steps: (W,) the step of each window; None when they are the steps in order.
        stale: (P,) markers, or None; only instant selectors see them.
        closed: windows as before Prometheus 3, and its rules of that time.
    """

    values: F64
    times: I64
    first: I64
    last: I64
    ends: I64
    range_ms: int
    closed: bool
    steps: I64 | None = None
    stale: Bool | None = None

    @property
    def counts(self) -> I64:
        """Samples in each window.

        Shapes:
            returns: (W,)
        """
        return self.last - self.first + 1

    def per_window(self, per_step: Step) -> Step:
        """Return a value of each step for each window.

        Shapes:
            per_step: (T,)
            returns: (W,)
        """
        return per_step if self.steps is None else per_step[self.steps]

    def some(self, part: slice) -> Windows:
        """Return some of the windows, over the same samples."""
        steps = None if self.steps is None else self.steps[part]
        return replace(self, first=self.first[part], last=self.last[part], ends=self.ends[part], steps=steps)

    def at(self, index: I64) -> F64:
        """Return the value at one sample index per window.

        Shapes:
            index: (W,)
            returns: (…, W)
        """
        return np.take(self.values, index, axis=-1)


@dataclass(frozen=True, slots=True)
class Piece:
    """Windows of some series, and where their results belong.

    Shapes:
        rows: (S,) indices of the series; or (W,) one for each window, when the windows
            are not those of every step (then `windows.steps` says of which).
    """

    rows: I64
    windows: Windows
    every_step: bool


def bounds(times: I64, ends: Grid, range_ms: int, closed: bool) -> tuple[I64, I64]:
    """Return first and last sample (inclusive) of each window, for one vector of timestamps.

    Shapes:
        times: (P,) ascending.
        returns: two of (T,); 0 and -1 for an empty window.
    """
    at = ends.times()
    last = np.searchsorted(times, at, side="right") - 1
    first = np.searchsorted(times, at - range_ms, side="left" if closed else "right")
    return mark_empty(first.astype(np.int64, copy=False), last.astype(np.int64, copy=False))


def mark_empty(first: I64, last: I64) -> tuple[I64, I64]:
    """Return bounds in which every empty window is 0 and -1; the arrays are changed."""
    empty = last < first
    first[empty] = 0
    last[empty] = -1
    return first, last


def pieces(vector: RangeVector) -> Iterator[Piece]:
    """Yield the windows of a range vector in pieces that fit the cache."""
    matrices, ragged = gather_small(vector.matrices, vector.ragged, vector.ends.count)
    for matrix in matrices:
        yield from _matrix_pieces(matrix, vector)
    if ragged is not None:
        yield from _ragged_pieces(ragged, vector)


def _matrix_pieces(group: MatrixGroup, vector: RangeVector) -> Iterator[Piece]:
    if not len(group.times):
        return
    first, last = bounds(group.times, vector.ends, vector.range_ms, vector.closed)
    ends = vector.ends.times()
    rows = max(1, CHUNK_VALUES // max(len(group.times), len(ends), 1))
    for start in range(0, len(group.rows), rows):
        part = slice(start, start + rows)
        windows = Windows(
            group.values[part],
            group.times,
            first,
            last,
            ends,
            vector.range_ms,
            vector.closed,
            stale=group.stale,
        )
        yield Piece(group.rows[part], windows, every_step=True)


def _ragged_pieces(group: RaggedGroup, vector: RangeVector) -> Iterator[Piece]:
    if vector.ends.count == 1 and 0 < len(group.times) <= CHUNK_VALUES:
        yield _at_one_time(group, vector)
        return
    cover = Coverage.of(group, vector)
    every_step = every_end = np.empty(0, np.int64)
    for part in cover.parts(CHUNK_VALUES):
        samples = slice(int(group.offsets[part.start]), int(group.offsets[part.stop]))
        times = group.times[samples]
        first, last = cover.bounds(times, part)
        if cover.every_step:
            count = (part.stop - part.start) * vector.ends.count
            if len(every_step) < count:
                every_step = cover.cells(part)[1]
                every_end = vector.ends.start_ms + every_step * vector.ends.step_ms
            rows, steps, ends = group.rows[part], every_step[:count], every_end[:count]
        else:
            series, steps = cover.cells(part)
            rows, ends = group.rows[series], vector.ends.start_ms + steps * vector.ends.step_ms
        windows = Windows(
            group.values[samples],
            times,
            *mark_empty(first, last),
            ends,
            vector.range_ms,
            vector.closed,
            steps,
            None if group.stale is None else group.stale[samples],
        )
        yield Piece(rows, windows, cover.every_step)


def _at_one_time(group: RaggedGroup, vector: RangeVector) -> Piece:
    """Return the windows of an instant query, one for each series: rules ask thousands of these."""
    end_ms, range_ms, closed = vector.ends.start_ms, vector.range_ms, vector.closed
    start, stop, times = group.offsets[:-1], group.offsets[1:], group.times
    early = times < end_ms - range_ms if closed else times <= end_ms - range_ms
    first = start + _count(early, group.offsets)
    last = stop - _count(times > end_ms, group.offsets) - 1
    steps, ends = np.zeros(len(start), np.int64), np.full(len(start), end_ms)
    bounds = mark_empty(first, last)
    windows = Windows(group.values, times, *bounds, ends, range_ms, closed, steps, group.stale)
    return Piece(group.rows, windows, every_step=True)


def _count(chosen: Bool, offsets: I64) -> I64 | int:
    """Return how many samples of each series are chosen.

    Shapes:
        chosen: (P,); offsets: (S + 1,); returns: (S,), or 0 when there is none at all
    """
    if not chosen.any():
        return 0
    upto = np.zeros(len(chosen) + 1, np.int64)
    np.cumsum(chosen, out=upto[1:])
    return np.diff(upto[offsets])
