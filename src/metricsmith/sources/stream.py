"""Readings to the batches of one stream: a layout that stays, markers of what has gone."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

import numpy as np

from metricsmith.model.arrays import U32
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.metadata import Metadata
from metricsmith.model.series import SeriesTable

Name = TypeVar("Name", bound=Hashable)


class SeriesStream(Generic[Name]):
    """Makes the batches of one stream: the layout of the last one while no series comes or goes.

    A name is whatever tells a series from the others; `key` makes it a canonical
    key, once. A series that a reading does not have ended: it gets a marker
    until a batch with that was accepted.
    """

    def __init__(
        self,
        stream: str,
        series: SeriesTable,
        metadata: Mapping[str, Metadata],
        key: Callable[[Name], bytes],
    ) -> None:
        self._stream, self._series, self._key = stream, series, key
        self._names: list[Name] = []
        self._ids: dict[Name, int] = {}
        self._layout = Layout(np.empty(0, dtype=np.uint32), stream, metadata)
        self._alive = self._layout.ids

    def batch(
        self,
        names: list[Name],
        values: Sequence[float],
        time_ms: int,
        metadata: Mapping[str, Metadata] | None = None,
    ) -> Batch:
        """Return the batch of a reading; new `metadata` is taken up when the series change.

        Shapes:
            names, values: one per sample, each name once.
        """
        if names is not self._names and names != self._names:
            self._change(names, self._layout.metadata if metadata is None else metadata)
        value = np.array(values, dtype=np.float64)
        layout, ids = self._layout, self._layout.ids
        gone: U32 = self._alive[:0] if self._alive is ids else self._alive[~np.isin(self._alive, ids)]
        if not len(gone):
            return Batch(layout, time_ms, value)
        stale = np.repeat([False, True], [len(ids), len(gone)])
        value = np.concatenate((value, np.full(len(gone), np.nan)))
        return Batch(
            Layout(np.concatenate((ids, gone)), self._stream, layout.metadata), time_ms, value, stale
        )

    def accepted(self) -> None:
        """Note that the last batch was accepted."""
        self._alive = self._layout.ids

    def _change(self, names: list[Name], metadata: Mapping[str, Metadata]) -> None:
        known, intern = self._ids, self._series.intern
        self._ids = {n: intern(self._key(n)) if (i := known.get(n)) is None else i for n in names}
        ids = np.fromiter(self._ids.values(), dtype=np.uint32, count=len(self._ids))
        self._names, self._layout = names, Layout(ids, self._stream, metadata)
