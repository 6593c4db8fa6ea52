"""The data directory of a stopped agent, opened as the agent opens it: store, journal, and the way in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np

from metricsmith.api.context import Snapshot
from metricsmith.contracts import Context
from metricsmith.errors import DiskFull, JournalError
from metricsmith.journal import Journal
from metricsmith.journal.config import JournalConfig
from metricsmith.model.batch import Batch
from metricsmith.model.clock import Clock, SystemClock
from metricsmith.model.labels import metric_name
from metricsmith.model.matchers import Matcher
from metricsmith.model.metadata import Metadata
from metricsmith.model.sample_groups import as_ragged, concatenate
from metricsmith.model.series import SeriesTable
from metricsmith.model.settings_types import format_size
from metricsmith.model.telemetry import Telemetry
from metricsmith.runtime.admin import EmbeddedAdmin
from metricsmith.runtime.pipeline import Pipeline
from metricsmith.store.admission import FUTURE_MS
from metricsmith.store.embedded import EmbeddedStore
from metricsmith.store.pieces import RaggedPiece
from metricsmith.store.ragged import EMPTY
from metricsmith.store.settings import EmbeddedConfig

IMPORT = "import"
"""The source of imported samples, in metrics."""
SAMPLE_BYTES = 24
"""What a sample takes in the journal at most, beside the name of its series."""
KEPT_FOR_EVER_MS = 1000 * 365 * 86_400_000
"""Retention where no configuration says one: nothing is too old, and nothing is deleted."""


class OfflineStore:
    """A store without an agent. On one event loop; while it is open no agent can start."""

    def __init__(
        self, config: EmbeddedConfig, journal: JournalConfig, clock: Clock, table: SeriesTable
    ) -> None:
        """Open it; what the journal has beyond the blocks is not there before `replay`.

        Raises:
            DataDirLocked: an agent uses it.
            StoreError, JournalError: it cannot be opened.
        """
        folder = Path(config.path)
        self._clock, self._retention_ms = clock, config.retention
        telemetry, self.series_table = Telemetry(clock), table
        self.store = EmbeddedStore(config, Context("store", self.series_table, telemetry, clock))
        try:
            self._journal = Journal(folder / "journal", self.series_table, telemetry, clock, journal)
            self._journal.set_cursor("store", self.store.cursor())
        except BaseException:
            self.store.close(flush=False)
            raise
        self._pipeline = Pipeline(self._journal, self.store, table, telemetry)
        self.admin = EmbeddedAdmin(self.store)

    def replay(self) -> None:
        """Apply what the journal has beyond the blocks.

        Raises:
            StoreError, JournalError: it cannot be read, or flushed.
        """
        for sequence, batch in self._journal.replay(self.store.cursor()):
            self.store.apply(batch, sequence)

    def names(self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int) -> list[str]:
        """Return the metric names of matching series, as `History` does."""
        found = {metric_name(key) for each in selectors for key in self.series(each, start_ms, end_ms)}
        return sorted(found)

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[bytes]:
        """Return the keys of matching series, as `History` does."""
        return self.store.series(matchers, start_ms, end_ms)

    def samples(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, limit: int) -> RaggedPiece:
        """Return the samples of matching series, as `History` does."""
        found = self.store.select(matchers, start_ms, end_ms, limit)
        groups = [as_ragged(matrix) for matrix in found.matrices]
        groups += [] if found.ragged is None else [found.ragged]
        if not groups:
            return EMPTY
        flat = concatenate(groups)
        ids = self.series_table.intern_many(found.keys)[flat.rows]
        return RaggedPiece(ids, flat.offsets, flat.times, flat.values, flat.stale)

    def metadata(self) -> Mapping[str, Metadata]:
        """Return what is known of metric families."""
        return self.store.metadata()

    def time_span(self) -> tuple[int, int] | None:
        """Return the times of the first and the last sample in blocks, None without any."""
        return self.store.time_span()

    async def snapshot(self) -> Snapshot:
        """Make a snapshot of everything."""
        return await self.admin.snapshot(skip_head=False)

    def time_range(self) -> tuple[int, int]:
        """Return the oldest and the newest time that samples may have now."""
        now_ms = self._clock.now_ms()
        return now_ms - self._retention_ms, now_ms + FUTURE_MS

    async def accept(self, batch: Batch) -> int:
        """Take samples as they are, durable on return; return how many were taken.

        Raises:
            DiskFull: none is accepted, and none will be until there is space.
            JournalError: none is accepted; also when sinks would lose what they have not had yet.
        """
        await self._make_room(self._most_bytes(batch))
        try:
            left_out = await self._pipeline.accept(IMPORT, batch)
        except DiskFull:  # mostly the flush is behind: a file is read faster than the disk takes it
            await self.admin.flush()
            left_out = await self._pipeline.accept(IMPORT, batch)
        self.store.tick(self._clock.now_ms())
        self._trim()
        return len(batch) - left_out.samples

    def _most_bytes(self, batch: Batch) -> int:
        """Return how many bytes a batch may take in the journal, with the names of its series."""
        names = sum(len(self.series_table.key(series)) for series in np.unique(batch.layout.ids).tolist())
        return SAMPLE_BYTES * len(batch) + names

    def _trim(self) -> None:
        self._journal.set_cursor("store", self.store.cursor())
        self._journal.trim()

    async def _make_room(self, more_bytes: int) -> None:
        """Keep the journal within its size: at its next start an agent would give up the oldest samples."""
        if self._journal.has_room(more_bytes):
            return
        await self.admin.flush()
        self._trim()
        if not self._journal.has_room(more_bytes):
            raise JournalError(
                f"got no room for more in the journal ({format_size(self._journal.size_bytes())}) within"
                " journal.max_size: sinks get what is imported, and would lose samples that they have not had"
                " yet (import in parts and let the agent's sinks catch up between, or raise journal.max_size)"
            )

    async def close(self, flush: bool = True) -> None:
        """Flush what was accepted, unless told not to, and release the directory."""
        try:
            await self._journal.close()
        finally:
            self.store.close(flush=flush)


@asynccontextmanager
async def open_offline(
    config: EmbeddedConfig,
    journal: JournalConfig | None = None,
    clock: Clock | None = None,
    table: SeriesTable | None = None,
) -> AsyncIterator[OfflineStore]:
    """Hold the data directory of a stopped agent for the time of the block.

    Raises:
        DataDirLocked: an agent uses it.
        StoreError, JournalError: it cannot be opened.
    """
    store = OfflineStore(
        config,
        journal or JournalConfig(),
        clock or SystemClock(),
        SeriesTable() if table is None else table,
    )
    try:
        store.replay()
    except BaseException:
        await store.close(flush=False)
        raise
    try:
        yield store
    finally:
        await store.close()
