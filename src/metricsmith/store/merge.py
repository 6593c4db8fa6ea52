"""Joins pieces into a `Selection`: series that share their timestamps become one matrix.

Nearly all series stand in matrices that follow one another in time (one per block and slab): these
are grouped by the pieces they come from and copied piece by piece. Only series with pieces that
overlap in time, or without shared timestamps, are sorted sample by sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from metricsmith.model.arrays import F64, I64, U32, Bool
from metricsmith.model.selection import MatrixGroup, RaggedGroup, Selection
from metricsmith.store.key_lists import KeyLists
from metricsmith.store.pieces import LARGE_MATRIX_SAMPLES, MatrixPiece, Piece, RaggedPiece
from metricsmith.store.ragged import (
    EMPTY,
    appended,
    as_matrix,
    as_ragged,
    concatenate,
    consecutive,
    flat_positions,
    group_equal,
    joined_stale,
    may_be_equal,
    offsets_of,
    span,
    take,
    trim,
)
from metricsmith.store.row_copies import Samples, copy_rows

SMALL_MATRIX_SAMPLES = 8_192
MANY_MATRICES = 64


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


def merge(pieces: Sequence[Piece], start_ms: int, end_ms: int, lists: KeyLists) -> Selection:
    """Return all samples of the pieces in the closed range.

    Where two pieces have a sample of one series at one time, the later piece
    wins. Series with equal timestamps (and markers) stand in one matrix, the
    others in the ragged group.
    """
    inside = [cut for piece in pieces if (cut := _cut(piece, start_ms, end_ms)) is not None]
    if not inside:
        return Selection([], [])
    if (alone := _of_one_series(inside)) is not None:
        return _selection([alone], EMPTY, lists)
    if (matrices := _of_different_series(inside)) is not None:
        return _selection(*_regroup(matrices, EMPTY), lists)
    entries = _entries(inside)
    overlapping, ragged = _kinds(inside, entries)
    matrices = _joined(inside, entries, np.flatnonzero(~(overlapping | ragged)))
    flat = appended(
        [_laid_down(inside, entries, ragged & ~overlapping), _sorted(inside, entries, overlapping)]
    )
    return _selection(*_regroup(matrices, flat), lists)


def _of_one_series(pieces: list[Piece]) -> MatrixPiece | None:
    """Return the pieces as one, if all are of one series and follow one another: most panels ask for few."""
    series = pieces[0].series
    if len(series) != 1 or any(len(p.series) != 1 or p.series[0] != series[0] for p in pieces):
        return None
    parts = sorted((p for p in pieces if isinstance(p, MatrixPiece)), key=lambda p: int(p.times[0]))
    if len(parts) < len(pieces) or any(a.times[-1] >= b.times[0] for a, b in pairwise(parts)):
        return None
    if len(parts) == 1:
        return parts[0]
    times, values = (
        np.concatenate([p.times for p in parts]),
        np.concatenate([p.values for p in parts], axis=1),
    )
    return MatrixPiece(series, times, values, joined_stale([(p.stale, len(p.times)) for p in parts]))


def _of_different_series(pieces: list[Piece]) -> list[MatrixPiece] | None:
    """Return the pieces if nothing is to be joined: the last minutes of many targets, for one."""
    matrices = [p for p in pieces if isinstance(p, MatrixPiece)]
    if len(matrices) < len(pieces):
        return None
    series = np.sort(np.concatenate([m.series for m in matrices]))
    if bool((series[1:] == series[:-1]).any()):
        return None
    return [
        m if m.values.flags.c_contiguous else MatrixPiece(m.series, m.times, m.values.copy(), m.stale)
        for m in matrices
    ]


def _cut(piece: Piece, start_ms: int, end_ms: int) -> Piece | None:
    if len(piece.series) == 1 and isinstance(piece, RaggedPiece):
        piece = MatrixPiece(piece.series, piece.times, piece.values[None, :], piece.stale)
    if isinstance(piece, RaggedPiece):
        trimmed = trim(piece, start_ms, end_ms)
        return as_matrix(trimmed) or trimmed if len(trimmed.times) else None
    if len(piece.values) == 0 or len(piece.times) == 0:
        return None
    lo, hi = span(piece.times, start_ms, end_ms)
    if lo >= hi:
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
    order = _by_series_and_time(pieces, series, first)
    series = series[order]
    bounds = np.append(np.flatnonzero(np.append(True, series[1:] != series[:-1])), len(series))
    return _Entries(series, piece[order], position[order], first[order], last[order], bounds)


def _by_series_and_time(pieces: list[Piece], series: I64, first: I64) -> I64:
    """Return the order of all entries by series, then by first time.

    The pieces are sorted by series each and mostly follow one another in time:
    to merge them takes a small part of the time of sorting by two keys.
    """
    bounds = offsets_of(np.array([len(p.series) for p in pieces], np.int64))
    oldest_first = np.argsort(np.minimum.reduceat(first, bounds[:-1]), kind="stable")
    by_time = flat_positions(bounds[oldest_first], np.diff(bounds)[oldest_first])
    order: I64 = by_time[np.argsort(series[by_time], kind="stable")]
    of, at = series[order], first[order]
    if bool(((of[1:] == of[:-1]) & (at[1:] < at[:-1])).any()):
        return np.lexsort((first, series))
    return order


def _kinds(pieces: list[Piece], entries: _Entries) -> tuple[Bool, Bool]:
    """Return per series whether its pieces overlap in time, and whether one of them is ragged.

    Shapes:
        returns: (S,) each.
    """
    ragged = np.array([isinstance(p, RaggedPiece) for p in pieces])[entries.piece]
    overlaps = np.zeros(len(ragged), np.bool_)
    overlaps[1:] = (entries.series[1:] == entries.series[:-1]) & (entries.first[1:] <= entries.last[:-1])
    starts = entries.bounds[:-1]
    return np.logical_or.reduceat(overlaps, starts), np.logical_or.reduceat(ragged, starts)


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


def _by_piece(pieces: list[Piece], entries: _Entries, at: I64) -> Iterator[tuple[I64, Piece, I64]]:
    """Yield for each piece which of the entries at `at` are its, and their positions; oldest piece first."""
    piece, position = entries.piece[at], entries.position[at]
    order = np.argsort(piece, kind="stable")
    cuts = np.append(np.flatnonzero(np.append(True, np.diff(piece[order]) > 0)), len(order))
    for lo, hi in pairwise(cuts):
        own = order[lo:hi]
        yield own, pieces[piece[own[0]]], position[own]


def _laid_down(pieces: list[Piece], entries: _Entries, chosen: Bool) -> RaggedPiece:
    """Return the chosen series, whose pieces follow one another in time: each copied to its place."""
    if not chosen.any():
        return EMPTY
    at = np.flatnonzero(np.repeat(chosen, np.diff(entries.bounds)))
    parts = list(_by_piece(pieces, entries, at))
    lengths = np.empty(len(at), np.int64)
    for own, part, place in parts:
        lengths[own] = np.diff(part.offsets)[place] if isinstance(part, RaggedPiece) else len(part.times)
    starts = offsets_of(lengths)
    times, values = np.empty(starts[-1], np.int64), np.empty(starts[-1])
    stale = None if all(part.stale is None for _, part, _ in parts) else np.zeros(len(times), np.bool_)
    for own, part, place in parts:
        to, counts = starts[own], lengths[own]
        of_times: list[tuple[Samples, Samples]] = [(part.times, times)]
        if stale is not None and part.stale is not None:
            of_times.append((part.stale, stale))
        if isinstance(part, RaggedPiece):
            copy_rows([*of_times, (part.values, values)], part.offsets[place], to, counts)
        else:
            copy_rows(of_times, np.zeros_like(to), to, counts)
            copy_rows([(part.values.reshape(-1), values)], place * len(part.times), to, counts)
    series = entries.series[at]
    firsts = np.flatnonzero(np.append(True, series[1:] != series[:-1]))
    offsets = np.append(starts[firsts], starts[-1])
    return RaggedPiece(series[firsts].astype(np.uint32), offsets, times, values, stale)


def _sorted(pieces: list[Piece], entries: _Entries, chosen: Bool) -> RaggedPiece:
    """Return the chosen series, sorted sample by sample; of equal times the later piece's stays."""
    at = np.flatnonzero(np.repeat(chosen, np.diff(entries.bounds)))
    if not len(at):
        return EMPTY
    return concatenate(
        [
            take(part, place) if isinstance(part, RaggedPiece) else as_ragged(part, place)
            for _, part, place in _by_piece(pieces, entries, at)
        ]
    )


