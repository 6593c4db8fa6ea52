"""How many different series are taken in, of each source and of all: new ones beyond that are refused."""

from __future__ import annotations

import logging

import numpy as np

from metricsmith.config.settings import LimitSettings
from metricsmith.model.arrays import I64, U32, distinct
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.clock import Clock
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry

log = logging.getLogger(__name__)

HEALTH = (b"up\xff", b"scrape_", b"collector_")
"""How the keys of series begin that tell of each target or collector how it is."""
_NOBODY, _BEFORE = 0, 1
"""Owners of series without a place, and of those that were there before the start."""


class SeriesLimits:
    """Gives each series that comes a place while there is room; without one its samples are dropped.

    Whoever has a place keeps it as long as samples come. A place is free again when none came for
    `expiry`, or twice as long at most. For one thread.
    """

    def __init__(
        self, settings: LimitSettings, series: SeriesTable, clock: Clock, telemetry: Telemetry
    ) -> None:
        self._settings, self._table, self._clock, self._telemetry = settings, series, clock, telemetry
        self._numbers: dict[str, int] = {}
        self._owner = np.zeros(1024, np.uint16)  # of each series id
        self._seen = np.zeros(1024, np.bool_)
        self._places = [0, 0]  # of each owner
        self._given = 0  # places ever
        self._generation = 0
        self._swept_s = clock.monotonic()
        telemetry.watch("metricsmith_limited_series", lambda: float(self.series))

    @property
    def series(self) -> int:
        """How many series have a place."""
        return sum(self._places[_BEFORE:])

    def update(self, settings: LimitSettings) -> None:
        """Go over to other settings; who has a place keeps it."""
        self._settings = settings
        self._generation += 1

    def remember(self, series: U32) -> None:
        """Give places to series that were taken in before the start, whatever the limits are.

        Which source they are from shows when they come again.
        """
        if len(series):
            self._fit(series)
            self._seen[series] = True
            self._take(series[self._owner[series] == _NOBODY], _BEFORE)

    def admit(self, source: str, batch: Batch) -> Batch:
        """Return the samples of series that have a place now; the others are counted.

        New series take theirs in the order of the batch, but for those that tell whether the source is
        well: these come first. Markers of series that have ended take none.
        """
        if not len(batch):
            return batch
        self._sweep()
        if batch.stale is not None and bool(batch.stale.all()):
            return _left(batch, self._placed(batch.layout.ids))
        cell = batch.layout.derive(self, _Verdict)
        if cell.generation != self._generation or (cell.kept and cell.given != self._given):
            self._judge(source, batch.layout, cell)
        if cell.kept is None:
            return batch
        refused = len(batch) - len(cell.kept.places)
        self._telemetry.problem(
            log,
            "metricsmith_samples_dropped_total",
            f"{source}: {refused} samples of new series refused, {cell.rule}; known series go on",
            amount=refused,
            component=source,
            reason=cell.reason,
        )
        return batch.take(cell.kept.layout, cell.kept.places)

    def _judge(self, source: str, layout: Layout, cell: _Verdict) -> None:
        """Give new series of a layout their places, and note which have one."""
        ids, number = layout.ids, self._number(source)
        self._fit(ids)
        self._seen[ids] = True
        owner = self._owner[ids]
        self._take(distinct(ids[owner == _BEFORE]), number)
        cell.generation, cell.kept = self._generation, None
        new = ids[owner == _NOBODY]
        if not len(new):
            return
        wanted = new[np.sort(np.unique(new, return_index=True)[1])]
        most = self._settings.sources.get(source, self._settings.series_per_source)
        own_room, room = most - self._places[number], self._settings.series - self.series
        if len(wanted) <= min(own_room, room):
            self._take(wanted, number)
            return
        self._take(self._health_first(wanted)[: max(0, min(own_room, room))], number)
        if own_room < room:
            cell.reason, cell.rule = "source_series_limit", f"{most} are accepted of this source (limits)"
        else:
            cell.reason, cell.rule = "series_limit", f"{self._settings.series} are accepted (limits.series)"
        cell.given, cell.kept = self._given, _Kept(layout, self._placed(ids))

    def _health_first(self, series: U32) -> U32:
        other = [not self._table.key(i).startswith(HEALTH) for i in series.tolist()]
        return series[np.argsort(other, kind="stable")]

    def _take(self, series: U32, number: int) -> None:
        """Give places to series, each once; those of another owner go over."""
        for owner, count in enumerate(np.bincount(self._owner[series]).tolist()):
            self._places[owner] -= count
        self._places[_NOBODY] = 0
        self._owner[series] = number
        self._places[number] += len(series)
        self._given += len(series)

    def _placed(self, ids: U32) -> I64:
        self._fit(ids)
        return np.flatnonzero(self._owner[ids] != _NOBODY)

    def _number(self, source: str) -> int:
        number = self._numbers.get(source)
        if number is None:
            number = self._numbers[source] = len(self._places)
            self._places.append(0)
        return number

    def _sweep(self) -> None:
        """Free the places of series that did not come since the last sweep, when it is time."""
        now_s = self._clock.monotonic()
        if now_s - self._swept_s < self._settings.expiry / 1000:
            return
        self._swept_s = now_s
        self._owner[~self._seen] = _NOBODY
        self._seen[:] = False
        self._places = np.bincount(self._owner, minlength=len(self._places)).tolist()
        self._places[_NOBODY] = 0
        self._generation += 1

    def _fit(self, ids: U32) -> None:
        highest = int(ids.max())
        if highest >= len(self._owner):
            more = 2 * (highest + 1) - len(self._owner)
            self._owner = np.append(self._owner, np.zeros(more, np.uint16))
            self._seen = np.append(self._seen, np.zeros(more, np.bool_))


class _Verdict:
    """What is known of a layout while the generation is the same; nothing is `kept` apart when all is.

    What is kept holds until another place is given: a series may get one from another source.
    """

    __slots__ = ("generation", "given", "kept", "reason", "rule")

    def __init__(self, _: Layout) -> None:
        self.generation = self.given = -1
        self.kept: _Kept | None = None
        self.reason = self.rule = ""


class _Kept:
    """The part of a layout whose series have a place.

    Shapes:
        places: (K,) in the layout.
    """

    __slots__ = ("layout", "places")

    def __init__(self, layout: Layout, places: I64) -> None:
        self.places = places
        self.layout = Layout(layout.ids[places], layout.stream, layout.metadata)


def _left(batch: Batch, places: I64) -> Batch:
    if len(places) == len(batch):
        return batch
    layout = Layout(batch.layout.ids[places], batch.layout.stream, batch.layout.metadata)
    return batch.take(layout, places)
