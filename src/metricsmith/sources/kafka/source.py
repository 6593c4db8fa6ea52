"""The `kafka` source: reads a cluster in the background, in a thread of its own, and emits what is known."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, ClassVar

from metricsmith.contracts import Context, Emit
from metricsmith.errors import DiskFull, JournalError, StoreError
from metricsmith.model.clock import stopped_within
from metricsmith.model.findings import Findings
from metricsmith.model.schedule import Schedule
from metricsmith.sources.kafka.admin import Trouble
from metricsmith.sources.kafka.client import Client, KafkaUnavailable
from metricsmith.sources.kafka.metrics import Sheet, SheetStream
from metricsmith.sources.kafka.observer import Observer
from metricsmith.sources.kafka.parts import ClusterPart, ConfigsPart, LogDirsPart, Part
from metricsmith.sources.kafka.settings import KafkaConfig
from metricsmith.sources.kafka.tombstone_part import TombstonePart

log = logging.getLogger(__name__)

STOP_LIMIT_S = 1.5
SHOWN_EVERY_MS = 60_000


@dataclass(slots=True)
class _Slot:
    """A part, its stream, and when it is shown and read.

    It is shown more often than it is read: a query looks back for five minutes only.
    """

    part: Part
    stream: SheetStream
    shown: Schedule
    show_ms: int
    reading: Schedule
    read_ms: int

    def show_due(self, now_ms: int) -> bool:
        return _due(self.shown, self.show_ms, now_ms)

    def read_due(self, now_ms: int) -> bool:
        return _due(self.reading, self.read_ms, now_ms)


def _due(schedule: Schedule, due_ms: int, now_ms: int) -> bool:
    return due_ms <= now_ms or due_ms - now_ms > 2 * schedule.interval_ms  # the clock was set back


class KafkaSource:
    """Topics, groups, offsets, lag with a verdict, sizes on disk, settings and tombstones of one cluster."""

    Config: ClassVar[type[KafkaConfig]] = KafkaConfig

    @classmethod
    async def examine(cls, config: KafkaConfig, context: Context, findings: Findings) -> None:
        """Connect, and see what we are let see."""
        from metricsmith.sources.kafka.examination import examine

        await examine(config, context.name, findings)

    def __init__(self, config: KafkaConfig, context: Context) -> None:
        self._config, self._context = config, context
        now_ms = context.clock.now_ms
        self._observer = Observer(config, context.state, now_ms)
        self._client: Client | None = None
        configs = ConfigsPart(config, self._observer, self._trouble)
        log_dirs = LogDirsPart(config, self._observer, self._trouble, now_ms)
        self._tombstones = TombstonePart(config, self._observer, context)
        self._parts: tuple[Part, ...] = (
            # Before the others, which take the topics from it.
            ClusterPart(config, self._observer, configs, self._trouble, log_dirs),
            configs,
            log_dirs,
            self._tombstones,
        )

    async def run(self, emit: Emit, stop: asyncio.Event) -> None:
        """Read and emit each part on its interval until `stop` is set."""
        clock, loop = self._context.clock, asyncio.get_running_loop()
        # One thread: the client is for one at a time, and a slow broker must not take the agent's threads.
        worker = ThreadPoolExecutor(1, thread_name_prefix=f"kafka-{self._context.name}")
        stopped = asyncio.ensure_future(stop.wait())
        try:
            await loop.run_in_executor(worker, self._restore)
            slots = self._slots(clock.now_ms())
            while not stop.is_set():
                due = [slot for slot in slots if slot.show_due(clock.now_ms())]
                if due:
                    reading = loop.run_in_executor(worker, self._read, due)
                    await _first(reading, stopped)
                    if not reading.done():
                        reading.cancel()
                        break
                    for slot, sheet in zip(due, reading.result(), strict=True):
                        if sheet is not None:
                            await self._emit(emit, slot, sheet)
                        slot.show_ms, _ = slot.shown.following(slot.show_ms, clock.now_ms())
                wait_ms = min(slot.show_ms for slot in slots) - clock.now_ms()
                await stopped_within(stop, clock, max(0, wait_ms) / 1000)
        finally:
            stopped.cancel()
            closing = worker.submit(self._close)
            worker.shutdown(wait=False)
            await asyncio.to_thread(self._wait_for_end, closing)

    def _slots(self, now_ms: int) -> list[_Slot]:
        config, name = self._config, self._context.name
        fixed = {
            **config.labels,
            "job": name,
            "instance": config.instance or config.bootstrap_servers[0],
        }
        return [
            _Slot(
                part,
                SheetStream(f"kafka/{name}/{part.kind}", self._context.series, fixed),
                Schedule(min(config.interval, part.interval_ms, SHOWN_EVERY_MS)),
                now_ms,
                Schedule(part.interval_ms),
                now_ms,
            )
            for part in self._parts
            if part.interval_ms
        ]

    async def _emit(self, emit: Emit, slot: _Slot, sheet: Sheet) -> None:
        try:
            await emit(slot.stream.sheet(sheet, self._context.clock.now_ms()))
            slot.stream.accepted()
        except JournalError as error:  # the samples themselves are counted where they were refused
            reason = "disk_full" if isinstance(error, DiskFull) else "journal_error"
            self._context.telemetry.problem(
                log,
                "metricsmith_source_failures_total",
                f"{self._context.name}: metrics not accepted: {error}",
                source=self._context.name,
                reason=reason,
            )

    def _wait_for_end(self, closing: Future[None]) -> None:
        """Return when all threads have ended, or after STOP_LIMIT_S: a silent broker is not waited for."""
        deadline = time.monotonic() + STOP_LIMIT_S
        self._tombstones.stop(STOP_LIMIT_S)
        wait({closing}, timeout=max(0.0, deadline - time.monotonic()))

    # What follows runs in the worker thread.

    def _restore(self) -> None:
        if bad := self._observer.restore():
            self._trouble([Trouble("history", "unreadable", f"{bad} saved readings cannot be used")])

    def _read(self, due: Sequence[_Slot]) -> list[Sheet | None]:
        client = self._connected()
        sheets = [self._read_slot(slot, client) for slot in due]
        if client is not None and not self._observer.view.up:
            self._disconnect()  # the addresses may have changed: begin with the bootstrap servers again
        return sheets

    def _read_slot(self, slot: _Slot, client: Client | None) -> Sheet | None:
        now_ms = self._context.clock.now_ms()
        try:
            if client is not None and slot.read_due(now_ms) and slot.part.read(client):
                slot.read_ms, _ = slot.reading.following(slot.read_ms, now_ms)
            return slot.part.sheet()
        except Exception as error:  # an answer that nobody thought of must not end the source for good
            log.debug("%s: defect", self._context.name, exc_info=True)
            self._context.telemetry.problem(
                log,
                "metricsmith_source_failures_total",
                f"{self._context.name}: defect in a round: {type(error).__name__}: {error}",
                level=logging.ERROR,
                source=self._context.name,
                reason="defect",
            )
            return None

    def _connected(self) -> Client | None:
        try:
            if self._client is None:
                self._client = Client(self._config)
        except (KafkaUnavailable, OSError, ValueError) as error:
            self._observer.away(Trouble("metadata", "unreachable", str(error)))
            self._trouble(self._observer.view.troubles)
            return None
        self._client.begin_round()
        return self._client

    def _trouble(self, troubles: Iterable[Trouble]) -> None:
        for each in troubles:
            self._context.telemetry.problem(
                log,
                "metricsmith_kafka_failures_total",
                f"{self._context.name}: {each.part}: {each.message}",
                source=self._context.name,
                part=each.part,
                reason=each.reason,
            )

    def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _close(self) -> None:
        try:
            self._observer.save()
        except (DiskFull, StoreError) as error:
            self._trouble([Trouble("history", "not_saved", str(error))])
        self._disconnect()


async def _first(*futures: asyncio.Future[Any]) -> None:
    """Return when one of them is done."""
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