def _regroup(matrices: list[MatrixPiece], flat: RaggedPiece) -> tuple[list[MatrixPiece], RaggedPiece]:
    """Return matrices of two or more series with equal timestamps, and the series that are left.

    Large matrices stay as they are, also where several have the same timestamps.
    Of many small ones none is made: a step for each would cost more than it saves.
    """
    if len(matrices) == 1 and len(flat.series) == 0:
        return matrices, EMPTY
    if len(flat.series) and not matrices and not may_be_equal(flat.times, flat.offsets).any():
        return [], flat
    times, offsets = _time_vectors(matrices, flat)
    group = group_equal(times, offsets)
    members = np.array([len(m.series) for m in matrices] + [1] * len(flat.series))
    shared = _worth_a_matrix(group, members, np.diff(offsets))
    if not shared.any():
        return [], appended([*map(as_ragged, matrices), flat])
    of_matrix, of_flat = group[: len(matrices)], group[len(matrices) :]
    grouped = []
    for number in np.unique(group[shared]):
        parts = [matrices[i] for i in np.flatnonzero(of_matrix == number)]
        rows = np.flatnonzero(of_flat == number)
        large = [m for m in parts if m.values.size >= LARGE_MATRIX_SAMPLES]
        small = [m for m in parts if m.values.size < LARGE_MATRIX_SAMPLES]
        grouped += large
        if small or len(rows):
            grouped.append(_stacked(small, take(flat, rows)))
    alone = [matrices[i] for i in np.flatnonzero(~shared[: len(matrices)])]
    rest = take(flat, np.flatnonzero(~shared[len(matrices) :]))
    return grouped, appended([*(as_ragged(m) for m in alone), rest])


def _worth_a_matrix(group: I64, members: I64, lengths: I64) -> Bool:
    """Return which matrices and flat series, numbered by their timestamps, belong in a matrix with others.

    Shapes:
        group, members, lengths: (N,); returns: (N,)
    """
    shared = np.bincount(group, members) > 1
    small = shared & (np.bincount(group, members * lengths) < SMALL_MATRIX_SAMPLES)
    if np.count_nonzero(small) > MANY_MATRICES:
        shared &= ~small
    found: Bool = shared[group]
    return found


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


def _selection(matrices: list[MatrixPiece], rest: RaggedPiece, lists: KeyLists) -> Selection:
    series = np.concatenate([*(m.series for m in matrices), rest.series])
    keys, row = lists.of(series)
    groups = []
    at = 0
    for m in matrices:
        stale = m.stale if m.stale is not None and m.stale.any() else None
        groups.append(MatrixGroup(row[at : at + len(m.series)], m.times, m.values, stale))
        at += len(m.series)
    ragged = None
    if len(rest.series):
        ragged = RaggedGroup(row[at:], rest.offsets, rest.times, rest.values, rest.stale)
    return Selection(keys, groups, ragged)
