"""The last value of every series that passes, for the page that others scrape."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from metricsmith.model.arrays import F64
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.metadata import Metadata
from metricsmith.model.series import SeriesTable

_FIRST_SIZE = 1024


class LastValues:
    """Kept here where the store is elsewhere: a page about us must not wait for another server.

    `apply` comes from one thread, the rest from any.
    """

    def __init__(self, series: SeriesTable) -> None:
        self._series = series
        self._times = np.full(_FIRST_SIZE, np.iinfo(np.int64).min)
        self._values = np.zeros(_FIRST_SIZE)
        self._ended = np.zeros(_FIRST_SIZE, np.bool_)
        self._metadata: dict[str, Metadata] = {}

    def apply(self, batch: Batch) -> None:
        """Take note of a batch."""
        batch.layout.derive(self, self._learn)
        if not len(batch):
            return
        ids, times = batch.layout.ids, batch.times()
        self._make_room(int(ids.max()) + 1)
        values, ended = batch.value, batch.stales()
        if not isinstance(batch.time_ms, int):  # in time order, of several samples of a series the last stays
            order = np.argsort(times, kind="stable")
            ids, times, values, ended = ids[order], times[order], values[order], ended[order]
        later = times >= self._times[ids]
        if not later.all():
            ids, times, values, ended = ids[later], times[later], values[later], ended[later]
        self._times[ids], self._values[ids], self._ended[ids] = times, values, ended

    def since(self, start_ms: int) -> tuple[list[bytes], F64]:
        """Return keys and values of the series that have not ended, and have a sample since a time."""
        times, values, ended = self._times, self._values, self._ended
        found = np.flatnonzero((times >= start_ms) & ~ended[: len(times)])
        return [self._series.key(series) for series in found.tolist()], values[found]

    def metadata(self) -> Mapping[str, Metadata]:
        """Return what is known of their families."""
        return dict(self._metadata)

    def _learn(self, layout: Layout) -> None:
        self._metadata.update(layout.metadata)

    def _make_room(self, size: int) -> None:
        missing = size - len(self._times)
        if missing <= 0:
            return
        missing = max(missing, len(self._times))
        # What readers index last grows first.
        self._ended = np.append(self._ended, np.zeros(missing, np.bool_))
        self._values = np.append(self._values, np.zeros(missing))
        self._times = np.append(self._times, np.full(missing, np.iinfo(np.int64).min))
