"""Which samples lie in which window, found for whole groups of series at once.

Kernels are written once, on the last axis: a group of series that share timestamps comes as (S, P)
values with one window per step, other series come one after another in a flat (P,) array with one
window per series and step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar, cast

import numpy as np

from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.model.selection import MatrixGroup, RaggedGroup
from metricsmith.promql.values import Grid, RangeVector

Step = TypeVar("Step", F64, I64)

CHUNK_VALUES = 32_768
"""Samples or results per piece of work: a few arrays of this length fit the second-level cache."""

SMALL_MATRIX_VALUES = 8_192
MANY_MATRICES = 4


@dataclass(frozen=True, slots=True)
class Windows:
    """One piece of work for a kernel: samples, and inclusive sample bounds of each window.

    Shapes:
        values: (S, P), or (P,) for series one after another.
        times: (P,) int64.
        first, last: (W,) int64; an empty window has first 0 and last -1.
        ends: (T,) window ends; W is T for a matrix, S·T when flat (steps vary fastest).
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
        repeats = len(self.first) // max(len(self.ends), 1)
        return per_step if repeats == 1 else cast(Step, np.tile(per_step, repeats))

    def at(self, index: I64) -> F64:
        """Return the value at one sample index per window.

        Shapes:
            index: (W,)
            returns: (…, W)
        """
        return np.take(self.values, index, axis=-1)


@dataclass(frozen=True, slots=True)
class Piece:
    """Windows of some series, and the series' indices.

    Shapes:
        rows: (S,)
    """

    rows: I64
    windows: Windows


def bounds(times: I64, ends: Grid, range_ms: int, closed: bool) -> tuple[I64, I64]:
    """Return first and last sample (inclusive) of each window, for one vector of timestamps.

    Shapes:
        times: (P,) ascending.
        returns: two of (T,); 0 and -1 for an empty window.
    """
    at = ends.times()
    last = np.searchsorted(times, at, side="right") - 1
    first = np.searchsorted(times, at - range_ms, side="left" if closed else "right")
    return _mark_empty(first.astype(np.int64, copy=False), last.astype(np.int64, copy=False))


def ragged_bounds(times: I64, offsets: I64, ends: Grid, range_ms: int, closed: bool) -> tuple[I64, I64]:
    """Return first and last sample (inclusive, flat index) of each window of each series.

    Steps are regular, so the first window that ends at or after a sample is
    arithmetic; counting samples per window and summing up replaces a search.

    Shapes:
        times: (P,) ascending within a series.
        offsets: (S + 1,) from 0 to P.
        returns: two of (S·T,); 0 and -1 for an empty window.
    """
    series = np.repeat(np.arange(len(offsets) - 1, dtype=np.int64), np.diff(offsets))
    back = range_ms // ends.step_ms if ends.step_ms and not closed else 0
    if back * ends.step_ms == range_ms and back <= ends.count:
        # Windows begin where earlier windows end: one count serves both.
        earlier = Grid(ends.start_ms - range_ms, ends.step_ms, ends.count + back)
        upto = _samples_upto(times, series, offsets, earlier)
        return _mark_empty(upto[:, : ends.count].ravel(), upto[:, back:].ravel() - 1)
    upto_end = _samples_upto(times, series, offsets, ends)
    upto_start = _samples_upto(times, series, offsets, ends.shifted(-range_ms - (1 if closed else 0)))
    return _mark_empty(upto_start.ravel(), upto_end.ravel() - 1)


