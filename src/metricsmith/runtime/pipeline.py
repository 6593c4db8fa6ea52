"""The one way in: process → journal → store. What `emit` returns from is durable and readable."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from metricsmith.contracts import Emit, Processor, Store, Ticking
from metricsmith.errors import DiskFull, JournalError
from metricsmith.journal import Journal
from metricsmith.model.batch import Batch, Layout, empty_batch
from metricsmith.model.telemetry import Telemetry
from metricsmith.runtime.streams import Streams, markers

log = logging.getLogger(__name__)


class Pipeline:
    """Takes batches of all sources through the processors into the journal, and from there to the store.

    Batches reach the store in journal order, on the event loop's thread,
    before the source that waits for them is told.
    """

    def __init__(self, journal: Journal, store: Store, telemetry: Telemetry) -> None:
        self.processors: Sequence[Processor] = ()
        self.accepted_samples = 0
        self.failure: JournalError | None = None
        """Why the journal did not take the last batch; None when it did."""
        self.streams = Streams()
        self._journal, self._store, self._telemetry = journal, store, telemetry
        journal.on_commit(self._committed)

    def emit_for(self, source: str) -> Emit:
        """Return the emit function of one source."""

        async def emit(batch: Batch) -> None:
            await self._process(source, batch, self.processors if len(batch) else ())

        return emit

    async def tick(self, now_ms: int) -> None:
        """Take what processors have to give now that time has passed."""
        processors = self.processors
        for place, processor in enumerate(processors):
            if not isinstance(processor, Ticking):
                continue
            while (batch := processor.tick(now_ms)) is not None:
                with suppress(JournalError):  # counted where it was refused
                    await self._process(batch.layout.stream or "processors", batch, processors[place + 1 :])

    async def _process(self, source: str, batch: Batch, processors: Sequence[Processor]) -> None:
        origin = batch.origin
        for processor in processors:
            result = processor.process(batch)
            if result is None:
                if origin is not None:  # nothing is left of it, and it has come all the same
                    await self.accept(source, replace(empty_batch(), origin=origin))
                return
            batch = result
        await self.accept(source, batch if origin is None else replace(batch, origin=origin))
        ended = self.streams.accepted(source, batch)
        if ended is not None:
            await self.accept(source, ended)

    async def accept(self, source: str, batch: Batch) -> None:
        """Take samples or events as they are: they are not processed, as those of rules are not.

        Raises:
            JournalError: none of them is accepted.
        """
        if batch.events:
            await self._accept_events(source, batch)
            return
        try:
            self._store.check_space()
            origin, batch = batch.origin, self._store.admit(batch)
            if len(batch) == 0 and origin is None:
                return
            await self._append(batch if batch.origin is origin else replace(batch, origin=origin))
        except DiskFull:
            self._count_refusal(source, "disk_full", batch)
            raise
        except JournalError:
            self._count_refusal(source, "journal_error", batch)
            raise
        self.accepted_samples += len(batch)
        self._telemetry.count("metricsmith_samples_accepted_total", len(batch), source=source)
        self._telemetry.count("metricsmith_batches_accepted_total", source=source)

    async def _accept_events(self, source: str, batch: Batch) -> None:
        """Take events: neither processors nor the store have anything to do with them."""
        try:
            self._store.check_space()
            await self._append(batch)
        except JournalError as error:
            reason = "disk_full" if isinstance(error, DiskFull) else "journal_error"
            labels = {"source": source, "reason": reason}
            self._telemetry.count("metricsmith_events_dropped_total", len(batch.events), **labels)
            raise
        self._telemetry.count("metricsmith_events_accepted_total", len(batch.events), source=source)

    async def end(self, layouts: Sequence[tuple[str, Layout]], now_ms: int) -> None:
        """Mark as ended all series of layouts, each given with its source."""
        for source, layout in layouts:
            try:
                await self.accept(source, markers(layout, now_ms))
            except JournalError as error:
                log.warning("series of %s could not be marked as ended: %s", source, error)

    async def try_journal(self) -> None:
        """After a failure, see whether the journal writes again: senders wait until the agent is ready."""
        if self.failure is None:
            return
        with suppress(JournalError):  # logged and counted by the journal
            await self._append(empty_batch())

    async def _append(self, batch: Batch) -> None:
        try:
            await self._journal.append(batch)
        except JournalError as error:
            self.failure = error
            raise
        self.failure = None

    def _count_refusal(self, source: str, reason: str, batch: Batch) -> None:
        self._telemetry.count(
            "metricsmith_samples_dropped_total", len(batch), component=source, reason=reason
        )

    def _committed(self, committed: Sequence[tuple[int, Batch]]) -> None:
        for sequence, batch in committed:
            self._store.apply(batch, sequence)
