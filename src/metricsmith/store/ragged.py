"""Arithmetic on ragged pieces: sort samples into one, take series, cut in time, group equal rows."""

from __future__ import annotations

import secrets
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from metricsmith.model.arrays import F64, I64, U32, Bool
from metricsmith.store.pieces import MatrixPiece, RaggedPiece

EMPTY = RaggedPiece(
    np.empty(0, np.uint32), np.zeros(1, np.int64), np.empty(0, np.int64), np.empty(0, np.float64)
)
Scalar = TypeVar("Scalar", bound=np.generic)
# Random per process, so that nobody can prepare series whose hashes collide.
_MIXER = np.uint64(secrets.randbits(63) * 2 + 1)
_HASH_SEED = np.uint64(secrets.randbits(62))


def flat_positions(starts: I64, lengths: I64) -> I64:
    """Return the positions `starts[i] … starts[i] + lengths[i] - 1` of all i, one after another.

    >>> flat_positions(np.array([5, 0]), np.array([2, 3]))
    array([5, 6, 0, 1, 2])
    """
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    positions: I64 = np.arange(total, dtype=np.int64) + np.repeat(starts - (ends - lengths), lengths)
    return positions


def span(times: I64, start_ms: int, end_ms: int) -> tuple[int, int]:
    """Return the bounds [lo, hi) of the ascending times, at least one, in the closed range."""
    lo = 0 if start_ms <= times[0] else int(times.searchsorted(start_ms))
    hi = len(times) if times[-1] <= end_ms else int(times.searchsorted(end_ms, "right"))
    return lo, hi


def consecutive(positions: I64) -> bool:
    """Return whether each position follows the one before, so that a slice does for them."""
    if len(positions) < 2:
        return True
    if positions[-1] - positions[0] != len(positions) - 1:
        return False
    return bool((positions[1:] - positions[:-1] == 1).all())


def offsets_of(lengths: I64) -> I64:
    """Return the offsets of rows of these lengths.

    Shapes:
        lengths: (S,)
        returns: (S + 1,)
    """
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def sort_samples(series: U32, times: I64, values: F64, stale: Bool | None) -> RaggedPiece:
    """Return samples as a piece sorted by series id, then time; of equal (series, time) the last stays.

    Shapes:
        series, times, values, stale: (P,)
    """
    if len(series) == 0:
        return EMPTY
    key = _sort_key(series, times)
    if key is not None and bool((key[1:] > key[:-1]).all()):
        return _cut_into_series(series, times, values, stale)
    order = np.lexsort((times, series)) if key is None else np.argsort(key)
    by_series, by_time = series[order], times[order]
    new = np.append(True, (by_series[1:] != by_series[:-1]) | (by_time[1:] != by_time[:-1]))
    if not bool(
        new.all()
    ):  # of equal ones the last: no stable sort is needed, which takes five times as long
        order = np.maximum.reduceat(order, np.flatnonzero(new))
        by_series, by_time = series[order], times[order]
    return _cut_into_series(by_series, by_time, values[order], None if stale is None else stale[order])


def _sort_key(series: U32, times: I64) -> np.ndarray[tuple[int], np.dtype[np.uint64]] | None:
    first = int(times.min())
    time_bits = (int(times.max()) - first).bit_length()
    if time_bits + int(series.max()).bit_length() > 64:
        return None
    return (series.astype(np.uint64) << np.uint64(time_bits)) | (times - first).astype(np.uint64)


def _cut_into_series(series: U32, times: I64, values: F64, stale: Bool | None) -> RaggedPiece:
    starts = np.flatnonzero(np.append(True, series[1:] != series[:-1]))
    offsets = np.append(starts, len(series)).astype(np.int64)
    if stale is not None and not stale.any():
        stale = None
    return RaggedPiece(series[starts], offsets, times, values, stale)


def as_ragged(piece: MatrixPiece, place: I64 | None = None) -> RaggedPiece:
    """Return the series of a matrix (those at `place`, in that order) one after another."""
    series, values = (
        (piece.series, piece.values) if place is None else (piece.series[place], piece.values[place])
    )
    count, width = values.shape
    return RaggedPiece(
        series,
        np.arange(count + 1, dtype=np.int64) * width,
        _repeated(piece.times, count),
        values.reshape(-1),
        None if piece.stale is None else _repeated(piece.stale, count),
    )


def _repeated(row: npt.NDArray[Scalar], count: int) -> npt.NDArray[Scalar]:
    return row if count == 1 else np.tile(row, count)


def as_matrix(piece: RaggedPiece) -> MatrixPiece | None:
    """Return a piece as a matrix, a view, or None when its series do not all have the same timestamps."""
    count, width = len(piece.series), int(piece.offsets[1])
    if len(piece.times) != count * width or not bool((np.diff(piece.offsets) == width).all()):
        return None
    times = piece.times[:width]
    if not bool((piece.times.reshape(count, width) == times).all()):
        return None
    stale = None if piece.stale is None else piece.stale[:width]
    if piece.stale is not None and not bool((piece.stale.reshape(count, width) == stale).all()):
        return None
    return MatrixPiece(piece.series, times, piece.values.reshape(count, width), stale)


def appended(pieces: list[RaggedPiece]) -> RaggedPiece:
    """Return pieces of different series one after another."""
    pieces = [p for p in pieces if len(p.series)] or [EMPTY]
    if len(pieces) == 1:
        return pieces[0]
    return RaggedPiece(
        np.concatenate([p.series for p in pieces]),
        offsets_of(np.concatenate([np.diff(p.offsets) for p in pieces])),
        np.concatenate([p.times for p in pieces]),
        np.concatenate([p.values for p in pieces]),
        joined_stale([(p.stale, len(p.times)) for p in pieces]),
    )


