"""The one way in: process → journal → store. What `emit` returns from is durable and readable."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from metricsmith.contracts import Emit, Processor, Ticking
from metricsmith.errors import DiskFull, JournalError
from metricsmith.journal import Journal
from metricsmith.model.batch import Batch, Layout, empty_batch
from metricsmith.model.left_out import NOTHING, LeftOut
from metricsmith.model.series import SeriesTable
from metricsmith.model.series_use import in_use
from metricsmith.model.telemetry import Telemetry
from metricsmith.runtime.offered import Offered
from metricsmith.runtime.series_limits import SeriesLimits
from metricsmith.runtime.streams import Streams, markers
from metricsmith.store_contracts import Keeper

log = logging.getLogger(__name__)


class Pipeline:
    """Takes batches of all sources through the processors into the journal, and from there to the store.

    Batches reach the store in journal order, on the event loop's thread,
    before the source that waits for them is told. Without `limits` all series are taken.
    """

    def __init__(
        self,
        journal: Journal,
        keeper: Keeper,
        series: SeriesTable,
        telemetry: Telemetry,
        limits: SeriesLimits | None = None,
    ) -> None:
        self.processors: Sequence[Processor] = ()
        self.accepted_samples = 0
        self.newest_ms: int | None = None
        """Time of the newest sample that was committed; None while there is none."""
        self.failure: JournalError | None = None
        """Why the journal did not take the last batch; None when it did."""
        self.streams = Streams()
        self._offered = Offered()
        self._journal, self._keeper, self._series = journal, keeper, series
        self._telemetry, self._limits = telemetry, limits
        journal.on_commit(self._committed)

    def emit_for(self, source: str) -> Emit:
        """Return the emit function of one source."""

        async def emit(batch: Batch) -> None:
            await self.take(source, batch)

        return emit

    async def take(self, source: str, batch: Batch) -> LeftOut:
        """Take a batch as the emit function of its source does; return what of it is left out.

        Raises:
            JournalError: nothing of it is accepted.
        """
        return await self._process(source, batch, self.processors if len(batch) else ())

    async def tick(self, now_ms: int) -> None:
        """Take what processors have to give now that time has passed."""
        processors = self.processors
        for place, processor in enumerate(processors):
            if not isinstance(processor, Ticking):
                continue
            while (batch := self._ticked(processor, now_ms)) is not None:
                with suppress(JournalError):  # counted where it was refused
                    await self._process(batch.layout.stream or "processors", batch, processors[place + 1 :])

    async def _process(self, source: str, batch: Batch, processors: Sequence[Processor]) -> LeftOut:
        origin, left_out = batch.origin, NOTHING
        left: Batch | None = batch
        if processors:
            if batch not in self._offered:
                await self._check_ready(source, batch)
                self._offered.put(batch, self._through(source, batch, processors))
            left = self._offered.left(batch)
        if left is None:
            if origin is not None:  # nothing is left of it, and it has come all the same
                await self.accept(source, replace(empty_batch(), origin=origin))
        else:
            left_out = await self.accept(source, left if origin is None else replace(left, origin=origin))
            ended = self.streams.accepted(source, left)
            if ended is not None:
                await self.accept(source, ended)
        self._offered.forget(batch)
        return left_out

    async def _check_ready(self, source: str, batch: Batch) -> None:
        """Refuse a batch before processors have seen it: what they remember of it could not be undone.

        Raises:
            JournalError: it cannot be accepted now.
        """
        try:
            self._keeper.check_space()
            if self.failure is not None:
                await self._append(empty_batch())
        except JournalError as error:
            self._count_refusal(source, _reason(error), batch)
            raise

    def _through(self, source: str, batch: Batch, processors: Sequence[Processor]) -> Batch | None:
        """Return what processors leave of a batch: nothing when one of them fails on it."""
        left = in_use(self._series, batch)
        for processor in processors:
            try:
                result = processor.process(left)
            except Exception as error:
                log.debug("defect in a processor", exc_info=True)
                self._telemetry.problem(
                    log,
                    "metricsmith_samples_dropped_total",
                    f"{source}: defect in {type(processor).__name__}, {len(left)} samples are dropped:"
                    f" {type(error).__name__}: {str(error)[:1000]}",
                    amount=len(left),
                    level=logging.ERROR,
                    component=source,
                    reason="defect",
                )
                return None
            if result is None:
                return None
            left = in_use(self._series, result)
        return left

    def _ticked(self, processor: Ticking, now_ms: int) -> Batch | None:
        try:
            return processor.tick(now_ms)
        except Exception as error:
            log.debug("defect in a processor", exc_info=True)
            self._telemetry.problem(
                log,
                "metricsmith_source_failures_total",
                f"defect in the tick of {type(processor).__name__}:"
                f" {type(error).__name__}: {str(error)[:1000]}",
                level=logging.ERROR,
                source="processors",
                reason="defect",
            )
            return None

    async def accept(self, source: str, batch: Batch) -> LeftOut:
        """Take samples or events as they are, without processors, as those of rules; return what is left out.

        Raises:
            JournalError: none of them is accepted.
        """
        if batch.events:
            await self._accept_events(source, batch)
            return NOTHING
        try:
            self._keeper.check_space()
            origin = batch.origin
            batch, left_out = self._admit(source, in_use(self._series, batch))
            if len(batch) == 0 and origin is None:
                return left_out
            await self._append(batch if batch.origin is origin else replace(batch, origin=origin))
        except JournalError as error:
            self._count_refusal(source, _reason(error), batch)
            raise
        self.accepted_samples += len(batch)
        self._telemetry.count("metricsmith_samples_accepted_total", len(batch), source=source)
        self._telemetry.count("metricsmith_batches_accepted_total", source=source)
        return left_out

    def _admit(self, source: str, batch: Batch) -> tuple[Batch, LeftOut]:
        """Return the samples whose times and series are accepted; the others are counted."""
        in_time = self._keeper.admit(batch)
        left = in_time if self._limits is None else self._limits.admit(source, in_time)
        if left is batch:
            return batch, NOTHING
        ended = in_time.stale is not None and bool(in_time.stale.all())  # of series nobody knows: no limit
        return left, LeftOut(len(batch) - len(in_time), 0 if ended else len(in_time) - len(left))

    async def _accept_events(self, source: str, batch: Batch) -> None:
        """Take events: neither processors nor the store have anything to do with them."""
        try:
            self._keeper.check_space()
            await self._append(batch)
        except JournalError as error:
            labels = {"source": source, "reason": _reason(error)}
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
            if (last_ms := newest_ms(batch)) is not None:
                self.newest_ms = last_ms if self.newest_ms is None else max(self.newest_ms, last_ms)
            self._keeper.apply(batch, sequence)


def newest_ms(batch: Batch) -> int | None:
    """Return the time of the newest sample of a batch, None for one without."""
    if not len(batch):
        return None
    return batch.time_ms if isinstance(batch.time_ms, int) else int(batch.time_ms.max())


def _reason(error: JournalError) -> str:
    return "disk_full" if isinstance(error, DiskFull) else "journal_error"
