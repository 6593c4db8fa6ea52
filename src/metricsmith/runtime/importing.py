"""Samples of files on their way in: labels are put on, times that are not kept are refused and counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from metricsmith.model.arrays import U32
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import encode_labels
from metricsmith.model.metadata import Metadata
from metricsmith.model.series import SeriesTable
from metricsmith.runtime.import_files import Part
from metricsmith.wire.sample_files.columns import Columns

BATCH_SAMPLES = 50_000


class Target(Protocol):
    """Where samples go."""

    def time_range(self) -> tuple[int, int]:
        """Return the oldest and the newest time that samples may have now."""
        ...

    async def accept(self, batch: Batch) -> int:
        """Take samples, durable on return; return how many were taken."""
        ...


@dataclass(slots=True)
class Imported:
    """What was done so far."""

    read: int = 0
    accepted: int = 0
    too_old: int = 0
    too_far_ahead: int = 0
    refused: int = 0
    """Of times that are kept, and not taken all the same: mostly of new series beyond limits."""
    first_ms: int | None = None
    last_ms: int | None = None
    series: set[int] = field(default_factory=set, repr=False)


class Importer:
    """Hands samples to a target; without one it only counts."""

    def __init__(self, target: Target | None, table: SeriesTable, labels: Mapping[str, str]) -> None:
        self._target, self._table, self._labels = target, table, labels
        self._renamed: dict[int, int] = {}
        self._told: dict[str, Metadata] = {}
        self.done = Imported()

    async def take(self, part: Part) -> None:
        """Put samples where they go, those of times that are kept.

        Raises:
            JournalError, StoreError: they cannot be accepted; those before are.
        """
        done = self.done
        columns = self._kept(part.columns)
        done.read += len(part.columns)
        if len(columns) == 0:
            return
        ids = self._with_labels(columns.series)
        done.series.update(np.unique(ids).tolist())
        first, last = int(columns.times.min()), int(columns.times.max())
        done.first_ms = first if done.first_ms is None else min(first, done.first_ms)
        done.last_ms = last if done.last_ms is None else max(last, done.last_ms)
        for at in range(0, len(ids), BATCH_SAMPLES):
            own = slice(at, at + BATCH_SAMPLES)
            stale = None if columns.stale is None else columns.stale[own]
            layout = Layout(ids[own].copy(), None, self._news(part.metadata))
            batch = Batch(layout, columns.times[own], columns.values[own], stale)
            taken = len(batch) if self._target is None else await self._target.accept(batch)
            done.accepted += taken
            done.refused += len(batch) - taken

    def _kept(self, columns: Columns) -> Columns:
        if self._target is None:
            return columns
        oldest, newest = self._target.time_range()
        old, ahead = columns.times < oldest, columns.times > newest
        self.done.too_old += int(np.count_nonzero(old))
        self.done.too_far_ahead += int(np.count_nonzero(ahead))
        kept = np.flatnonzero(~(old | ahead))
        if len(kept) == len(columns):
            return columns
        stale = None if columns.stale is None else columns.stale[kept]
        return Columns(columns.series[kept], columns.times[kept], columns.values[kept], stale)

    def _with_labels(self, series: U32) -> U32:
        """Return the series that samples get: labels that are put on replace those of the same name."""
        if not self._labels:
            return series
        different, place = np.unique(series, return_inverse=True)
        renamed = [self._renamed.get(each) for each in different.tolist()]
        for at, found in enumerate(renamed):
            if found is None:
                own = int(different[at])
                key = encode_labels(self._table.labels(own) | dict(self._labels))
                renamed[at] = self._renamed[own] = self._table.intern(key)
        return np.array(renamed, np.uint32)[place]

    def _news(self, metadata: Mapping[str, Metadata]) -> Mapping[str, Metadata]:
        news = {name: known for name, known in metadata.items() if self._told.get(name) != known}
        self._told.update(news)
        return news