def concatenate(pieces: list[RaggedPiece]) -> RaggedPiece:
    """Return pieces as one, sorted by series id, then time; of equal (series, time) the later piece wins."""
    series = np.concatenate([np.repeat(p.series, np.diff(p.offsets)) for p in pieces])
    return sort_samples(
        series,
        np.concatenate([p.times for p in pieces]),
        np.concatenate([p.values for p in pieces]),
        joined_stale([(p.stale, len(p.times)) for p in pieces]),
    )


def joined_stale(parts: list[tuple[Bool | None, int]]) -> Bool | None:
    """Return staleness masks (or None) of given lengths one after another, None when all are None."""
    if all(stale is None for stale, _ in parts):
        return None
    return np.concatenate([np.zeros(n, np.bool_) if stale is None else stale for stale, n in parts])


def take(piece: RaggedPiece, positions: I64) -> RaggedPiece:
    """Return the series at these positions of a piece, in that order; views where they are neighbours."""
    if len(positions) == 0:
        return EMPTY
    starts = piece.offsets[positions]
    lengths = piece.offsets[positions + 1] - starts
    if consecutive(positions):
        at: slice | I64 = slice(int(starts[0]), int(starts[-1] + lengths[-1]))
    else:
        at = flat_positions(starts, lengths)
    stale = None if piece.stale is None else piece.stale[at]
    return RaggedPiece(piece.series[positions], offsets_of(lengths), piece.times[at], piece.values[at], stale)


def take_series(piece: RaggedPiece, series: U32) -> RaggedPiece:
    """Return those of the given sorted series that a piece sorted by series id has."""
    at = np.searchsorted(piece.series, series)
    at[at == len(piece.series)] = 0
    found: I64 = at[piece.series[at] == series] if len(piece.series) else at[:0]
    return take(piece, found)


def trim(piece: RaggedPiece, start_ms: int, end_ms: int) -> RaggedPiece:
    """Return the samples in the closed range; series without any are left out."""
    return keep_samples(piece, (piece.times >= start_ms) & (piece.times <= end_ms))


def keep_samples(piece: RaggedPiece, inside: Bool) -> RaggedPiece:
    """Return the chosen samples; series without any are left out.

    Shapes:
        inside: (P,)
    """
    if bool(inside.all()):
        return piece
    counted = np.zeros(len(inside) + 1, np.int64)
    np.cumsum(inside, out=counted[1:])
    lengths = np.diff(counted[piece.offsets])
    kept = lengths > 0
    stale = None if piece.stale is None else piece.stale[inside]
    return RaggedPiece(
        piece.series[kept], offsets_of(lengths[kept]), piece.times[inside], piece.values[inside], stale
    )


def group_equal(flat: I64, offsets: I64) -> I64:
    """Return a group number per row: rows have the same number when they are equal.

    Rows are compared by a hash and then exactly.

    Shapes:
        flat: (P,) rows one after another, none empty.
        offsets: (S + 1,)
        returns: (S,) numbers 0, 1, 2…

    >>> group_equal(np.array([1, 2, 1, 1, 2]), np.array([0, 2, 3, 5]))
    array([0, 1, 0])
    """
    lengths = np.diff(offsets)
    if len(lengths) == 0:
        return np.empty(0, np.int64)
    if not may_be_equal(flat, offsets).any():
        return np.arange(len(lengths), dtype=np.int64)
    within = np.arange(len(flat), dtype=np.int64) - np.repeat(offsets[:-1], lengths)
    weights = _weights(int(lengths.max()) + 1)
    hashes = np.add.reduceat(flat.view(np.uint64) * weights[within], offsets[:-1]) + weights[lengths]
    _, first, group = np.unique(hashes, return_index=True, return_inverse=True)
    model = first[group]  # the first row with this hash
    good = lengths == lengths[model]
    if bool(good.all()):
        differs = flat != flat[within + np.repeat(offsets[model], lengths)]
        good = ~np.logical_or.reduceat(differs, offsets[:-1])
    numbers = _in_order_of_appearance(group.astype(np.int64), first)
    if not bool(good.all()):
        bad = np.flatnonzero(~good)
        rest = flat[flat_positions(offsets[bad], lengths[bad])]
        numbers[bad] = len(first) + group_equal(rest, offsets_of(lengths[bad]))
    return numbers


def may_be_equal(flat: I64, offsets: I64) -> Bool:
    """Return which rows look like another one at both ends and in the middle; the others are like none.

    Shapes:
        flat: (P,) rows one after another, none empty.
        offsets: (S + 1,)
        returns: (S,)
    """
    first, last = offsets[:-1], offsets[1:] - 1
    looks = (last - first).astype(np.uint64)
    for place in (first, (first + last) >> 1, last):
        looks = looks * _MIXER + flat[place].view(np.uint64)
    _, number, count = np.unique(looks, return_inverse=True, return_counts=True)
    found: Bool = count[number] > 1
    return found


def _in_order_of_appearance(group: I64, first: I64) -> I64:
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[group]


def _weights(count: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    mixed = (np.arange(count, dtype=np.uint64) + _HASH_SEED) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    return (mixed ^ (mixed >> np.uint64(27))) | np.uint64(1)
