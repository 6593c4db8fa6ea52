"""Joins pieces into a `Selection`: series that share their timestamps become one matrix.

Nearly all series stand in matrices that follow one another in time (one per block and slab): these
are grouped by the pieces they come from and copied piece by piece. Only series with pieces that
overlap in time, or without shared timestamps, are sorted sample by sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from metricsmith.model.arrays import F64, I64, U32, Bool
from metricsmith.model.selection import MatrixGroup, RaggedGroup, Selection
from metricsmith.model.series import SeriesTable
from metricsmith.store.pieces import MatrixPiece, Piece, RaggedPiece
from metricsmith.store.ragged import (
    EMPTY,
    as_ragged,
    consecutive,
    flat_positions,
    group_equal,
    joined_stale,
    offsets_of,
    sort_samples,
    take,
    trim,
)


@dataclass(frozen=True, slots=True)
class _Entries:
    """One entry per series and piece, sorted by series, then by first time.

    Shapes:
        series, piece, position, first, last: (E,); `position` is the series' place in its piece.
        bounds: (S + 1,) entries of each series.
    """

    series: I64
    piece: I64
    position: I64
    first: I64
    last: I64
    bounds: I64


def merge(pieces: Sequence[Piece], start_ms: int, end_ms: int, table: SeriesTable) -> Selection:
    """Return all samples of the pieces in the closed range.

    Where two pieces have a sample of one series at one time, the later piece
    wins. Series with equal timestamps (and markers) stand in one matrix, the
    others in the ragged group.
    """
    inside = [cut for piece in pieces if (cut := _cut(piece, start_ms, end_ms)) is not None]
    if not inside:
        return Selection([], [])
    entries = _entries(inside)
    plain = _plain(inside, entries)
    matrices = _joined(inside, entries, np.flatnonzero(plain))
    flat = _flattened(inside, entries, ~plain)
    return _selection(*_regroup(matrices, flat), table)


def _cut(piece: Piece, start_ms: int, end_ms: int) -> Piece | None:
    if isinstance(piece, RaggedPiece):
        trimmed = trim(piece, start_ms, end_ms)
        return trimmed if len(trimmed.times) else None
    lo, hi = (int(i) for i in np.searchsorted(piece.times, [start_ms, end_ms + 1]))
    if lo >= hi or len(piece.series) == 0:
        return None
    if hi - lo == len(piece.times):
        return piece
    stale = None if piece.stale is None else piece.stale[lo:hi]
    return MatrixPiece(piece.series, piece.times[lo:hi], piece.values[:, lo:hi], stale)


def _entries(pieces: list[Piece]) -> _Entries:
    sizes = [len(p.series) for p in pieces]
    series = np.concatenate([p.series for p in pieces]).astype(np.int64)
    piece = np.repeat(np.arange(len(pieces)), sizes)
    position = flat_positions(np.zeros(len(pieces), np.int64), np.array(sizes, np.int64))
    first, last = np.empty(len(series), np.int64), np.empty(len(series), np.int64)
    at = 0
    for p, size in zip(pieces, sizes, strict=True):
        begins, ends = (p.offsets[:-1], p.offsets[1:] - 1) if isinstance(p, RaggedPiece) else (0, -1)
        first[at : at + size] = p.times[begins]
        last[at : at + size] = p.times[ends]
        at += size
    order = np.lexsort((first, series))
    series = series[order]
    bounds = np.append(np.flatnonzero(np.append(True, series[1:] != series[:-1])), len(series))
    return _Entries(series, piece[order], position[order], first[order], last[order], bounds)


def _plain(pieces: list[Piece], entries: _Entries) -> Bool:
    """Return per series whether it stands in matrices only, one after another in time."""
    ragged = np.array([isinstance(p, RaggedPiece) for p in pieces])[entries.piece]
    overlaps = (entries.series[1:] == entries.series[:-1]) & (entries.first[1:] <= entries.last[:-1])
    ragged[1:] |= overlaps
    return ~np.logical_or.reduceat(ragged, entries.bounds[:-1])


def _joined(pieces: list[Piece], entries: _Entries, plain: I64) -> list[MatrixPiece]:
    """Return the plain series as matrices: one for each sequence of pieces that they come from."""
    if len(plain) == 0:
        return []
    starts = entries.bounds[plain]
    lengths = entries.bounds[plain + 1] - starts
    group = group_equal(entries.piece[flat_positions(starts, lengths)], offsets_of(lengths))
    order = np.argsort(group, kind="stable")
    cuts = np.append(np.flatnonzero(np.append(True, np.diff(group[order]) > 0)), len(group))
    joined = []
    for lo, hi in pairwise(cuts):
        members = starts[order[lo:hi]]
        parts = [pieces[entries.piece[members[0] + k]] for k in range(lengths[order[lo]])]
        matrices = [p for p in parts if isinstance(p, MatrixPiece)]
        places = [entries.position[members + k] for k in range(len(matrices))]
        joined.append(_side_by_side(entries.series[members], matrices, places))
    return joined


def _side_by_side(series: I64, parts: list[MatrixPiece], places: list[I64]) -> MatrixPiece:
    ids = series.astype(np.uint32)
    if len(parts) == 1:
        part, place = parts[0], places[0]
        return MatrixPiece(ids, part.times, np.ascontiguousarray(_rows(part, place)), part.stale)
    times = np.concatenate([p.times for p in parts])
    values = np.empty((len(ids), len(times)))
    at = 0
    for part, place in zip(parts, places, strict=True):
        width = len(part.times)
        values[:, at : at + width] = _rows(part, place)
        at += width
    return MatrixPiece(ids, times, values, joined_stale([(p.stale, len(p.times)) for p in parts]))


def _rows(part: MatrixPiece, place: I64) -> F64:
    if consecutive(place):
        return part.values[place[0] : place[0] + len(place)]
    return part.values[place]


def _flattened(pieces: list[Piece], entries: _Entries, chosen: Bool) -> RaggedPiece:
    """Return the chosen series sample by sample, sorted by series id and time; the later piece wins."""
    if not chosen.any():
        return EMPTY
    wanted = np.repeat(chosen, np.diff(entries.bounds))
    piece, position = entries.piece[wanted], entries.position[wanted]
    order = np.argsort(piece, kind="stable")
    numbers, at = np.unique(piece[order], return_index=True)
    parts = []
    for number, lo, hi in zip(numbers, at, np.append(at[1:], len(order)), strict=True):
        part = pieces[number]
        place = position[order[lo:hi]]
        if isinstance(part, RaggedPiece):
            parts.append(part if len(place) == len(part.series) else take(part, place))
        else:
            parts.append(as_ragged(part, place))
    return sort_samples(
        np.concatenate([np.repeat(p.series, np.diff(p.offsets)) for p in parts]),
        np.concatenate([p.times for p in parts]),
        np.concatenate([p.values for p in parts]),
        joined_stale([(p.stale, len(p.times)) for p in parts]),
    )


def _regroup(matrices: list[MatrixPiece], flat: RaggedPiece) -> tuple[list[MatrixPiece], RaggedPiece]:
    """Return matrices of two or more series with equal timestamps, and the series that are left."""
    if len(matrices) == 1 and len(flat.series) == 0:
        return matrices, EMPTY
    times, offsets = _time_vectors(matrices, flat)
    group = group_equal(times, offsets)
    members_of = np.bincount(group, [len(m.series) for m in matrices] + [1] * len(flat.series))
    shared = members_of[group] > 1
    of_matrix, of_flat = group[: len(matrices)], group[len(matrices) :]
    grouped = []
    for number in np.unique(group[shared]):
        parts = [matrices[i] for i in np.flatnonzero(of_matrix == number)]
        rows = np.flatnonzero(of_flat == number)
        grouped.append(_stacked(parts, take(flat, rows)))
    alone = [matrices[i] for i in np.flatnonzero(~shared[: len(matrices)])]
    return grouped, _laid_out(alone, take(flat, np.flatnonzero(~shared[len(matrices) :])))


def _time_vectors(matrices: list[MatrixPiece], flat: RaggedPiece) -> tuple[I64, I64]:
    """Return one row per matrix and flat series: its times, with the marker as lowest bit."""
    times = np.concatenate([*(m.times for m in matrices), flat.times]) * 2
    parts = [(m.stale, len(m.times)) for m in matrices] + [(flat.stale, len(flat.times))]
    stale = joined_stale(parts)
    if stale is not None:
        times += stale
    lengths = np.concatenate([np.array([len(m.times) for m in matrices], np.int64), np.diff(flat.offsets)])
    return times, offsets_of(lengths)


def _stacked(matrices: list[MatrixPiece], rows: RaggedPiece) -> MatrixPiece:
    """Return matrices and flat series that all have the same timestamps as one matrix."""
    if len(rows.series) == 0 and len(matrices) == 1:
        return matrices[0]
    series: list[U32] = [m.series for m in matrices]
    values: list[F64] = [m.values for m in matrices]
    if len(rows.series):
        width = int(rows.offsets[1])
        series.append(rows.series)
        values.append(rows.values.reshape(-1, width))
        times, stale = rows.times[:width], None if rows.stale is None else rows.stale[:width]
    if matrices:
        times, stale = matrices[0].times, matrices[0].stale
    joined = values[0] if len(values) == 1 else np.concatenate(values)
    return MatrixPiece(np.concatenate(series), times, joined, stale)


def _laid_out(matrices: list[MatrixPiece], rows: RaggedPiece) -> RaggedPiece:
    parts = [*(as_ragged(m) for m in matrices), rows]
    return RaggedPiece(
        np.concatenate([p.series for p in parts]),
        offsets_of(np.concatenate([np.diff(p.offsets) for p in parts])),
        np.concatenate([p.times for p in parts]),
        np.concatenate([p.values for p in parts]),
        joined_stale([(p.stale, len(p.times)) for p in parts]),
    )


def _selection(matrices: list[MatrixPiece], rest: RaggedPiece, table: SeriesTable) -> Selection:
    series = np.concatenate([*(m.series for m in matrices), rest.series])
    keys = [table.key(i) for i in series.tolist()]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    row = np.empty(len(order), np.int64)
    row[order] = np.arange(len(order))
    groups = []
    at = 0
    for m in matrices:
        stale = m.stale if m.stale is not None and m.stale.any() else None
        groups.append(MatrixGroup(row[at : at + len(m.series)], m.times, m.values, stale))
        at += len(m.series)
    ragged = None
    if len(rest.series):
        ragged = RaggedGroup(row[at:], rest.offsets, rest.times, rest.values, rest.stale)
    return Selection([keys[i] for i in order], groups, ragged)
