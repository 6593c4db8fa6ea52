"""The head: recent samples in memory, as one slab per stream and loose samples beside them.

Every series has one home in a head, a slab or the loose samples, so that reading needs two look-ups
and no search. Samples of a slab's series that do not continue it (older or equal time, another
stream) are loose too; a slab takes nothing that is not newer than these, so loose samples always win.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence

import numpy as np

from metricsmith.model.arrays import F64, I64, U32, Bool, distinct
from metricsmith.model.batch import Batch, Layout
from metricsmith.store.loose import LooseSamples
from metricsmith.store.pieces import Piece, RaggedPiece
from metricsmith.store.ragged import take_series
from metricsmith.store.slab import Membership, Slab, SlabView

NO_HOME, LOOSE, FIRST_SLAB = 0, 1, 2
_LAYOUT_CELL = object()
_serials = itertools.count(1)


class _Cell:
    """What a layout remembers of the slab that it was last appended to."""

    __slots__ = ("guests", "membership", "own", "serial")

    def __init__(self, _: Layout) -> None:
        self.serial = 0
        self.membership: Membership | None = None
        self.own: I64 | None = None  # positions of the series that live in the slab, None for all
        self.guests: I64 | None = None  # positions of the others


class Head:
    """Samples since the last flush. One thread appends, any thread reads.

    `lock` is held while one batch is appended and while a reader takes its
    views; samples are gathered outside of it.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._slabs: list[Slab] = []
        self._streams: dict[str, Slab] = {}
        self._loose = LooseSamples()
        self._home = np.zeros(1024, np.uint32)
        self._row = np.zeros(1024, np.uint32)
        self._slab_samples = 0
        self._slab_bytes = 0

    @property
    def samples(self) -> int:
        """Samples in memory."""
        return self._slab_samples + self._loose.samples

    @property
    def bytes(self) -> int:
        """Memory of the samples; what is kept per series of the process is not freed by a flush."""
        return self._slab_bytes + self._loose.bytes

    def active_series(self) -> U32:
        """Return the sorted ids of series that have samples here."""
        there = self._home != NO_HOME  # a copy: `flatnonzero` fails on what another thread changes meanwhile
        return np.flatnonzero(there).astype(np.uint32)

    def has(self, series: U32) -> Bool:
        """Return which of these series have samples here.

        Shapes:
            series, returns: (S,)
        """
        home = self._home
        found: Bool = (home[np.minimum(series, len(home) - 1)] != NO_HOME) & (series < len(home))
        return found

    def first_ms(self) -> int | None:
        """Return the time of the oldest sample."""
        oldest = min([self._loose.first_ms, *(slab.first_ms() for slab in self._slabs if slab.columns)])
        return oldest if self.samples else None

    def last_ms(self) -> int | None:
        """Return the time of the newest sample."""
        newest = max([self._loose.last_ms, *(slab.last_ms for slab in self._slabs)])
        return newest if self.samples else None

    def append(self, batch: Batch) -> None:
        """Add a batch; samples of a stream that continue its slab go there, all others are loose."""
        layout = batch.layout
        if len(layout) == 0:
            return
        time_ms = _common_time(batch)
        with self.lock:
            self._make_room(int(layout.ids.max()))
            if layout.stream is None or time_ms is None:
                self._append_loose(layout.ids, batch.times(), batch.value, batch.stale)
            else:
                self._append_scrape(layout, layout.stream, time_ms, batch.value, batch.stale)

    def _append_scrape(
        self, layout: Layout, stream: str, time_ms: int, values: F64, stale: Bool | None
    ) -> None:
        slab = self._streams.get(stream)
        if slab is None:
            slab = self._streams[stream] = Slab(len(self._slabs), next(_serials))
            self._slabs.append(slab)
        if time_ms <= slab.last_ms or time_ms <= slab.loose_until_ms:
            self._append_loose(layout.ids, np.full(len(values), time_ms, np.int64), values, stale)
            return
        cell = layout.derive(_LAYOUT_CELL, _Cell)
        if cell.serial != slab.serial:
            self._settle_in(layout, slab, cell)
        if cell.guests is not None:
            at = cell.guests
            times = np.full(len(at), time_ms, np.int64)
            self._append_loose(layout.ids[at], times, values[at], None if stale is None else stale[at])
        if cell.own is not None:
            values, stale = values[cell.own], None if stale is None else stale[cell.own]
        if len(values) and cell.membership is not None:
            before = slab.used_bytes
            slab.append(cell.membership, time_ms, values, stale)
            self._slab_bytes += slab.used_bytes - before
            self._slab_samples += len(values)

    def _settle_in(self, layout: Layout, slab: Slab, cell: _Cell) -> None:
        ids = layout.ids
        before = slab.used_bytes
        mine = slab.number + FIRST_SLAB
        homes = self._home[ids]
        if _has_duplicates(ids):  # against the contract of a stream: two samples, one row
            homes[:] = LOOSE
        new = ids[homes == NO_HOME]
        self._home[new] = mine
        self._row[new] = slab.add_rows(new)
        own = (homes == NO_HOME) | (homes == mine)
        cell.serial = slab.serial
        cell.own, cell.guests = (None, None) if own.all() else (np.flatnonzero(own), np.flatnonzero(~own))
        cell.membership = slab.membership(self._row[ids[own]].astype(np.int64))
        self._slab_bytes += slab.used_bytes - before

    def _append_loose(self, ids: U32, times: I64, values: F64, stale: Bool | None) -> None:
        homes = self._home[ids]
        if bool((homes == NO_HOME).any()):
            self._home[ids[homes == NO_HOME]] = LOOSE
        visitors = homes >= FIRST_SLAB
        if bool(visitors.any()):
            numbers, until = homes[visitors] - FIRST_SLAB, times[visitors]
            for number in np.unique(numbers):
                slab = self._slabs[number]
                slab.loose_until_ms = max(slab.loose_until_ms, int(until[numbers == number].max()))
        self._loose.append(ids, times, values, stale)

    def _make_room(self, largest: int) -> None:
        if largest >= len(self._home):
            size = max(largest + 1, len(self._home) * 2)
            for name in ("_home", "_row"):
                grown = np.zeros(size, np.uint32)
                old = getattr(self, name)
                grown[: len(old)] = old
                setattr(self, name, grown)

    def pieces(self, series: U32, start_ms: int, end_ms: int) -> list[Piece]:
        """Return the samples of sorted series ids in the closed range, lowest priority first.

        Loose pieces may hold samples outside the range.
        """
        with self.lock:
            known = series[: np.searchsorted(series, len(self._home))]
            homes = self._home[known]
            views = self._views(np.unique(homes), start_ms, end_ms)
            rows = self._row[known].astype(np.int64)
            runs = self._runs(start_ms, end_ms)
        pieces: list[Piece] = []
        if len(views) == 1 and bool((homes == homes[0]).all()):
            order, bounds = np.arange(len(known)), np.array([0, len(known)])
        else:
            order = np.argsort(homes, kind="stable")
            numbers = np.array([number for number, _ in views], np.uint32)
            bounds = np.searchsorted(homes[order], np.append(numbers, np.iinfo(np.uint32).max))
        for i, (number, view) in enumerate(views):
            at = order[bounds[i] : bounds[i + 1]]
            at = at[homes[at] == number]
            pieces += view.pieces(rows[at], start_ms, end_ms)
        found = (take_series(run, series) for run in runs)
        return pieces + [piece for piece in found if len(piece.series)]

    def _views(self, homes: Sequence[int] | U32, start_ms: int, end_ms: int) -> list[tuple[int, SlabView]]:
        views = []
        for home in homes:
            if home >= FIRST_SLAB:
                slab = self._slabs[home - FIRST_SLAB]
                if slab.columns and slab.first_ms() <= end_ms and slab.last_ms >= start_ms:
                    views.append((int(home), slab.view()))
        return views

    def _runs(self, start_ms: int, end_ms: int) -> list[RaggedPiece]:
        if self._loose.first_ms > end_ms or self._loose.last_ms < start_ms:
            return []
        return self._loose.settle()

    def series_in(self, start_ms: int, end_ms: int) -> U32:
        """Return the sorted ids of series that may have samples in the closed range."""
        with self.lock:
            in_range = [
                slab.series
                for slab in self._slabs
                if slab.columns and slab.first_ms() <= end_ms and slab.last_ms >= start_ms
            ]
            in_range += [run.series for run in self._runs(start_ms, end_ms)]
        return distinct(np.concatenate(in_range)) if in_range else np.empty(0, np.uint32)


def _has_duplicates(ids: U32) -> bool:
    in_order = np.sort(ids)  # ten times faster than np.unique for a scrape
    return bool((in_order[1:] == in_order[:-1]).any())


def _common_time(batch: Batch) -> int | None:
    """Return the one time of all samples, or None when they differ."""
    if isinstance(batch.time_ms, int):
        return batch.time_ms
    first = int(batch.time_ms[0])
    return first if bool((batch.time_ms == first).all()) else None
