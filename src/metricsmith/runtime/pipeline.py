"""The one way in: process → journal → store. What `emit` returns from is durable and readable."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from metricsmith.contracts import Emit, Processor, Store
from metricsmith.errors import DiskFull, JournalError
from metricsmith.journal.journal import Journal
from metricsmith.model.batch import Batch
from metricsmith.model.telemetry import Telemetry

log = logging.getLogger(__name__)


class Pipeline:
    """Takes batches of all sources through the processors into the journal, and from there to the store.

    Batches reach the store in journal order, on the event loop's thread,
    before the source that waits for them is told.
    """

    def __init__(self, journal: Journal, store: Store, telemetry: Telemetry) -> None:
        self.processors: Sequence[Processor] = ()
        self.accepted_samples = 0
        self._journal, self._store, self._telemetry = journal, store, telemetry
        journal.on_commit(self._committed)

    def emit_for(self, source: str) -> Emit:
        """Return the emit function of one source."""

        async def emit(batch: Batch) -> None:
            for processor in self.processors:
                result = processor.process(batch)
                if result is None:
                    return
                batch = result
            try:
                self._store.check_space()
                await self._journal.append(batch)
            except DiskFull:
                self._count_refusal(source, "disk_full", batch)
                raise
            except JournalError:
                self._count_refusal(source, "journal_error", batch)
                raise
            self.accepted_samples += len(batch)
            self._telemetry.count("metricsmith_samples_accepted_total", len(batch), source=source)

        return emit

    def _count_refusal(self, source: str, reason: str, batch: Batch) -> None:
        self._telemetry.count(
            "metricsmith_samples_dropped_total", len(batch), component=source, reason=reason
        )

    def _committed(self, committed: Sequence[tuple[int, Batch]]) -> None:
        for sequence, batch in committed:
            self._store.apply(batch, sequence)
