"""Pieces in any order as pieces in key order, cut by window: what a block writer takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

from metricsmith.model.arrays import I64
from metricsmith.model.series import SeriesTable
from metricsmith.store.pieces import RaggedPiece
from metricsmith.store.ragged import flat_positions, offsets_of, sort_samples, take
from metricsmith.store.windows import Window


class WindowOf(Protocol):
    """Time cut into windows, each a multiple of the shortest one."""

    shortest_ms: int

    def of(self, time_ms: int) -> Window:
        """Return the window of a time."""
        ...


@dataclass(frozen=True, slots=True)
class KeyedPiece:
    """A piece whose series stand in key order, with their keys."""

    piece: RaggedPiece
    keys: list[bytes]


def in_key_order(piece: RaggedPiece, table: SeriesTable) -> KeyedPiece:
    """Return a piece with its series sorted by key; one that is sorted already is not copied."""
    keys = [table.key(i) for i in piece.series.tolist()]
    if all(a < b for a, b in pairwise(keys)):
        return KeyedPiece(piece, keys)
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return KeyedPiece(take(piece, np.array(order, np.int64)), [keys[i] for i in order])


def joined(pieces: Iterable[RaggedPiece], table: SeriesTable) -> Iterator[KeyedPiece]:
    """Yield pieces in key order, those that overlap in key order joined; where they do, a later piece wins.

    Pieces that follow one another in key order pass one at a time, so that
    a long sequence of them never stands in memory as a whole.
    """
    waiting: list[KeyedPiece] = []
    for piece in pieces:
        if len(piece.times) == 0:
            continue
        keyed = in_key_order(piece, table)
        if waiting and keyed.keys[0] > max(w.keys[-1] for w in waiting):
            yield join(waiting)
            waiting = []
        waiting.append(keyed)
    if waiting:
        yield join(waiting)


def join(pieces: list[KeyedPiece]) -> KeyedPiece:
    """Return pieces as one in key order; of equal (series, time) that of the later piece stays."""
    if len(pieces) == 1:
        return pieces[0]
    key_of = {i: k for p in pieces for i, k in zip(p.piece.series.tolist(), p.keys, strict=True)}
    ids = sorted(key_of, key=key_of.__getitem__)
    by_id = np.argsort(np.array(ids, np.uint32))
    sorted_ids = np.array(ids, np.uint32)[by_id]
    ranks = [by_id[np.searchsorted(sorted_ids, p.piece.series)] for p in pieces]
    ranked = _interleave([p.piece for p in pieces], ranks, len(ids))
    piece = RaggedPiece(np.array(ids, np.uint32), ranked.offsets, ranked.times, ranked.values, ranked.stale)
    return KeyedPiece(piece, [key_of[i] for i in ids])


def _interleave(pieces: list[RaggedPiece], ranks: list[I64], count: int) -> RaggedPiece:
    """Return one piece whose series are ranks: for each rank the samples of all pieces, by time.

    Pieces mostly follow one another in time, so samples are laid down piece
    after piece within each series and sorted only where that is not enough.
    """
    lengths = np.zeros(count, np.int64)
    for piece, rank in zip(pieces, ranks, strict=True):
        lengths[rank] += np.diff(piece.offsets)
    offsets = offsets_of(lengths)
    times, values = np.empty(offsets[-1], np.int64), np.empty(offsets[-1])
    stale = None if all(p.stale is None for p in pieces) else np.zeros(len(times), np.bool_)
    free = offsets[:-1].copy()
    for piece, rank in zip(pieces, ranks, strict=True):
        own = np.diff(piece.offsets)
        at = flat_positions(free[rank], own)
        times[at], values[at] = piece.times, piece.values
        if stale is not None and piece.stale is not None:
            stale[at] = piece.stale
        free[rank] += own
    ascending = times[1:] > times[:-1]
    ascending[offsets[1:-1] - 1] = True
    if bool(ascending.all()):
        return RaggedPiece(np.arange(count, dtype=np.uint32), offsets, times, values, stale)
    owner = np.repeat(np.arange(count, dtype=np.uint32), lengths)
    return sort_samples(owner, times, values, stale)


def by_window(keyed: KeyedPiece, windows: WindowOf) -> list[tuple[Window, KeyedPiece]]:
    """Return each window that a piece has samples in, and these samples, oldest first."""
    piece = keyed.piece
    oldest = windows.of(int(piece.times.min()))
    if int(piece.times.max()) < oldest.end_ms:
        return [(oldest, keyed)]
    found, window = _numbered(piece.times, windows)
    owner = np.repeat(np.arange(len(piece.series)), np.diff(piece.offsets))
    # Radix sort, and many times faster, for the small numbers that windows nearly always are.
    order = np.argsort(window.astype(np.uint16) if len(found) < 1 << 16 else window, kind="stable")
    window = window[order]
    starts = np.flatnonzero(np.append(True, window[1:] != window[:-1]))
    cut = []
    for lo, hi in zip(starts, np.append(starts[1:], len(window)), strict=True):
        at = order[lo:hi]
        rows, offsets = np.unique(owner[at], return_index=True)
        stale = None if piece.stale is None else piece.stale[at]
        part = RaggedPiece(
            piece.series[rows], np.append(offsets, hi - lo), piece.times[at], piece.values[at], stale
        )
        keys = [keyed.keys[i] for i in rows.tolist()]
        cut.append((found[window[lo]], KeyedPiece(part, keys)))
    return cut


def _numbered(times: I64, windows: WindowOf) -> tuple[list[Window], I64]:
    """Return the windows that times are in, oldest first, and the number of each time's window.

    Shapes:
        times: (P,); returns: W windows, (P,)
    """
    step = times // windows.shortest_ms
    first = int(step.min())
    if int(step.max()) - first < 1 << 16:
        which = step - first
        present = np.flatnonzero(np.bincount(which))
    else:
        present, which = np.unique(step - first, return_inverse=True)
        which = which.astype(np.int64)
    at = [windows.of((first + n) * windows.shortest_ms) for n in present.tolist()]
    found = list(dict.fromkeys(at))
    number_of = {window: n for n, window in enumerate(found)}
    numbers = np.array([number_of[window] for window in at], np.int64)
    if int(step.max()) - first < 1 << 16:
        dense = np.zeros(int(present[-1]) + 1, np.int64)
        dense[present] = numbers
        numbers = dense
    return found, numbers[which]
