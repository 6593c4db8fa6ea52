"""The `kafka` source: reads a cluster in the background, in a thread of its own, and emits what is known."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

from metricsmith.contracts import Context, Emit
from metricsmith.errors import DiskFull, JournalError, StoreError
from metricsmith.model.schedule import Schedule
from metricsmith.sources.kafka import admin
from metricsmith.sources.kafka.admin import LogDir, Trouble
from metricsmith.sources.kafka.client import Client, KafkaUnavailable
from metricsmith.sources.kafka.metrics import Sheet, SheetStream
from metricsmith.sources.kafka.observer import Observer
from metricsmith.sources.kafka.settings import KafkaConfig
from metricsmith.sources.kafka.sheets import cluster_sheet, configs_sheet, log_dirs_sheet

log = logging.getLogger(__name__)

SAVE_EVERY_MS = 60_000


@dataclass(slots=True)
class _Part:
    """One kind of reading: its interval and when it is due."""

    read: Callable[[Client | None], Sheet | None]
    stream: SheetStream
    schedule: Schedule
    due_ms: int


class KafkaSource:
    """Topics, groups, offsets, lag with a verdict, sizes on disk and topic settings of one cluster."""

    Config: ClassVar[type[KafkaConfig]] = KafkaConfig

    def __init__(self, config: KafkaConfig, context: Context) -> None:
        self._config, self._context = config, context
        self._observer = Observer(config, context.state, context.clock.now_ms)
        self._client: Client | None = None
        self._configs: dict[str, Mapping[str, str]] = {}
        self._sizes: dict[int, tuple[int, Sequence[LogDir]]] = {}
        self._saved_ms = 0

    async def run(self, emit: Emit, stop: asyncio.Event) -> None:
        """Read and emit each part on its interval until `stop` is set."""
        clock, loop = self._context.clock, asyncio.get_running_loop()
        # One thread: the client is for one at a time, and a slow broker must not take the agent's threads.
        worker = ThreadPoolExecutor(1, thread_name_prefix=f"kafka-{self._context.name}")
        try:
            await loop.run_in_executor(worker, self._restore)
            parts = self._parts(clock.now_ms())
            while not stop.is_set():
                due = [part for part in parts if part.due_ms <= clock.now_ms()]
                if due:
                    sheets = await loop.run_in_executor(worker, self._read, due)
                    for part, sheet in zip(due, sheets, strict=True):
                        if sheet is not None:
                            await self._emit(emit, part, sheet)
                        part.due_ms, _ = part.schedule.following(part.due_ms, clock.now_ms())
                wait_ms = min(part.due_ms for part in parts) - clock.now_ms()
                await _sleep(clock.sleep(max(0, wait_ms) / 1000), stop)
        finally:
            worker.submit(self._close)
            worker.shutdown(wait=False)

    def _parts(self, now_ms: int) -> list[_Part]:
        config, name = self._config, self._context.name
        fixed = {
            **config.labels,
            "job": name,
            "instance": config.instance or config.bootstrap_servers[0],
        }
        kinds = (
            # Before the others, which take the topics from it.
            ("cluster", config.interval, self._read_cluster),
            ("configs", config.configs_interval, self._read_configs),
            ("log_dirs", config.log_dirs_interval, self._read_sizes),
        )
        return [
            _Part(
                read,
                SheetStream(f"kafka/{name}/{kind}", self._context.series, fixed),
                Schedule(interval),
                now_ms,
            )
            for kind, interval, read in kinds
            if interval
        ]

    async def _emit(self, emit: Emit, part: _Part, sheet: Sheet) -> None:
        try:
            await emit(part.stream.batch(sheet, self._context.clock.now_ms()))
            part.stream.accepted()
        except JournalError as error:  # the samples themselves are counted where they were refused
            reason = "disk_full" if isinstance(error, DiskFull) else "journal_error"
            self._context.telemetry.problem(
                log,
                "metricsmith_source_failures_total",
                f"{self._context.name}: metrics not accepted: {error}",
                source=self._context.name,
                reason=reason,
            )

    # What follows runs in the worker thread.

    def _restore(self) -> None:
        if bad := self._observer.restore():
            self._trouble([Trouble("history", "unreadable", f"{bad} saved readings cannot be used")])

    def _read(self, due: Sequence[_Part]) -> list[Sheet | None]:
        client = self._connected()
        sheets = [self._read_part(part, client) for part in due]
        if client is not None and not self._observer.view.up:
            self._disconnect()  # the addresses may have changed: begin with the bootstrap servers again
        return sheets

    def _read_part(self, part: _Part, client: Client | None) -> Sheet | None:
        try:
            return part.read(client)
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

    def _read_cluster(self, client: Client | None) -> Sheet:
        if client is not None:
            self._observer.read(client)
            self._trouble(self._observer.view.troubles)
            self._save()
        return cluster_sheet(self._observer.view, self._configs)

    def _read_sizes(self, client: Client | None) -> Sheet | None:
        now_ms = self._context.clock.now_ms()
        if client is not None:
            found, troubles = admin.log_dirs(client, client.brokers())
            self._trouble(troubles)
            self._sizes |= {node: (now_ms, directories) for node, directories in found.items()}
        oldest = now_ms - self._config.keep_for
        self._sizes = {node: each for node, each in self._sizes.items() if each[0] >= oldest}
        return log_dirs_sheet(self._sizes, self._topics(), now_ms)

    def _read_configs(self, client: Client | None) -> Sheet | None:
        if client is not None:
            found, troubles = admin.topic_configs(client, sorted(self._topics()))
            self._trouble(troubles)
            self._configs = {name: self._configs.get(name, {}) for name in self._topics()} | found
        return configs_sheet(self._configs)

    def _topics(self) -> set[str]:
        topology = self._observer.view.topology
        return set() if topology is None else {p.topic for p in topology.partitions}

    def _save(self) -> None:
        now_ms = self._context.clock.now_ms()
        if abs(now_ms - self._saved_ms) < SAVE_EVERY_MS:
            return
        try:
            self._observer.save()
            self._saved_ms = now_ms
        except (DiskFull, StoreError) as error:
            self._trouble([Trouble("history", "not_saved", str(error))])

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
        with suppress(DiskFull, StoreError):  # what is not saved now is read again
            self._observer.save()
        self._disconnect()


async def _sleep(sleep: Coroutine[Any, Any, None], stop: asyncio.Event) -> None:
    """Wait for a sleep, or for `stop` to be set."""
    tasks: set[asyncio.Future[Any]] = {asyncio.ensure_future(sleep), asyncio.ensure_future(stop.wait())}
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
