"""What the processes of applications on this machine count, added up."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import ClassVar

from pydantic import Field, field_validator

from metricsmith.contracts import Context, Emit, PartConfig
from metricsmith.errors import DiskFull, JournalError, StoreError
from metricsmith.model.batch import Batch
from metricsmith.model.clock import stopped_within
from metricsmith.model.findings import Findings
from metricsmith.model.schedule import Schedule
from metricsmith.model.settings_types import DurationMs
from metricsmith.sdk.export.keys import Name, metadata_of, names_and_values, series_keys
from metricsmith.sdk.processes import Collector, default_address
from metricsmith.sdk.processes.address import check_address
from metricsmith.sources.stream import SeriesStream

log = logging.getLogger(__name__)


class ProcessesConfig(PartConfig):
    """Settings of the `processes` source."""

    address: str = Field(
        "",
        description="Path of the socket, or `tcp://127.0.0.1:PORT`; default"
        " `METRICSMITH_PROCESSES_ADDRESS`, else where `share()` looks for it: the socket of this user.",
    )
    interval: DurationMs = Field(10_000, ge=100, le=86_400_000, description="Time between samples.")
    expiry: DurationMs = Field(
        86_400_000,
        ge=60_000,
        description="Totals of an application (`job` and `instance`) end when no process of it has been there"
        " for this long.",
    )

    @field_validator("address")
    @classmethod
    def _usable(cls, value: str) -> str:
        return check_address(value) if value else value


class ProcessesSource:
    """Collects what workers push, and emits the totals every interval.

    Totals are on disk before a push is acknowledged, so that counters go on over restarts of the agent.
    """

    Config: ClassVar[type[ProcessesConfig]] = ProcessesConfig

    @classmethod
    async def examine(cls, config: ProcessesConfig, context: Context, findings: Findings) -> None:
        """Look at the socket's folder or port."""
        from metricsmith.sources.processes_examination import examine

        await examine(config, findings)

    def __init__(self, config: ProcessesConfig, context: Context) -> None:
        self._config, self._context = config, context
        self._address = config.address or default_address()
        self._stream = SeriesStream[Name](
            context.name, context.series, {}, lambda name: series_keys([name], {})[0]
        )
        self._told: Counter[str] = Counter()

    async def run(self, emit: Emit, stop: asyncio.Event) -> None:
        """Collect, and emit every interval, until `stop` is set; once more then, with what came last."""
        clock, schedule = self._context.clock, Schedule(self._config.interval)
        collector = Collector(
            self._address,
            kept=self._context.state,
            by_service=True,
            expiry_s=self._config.expiry / 1000,
            clock=clock,
        )
        self._context.telemetry.watch(
            "metricsmith_processes_connected", lambda: collector.connected, source=self._context.name
        )
        due, listening = schedule.first(clock.now_ms() + 1), False
        try:
            while True:
                listening = listening or await self._listen(collector)
                if await stopped_within(stop, clock, (due - clock.now_ms()) / 1000):
                    break
                await self._emit(emit, collector, schedule.timestamp(due, clock.now_ms()))
                due, _ = schedule.following(due, clock.now_ms())
        finally:
            await asyncio.to_thread(collector.stop)
            self._context.telemetry.forget("metricsmith_processes_connected", source=self._context.name)
        await self._emit(emit, collector, clock.now_ms())

    async def _listen(self, collector: Collector) -> bool:
        try:
            await asyncio.to_thread(collector.start)
        except OSError as error:
            self._problem("listen", f"{self._address}: {error}")
        except StoreError as error:
            self._problem("state", f"what was kept cannot be read: {error}")
        else:
            return True
        return False

    async def _emit(self, emit: Emit, collector: Collector, time_ms: int) -> None:
        try:
            await emit(await asyncio.to_thread(self._batch, collector, time_ms))
        except JournalError as error:
            # The samples are counted where they were refused; totals go on, so that nothing is missing later.
            self._problem("disk_full" if isinstance(error, DiskFull) else "journal_error", str(error))
        else:
            self._stream.accepted()
        self._tell(collector)

    def _batch(self, collector: Collector, time_ms: int) -> Batch:
        readings = collector.totals()
        # Two applications that set `job` themselves may tell of one series.
        samples = dict(zip(*names_and_values(readings), strict=True))
        names = list(samples)
        return self._stream.batch(names, list(samples.values()), time_ms, dict(map(metadata_of, readings)))

    def _tell(self, collector: Collector) -> None:
        """Count what the collector did not take as it is."""
        for reason, count in collector.trouble().items():
            if more := count - self._told[reason]:
                self._told[reason] = count
                name, said = self._context.name, collector.problems.last().get(reason, "")
                self._context.telemetry.problem(
                    log,
                    "metricsmith_processes_problems_total",
                    f"{name}: {reason}{said and f': {said}'}",
                    amount=more,
                    source=name,
                    reason=reason,
                )

    def _problem(self, reason: str, text: str) -> None:
        name = self._context.name
        self._context.telemetry.problem(
            log, "metricsmith_source_failures_total", f"{name}: {text}", source=name, reason=reason
        )
