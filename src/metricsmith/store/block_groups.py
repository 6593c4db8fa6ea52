"""Decoded row groups: samples of some series of a block, with each distinct timestamp vector kept once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from metricsmith.model.arrays import F64, I64, U32, Bool
from metricsmith.store.pieces import LARGE_MATRIX_SAMPLES, MatrixPiece, Piece, RaggedPiece
from metricsmith.store.ragged import appended, consecutive, flat_positions, group_equal, offsets_of
from metricsmith.store.row_copies import Samples, copy_rows

_MIN_MATRIX_SAMPLES = 256
"""A smaller matrix costs more than its samples do one by one; it also bounds the matrices of a row group."""
SMALL_PIECE_SAMPLES = 8_192
"""A smaller piece costs more as a piece than to be copied."""


@dataclass(frozen=True, slots=True)
class SampleGroup:
    """One row group: series i has values `offsets[i]:offsets[i + 1]` and times from `clock[clock_start[i]]`.

    Series scraped together share their times: keeping a vector once halves
    the memory, and equal `clock_start` says that series fit into one matrix.

    Shapes:
        offsets: (S + 1,)
        values: (P,) NaN where stale.
        clock_start: (S,)
        clock: (C,) distinct time vectors one after another.
        stale: (C,) markers, parallel to `clock`, or None.
    """

    offsets: I64
    values: F64
    clock_start: I64
    clock: I64
    stale: Bool | None

    @property
    def nbytes(self) -> int:
        """Return the memory of all arrays."""
        arrays = (self.offsets, self.values, self.clock_start, self.clock, self.stale)
        return sum(a.nbytes for a in arrays if a is not None)


def make_group(offsets: I64, times: I64, values: F64, stale: Bool | None) -> SampleGroup:
    """Return a group of samples, equal time vectors (with equal markers) kept once.

    Shapes:
        offsets: (S + 1,), no series empty.
        times, values, stale: (P,)
    """
    counts = np.diff(offsets)
    width = int(counts[0])
    if bool((counts == width).all()):
        shared = bool((times.reshape(-1, width) == times[:width]).all())
        if shared and (stale is None or bool((stale.reshape(-1, width) == stale[:width]).all())):
            marks = None if stale is None else stale[:width].copy()
            return SampleGroup(offsets, values, np.zeros(len(counts), np.int64), times[:width].copy(), marks)
    number = group_equal(times * 2 if stale is None else times * 2 + stale, offsets)
    _, model, number = np.unique(number, return_index=True, return_inverse=True)
    kept = flat_positions(offsets[model], counts[model])
    clock_start = offsets_of(counts[model])[:-1][number]
    return SampleGroup(offsets, values, clock_start, times[kept], None if stale is None else stale[kept])


@dataclass(frozen=True, slots=True)
class MatrixPart:
    """Series of one row group with equal times, to be stacked with those of other row groups."""

    series: U32
    times: I64
    values: F64
    stale: Bool | None


def select(
    group: SampleGroup, rows: I64, series: U32, start_ms: int, end_ms: int
) -> tuple[list[MatrixPart], RaggedPiece | None]:
    """Return samples of some series in the closed range: matrices where times are shared, the rest ragged.

    Shapes:
        rows: (R,) positions of the series in the group, ascending.
        series: (R,) their process-wide ids.
    """
    if (whole := _all_inside(group, rows, series, start_ms, end_ms)) is not None:
        return [], whole
    if len(rows) > 1 and len(group.clock) == len(group.values):
        return [], _of_own_times(group, rows, series, start_ms, end_ms)
    begins, first, clock = np.unique(group.clock_start[rows], return_index=True, return_inverse=True)
    own = rows[first]  # one series for each distinct time vector
    ends = begins + group.offsets[own + 1] - group.offsets[own]
    lo, hi = _search(group.clock, begins, ends, start_ms), _search(group.clock, begins, ends, end_ms + 1)
    at = group.offsets[rows] + (lo - begins)[clock]
    width = hi - lo
    sharing = np.bincount(clock, minlength=len(begins))
    fits = (sharing > 1) & (sharing * width >= _MIN_MATRIX_SAMPLES) | (len(begins) == 1)
    by_clock, bounds = np.argsort(clock, kind="stable"), offsets_of(sharing)
    matrices = []
    for number in np.flatnonzero(fits & (width > 0)):
        members = by_clock[bounds[number] : bounds[number + 1]]
        window = slice(lo[number], hi[number])
        matrices.append(
            MatrixPart(
                series[members],
                group.clock[window],
                _rows(group.values, at[members], int(width[number])),
                None if group.stale is None else group.stale[window],
            )
        )
    alone = (~fits & (width > 0))[clock]
    if not bool(alone.any()):
        return matrices, None
    lengths = width[clock[alone]]
    samples, ticks = flat_positions(at[alone], lengths), flat_positions(lo[clock[alone]], lengths)
    stale = None if group.stale is None else group.stale[ticks]
    return matrices, RaggedPiece(
        series[alone], offsets_of(lengths), group.clock[ticks], group.values[samples], stale
    )


def _of_own_times(
    group: SampleGroup, rows: I64, series: U32, start_ms: int, end_ms: int
) -> RaggedPiece | None:
    """Return series of a group in which no two have the same times."""
    begins = group.clock_start[rows]
    ends = begins + group.offsets[rows + 1] - group.offsets[rows]
    lo, hi = _search(group.clock, begins, ends, start_ms), _search(group.clock, begins, ends, end_ms + 1)
    kept = np.flatnonzero(hi > lo)
    if not len(kept):
        return None
    lengths = (hi - lo)[kept]
    offsets = offsets_of(lengths)
    times, values = np.empty(offsets[-1], np.int64), np.empty(offsets[-1])
    stale = None if group.stale is None else np.empty(offsets[-1], np.bool_)
    of_clock: list[tuple[Samples, Samples]] = [(group.clock, times)]
    if group.stale is not None and stale is not None:
        of_clock.append((group.stale, stale))
    copy_rows(of_clock, lo[kept], offsets[:-1], lengths)
    copy_rows([(group.values, values)], (group.offsets[rows] + lo - begins)[kept], offsets[:-1], lengths)
    return RaggedPiece(series[kept], offsets, times, values, stale)


def _all_inside(group: SampleGroup, rows: I64, series: U32, start_ms: int, end_ms: int) -> RaggedPiece | None:
    """Return neighbouring series as a view, if each has times of its own, all of them in the range."""
    if len(rows) < 2 or len(group.clock) < len(group.values) or not consecutive(rows):
        return None
    samples = slice(group.offsets[rows[0]], group.offsets[rows[-1] + 1])
    times = group.clock[samples]
    if times.min() < start_ms or times.max() > end_ms:
        return None
    offsets = group.offsets[rows[0] : rows[-1] + 2] - samples.start
    stale = None if group.stale is None else group.stale[samples]
    return RaggedPiece(series, offsets, times, group.values[samples], stale)


def stack(parts: list[MatrixPart]) -> list[Piece]:
    """Return the parts as matrices: those with equal times (and markers) together, up to a size."""
    stacks: dict[tuple[bytes, bytes], list[list[MatrixPart]]] = {}
    sizes: dict[tuple[bytes, bytes], int] = {}
    for part in parts:
        key = (part.times.tobytes(), b"" if part.stale is None else part.stale.tobytes())
        same = stacks.setdefault(key, [])
        size = sizes.get(key, LARGE_MATRIX_SAMPLES) + part.values.size
        if size > LARGE_MATRIX_SAMPLES:
            same.append([])
            size = part.values.size
        same[-1].append(part)
        sizes[key] = size
    return [_stacked(together) for same in stacks.values() for together in same]


def append_small(pieces: list[RaggedPiece]) -> list[RaggedPiece]:
    """Return the pieces of neighbouring row groups, small ones appended to each other.

    Each piece costs the same again when pieces are merged. Only the last series
    of a row group may go on in the next one: these two are not appended.
    """
    found = [p for p in pieces if len(p.times) >= SMALL_PIECE_SAMPLES]
    runs: list[list[RaggedPiece]] = []
    for piece in pieces:
        if len(piece.times) >= SMALL_PIECE_SAMPLES:
            continue
        for run in runs:
            if run[-1].series[-1] != piece.series[0]:
                run.append(piece)
                break
        else:
            runs.append([piece])
    return found + [appended(run) for run in runs]


def _stacked(parts: list[MatrixPart]) -> Piece:
    first = parts[0]
    if len(parts) == 1:
        return MatrixPiece(first.series, first.times, first.values, first.stale)
    series, values = np.concatenate([p.series for p in parts]), np.concatenate([p.values for p in parts])
    return MatrixPiece(series, first.times, values, first.stale)


def _rows(values: F64, at: I64, width: int) -> F64:
    """Return rows of one width, a view where they follow one another."""
    if len(at) == 1 or bool((np.diff(at) == width).all()):
        return values[at[0] : at[0] + len(at) * width].reshape(len(at), width)
    return sliding_window_view(values, width)[at]


def _search(clock: I64, begins: I64, ends: I64, time_ms: int) -> I64:
    """Return for each vector of the clock where its first time not before `time_ms` stands.

    Shapes:
        begins, ends: (V,) bounds of the vectors.
        returns: (V,) positions in `clock`.
    """
    if bool((clock[begins] >= time_ms).all()):
        return begins
    if bool((clock[ends - 1] < time_ms).all()):
        return ends
    lo, hi = begins, ends
    for _ in range(int((ends - begins).max()).bit_length()):
        middle = (lo + hi) >> 1
        before = (lo < hi) & (clock[np.minimum(middle, len(clock) - 1)] < time_ms)
        lo = np.where(before, middle + 1, lo)
        hi = np.where(before, hi, middle)
    return lo