def _samples_upto(times: I64, series: I64, offsets: I64, ends: Grid) -> I64:
    """Return the flat index after the last sample not later than each step.

    Shapes:
        returns: (S, T)
    """
    steps = ends.count
    if ends.step_ms:
        step_of = np.clip(-((ends.start_ms - times) // ends.step_ms), 0, steps)
    else:
        step_of = np.where(times <= ends.start_ms, 0, steps)
    counts = np.bincount(series * (steps + 1) + step_of, minlength=(len(offsets) - 1) * (steps + 1))
    found = counts.reshape(-1, steps + 1)[:, :steps].cumsum(axis=1)
    found += offsets[:-1, None]
    return found.astype(np.int64, copy=False)


def _mark_empty(first: I64, last: I64) -> tuple[I64, I64]:
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
            group.values[part], group.times, first, last, ends, vector.range_ms, vector.closed, group.stale
        )
        yield Piece(group.rows[part], windows)


def _ragged_pieces(group: RaggedGroup, vector: RangeVector) -> Iterator[Piece]:
    ends = vector.ends.times()
    start = 0
    while start < len(group.rows):
        stop = _ragged_stop(group.offsets, start, len(ends))
        begin, end = int(group.offsets[start]), int(group.offsets[stop])
        samples = slice(begin, end)
        if end > begin:
            times = group.times[samples]
            first, last = ragged_bounds(
                times, group.offsets[start : stop + 1] - begin, vector.ends, vector.range_ms, vector.closed
            )
            stale = None if group.stale is None else group.stale[samples]
            windows = Windows(
                group.values[samples], times, first, last, ends, vector.range_ms, vector.closed, stale
            )
            yield Piece(group.rows[start:stop], windows)
        start = stop


def _ragged_stop(offsets: I64, start: int, steps: int) -> int:
    """Return the series after the last that fits one piece, at least one series on."""
    by_samples = int(np.searchsorted(offsets, offsets[start] + CHUNK_VALUES, side="right")) - 1
    by_steps = start + CHUNK_VALUES // max(steps, 1)
    return min(max(start + 1, min(by_samples, by_steps)), len(offsets) - 1)


def gather_small(
    matrices: list[MatrixGroup], ragged: RaggedGroup | None, steps: int
) -> tuple[list[MatrixGroup], RaggedGroup | None]:
    """Return groups with many small matrices turned into series one after another.

    A kernel call costs about the same for two series as for twenty, so a
    thousand targets with two matching series each are one ragged group.
    """
    small = [len(m.rows) * (len(m.times) + steps) < SMALL_MATRIX_VALUES for m in matrices]
    if sum(small) <= MANY_MATRICES:
        return matrices, ragged
    large = [m for m, is_small in zip(matrices, small, strict=True) if not is_small]
    parts = [as_ragged(m) for m, is_small in zip(matrices, small, strict=True) if is_small]
    if ragged is not None:
        parts.append(ragged)
    return large, concatenate(parts)


def as_ragged(group: MatrixGroup) -> RaggedGroup:
    """Return the same series one after another."""
    series, samples = group.values.shape
    return RaggedGroup(
        group.rows,
        np.arange(series + 1, dtype=np.int64) * samples,
        np.tile(group.times, series),
        group.values.ravel(),
        None if group.stale is None else np.tile(group.stale, series),
    )


def concatenate(groups: list[RaggedGroup]) -> RaggedGroup:
    """Return several ragged groups as one."""
    lengths = np.concatenate([np.diff(g.offsets) for g in groups])
    stale: Bool | None = None
    if any(g.stale is not None for g in groups):
        stale = np.concatenate(
            [np.zeros(len(g.times), np.bool_) if g.stale is None else g.stale for g in groups]
        )
    return RaggedGroup(
        np.concatenate([g.rows for g in groups]),
        np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]),
        np.concatenate([g.times for g in groups]),
        np.concatenate([g.values for g in groups]),
        stale,
    )


def without_markers(
    matrices: list[MatrixGroup], ragged: RaggedGroup | None
) -> tuple[list[MatrixGroup], RaggedGroup | None]:
    """Return the groups without staleness markers, which range functions do not see."""
    return [_matrix_without_markers(m) for m in matrices], (
        None if ragged is None else _ragged_without_markers(ragged)
    )


def _matrix_without_markers(group: MatrixGroup) -> MatrixGroup:
    if group.stale is None:
        return group
    kept = ~group.stale
    return MatrixGroup(group.rows, group.times[kept], np.ascontiguousarray(group.values[:, kept]))


def _ragged_without_markers(group: RaggedGroup) -> RaggedGroup:
    if group.stale is None:
        return group
    kept = ~group.stale
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])
    return RaggedGroup(group.rows, before[group.offsets], group.times[kept], group.values[kept])
