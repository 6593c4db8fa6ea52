"""The `python` source: collectors from files, modules and installed packages, each by itself."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import ClassVar

from metricsmith.contracts import Context, Emit
from metricsmith.model.clock import stopped_within
from metricsmith.model.findings import Findings
from metricsmith.model.targets import LastScrape, PoolStatus, TargetStatus
from metricsmith.sources.python.admission import Owners
from metricsmith.sources.python.catalogue import Catalogue, Refusal
from metricsmith.sources.python.collecting import Collecting
from metricsmith.sources.python.find import Unit
from metricsmith.sources.python.runner import FAILURES, Runner
from metricsmith.sources.python.settings import PythonConfig, limits_of
from metricsmith.sources.python.threads import Threads

log = logging.getLogger(__name__)

END_LIMIT_S = 1.0


@dataclass(slots=True)
class _Running:
    unit: Unit
    runner: Runner
    task: asyncio.Task[None]


class PythonSource:
    """Runs collectors. A file that changes is read again; the others go on undisturbed."""

    Config: ClassVar[type[PythonConfig]] = PythonConfig

    @classmethod
    async def examine(cls, config: PythonConfig, context: Context, findings: Findings) -> None:
        """Load the collectors, and call none."""
        from metricsmith.sources.python.examination import examine

        await examine(config, context, findings)

    def __init__(self, config: PythonConfig, context: Context) -> None:
        self._config, self._context = config, context
        self._running: dict[str, _Running] = {}
        self._refusals: tuple[Refusal, ...] = ()
        self._looked_ms = 0
        self._owners = Owners()

    def targets(self) -> PoolStatus:
        """Return how each collector is, and each file and module that cannot be used."""
        collectors = [each.runner.status() for each in list(self._running.values())]
        return PoolStatus(self._context.name, (*collectors, *map(self._refused, self._refusals)))

    def _refused(self, refusal: Refusal) -> TargetStatus:
        refresh_ms = self._config.refresh
        labels = {"job": self._context.name, "instance": self._config.instance}
        last = LastScrape(self._looked_ms, 0.0, refusal.message)
        return TargetStatus(
            self._context.name, refusal.what, labels, refresh_ms, self._config.load_timeout, last
        )

    async def run(self, emit: Emit, stop: asyncio.Event) -> None:
        """Run all collectors until `stop` is set. Stopping marks no series as ended."""
        clock, threads = self._context.clock, Threads(f"collectors of {self._context.name}")
        catalogue = Catalogue(self._config, threads, clock)
        hung = "metricsmith_collectors_hung"
        self._context.telemetry.watch(hung, self._hung, source=self._context.name)
        try:
            while not stop.is_set():
                if await catalogue.look():
                    await self._update(catalogue, threads, emit)
                self._looked_ms = clock.now_ms()
                await stopped_within(stop, clock, self._config.refresh / 1000)
        finally:
            await self._close(list(self._running))
            threads.close()
            self._context.telemetry.forget(hung, source=self._context.name)

    def _hung(self) -> int:
        return sum(each.runner.collecting.hung for each in list(self._running.values()))

    async def _update(self, catalogue: Catalogue, threads: Threads, emit: Emit) -> None:
        """Start what is new, replace what is another version, end what has gone."""
        wanted, self._refusals = catalogue.chosen()
        for refusal in catalogue.take_news():
            self._context.telemetry.problem(
                log,
                FAILURES,
                f"{self._context.name}: {refusal.message}",
                subject=refusal.message,
                source=self._context.name,
                collector="",
                reason=refusal.reason,
            )
        former = {n: r for n, r in self._running.items() if wanted.get(n) is not r.unit}
        await self._close(list(former))
        for name in former.keys() - wanted.keys():
            await former[name].runner.end()
        for name, unit in wanted.items():
            if name not in self._running:
                self._start(unit, former.get(name), threads, emit)

    def _start(self, unit: Unit, former: _Running | None, threads: Threads, emit: Emit) -> None:
        limits = limits_of(unit.name, unit.options, self._config, self._context.name)
        collecting = Collecting(unit, limits, threads, self._context.clock)
        runner = Runner(collecting, self._context, emit, self._owners)
        if former is not None:
            runner.follow(former.runner)
        task = asyncio.create_task(self._supervise(runner), name=f"collector {unit.name}")
        self._running[unit.name] = _Running(unit, runner, task)

    async def _close(self, names: list[str]) -> None:
        ending = [self._running.pop(name) for name in names]
        for each in ending:
            each.runner.close(each.task)
        if ending:
            _, late = await asyncio.wait({each.task for each in ending}, timeout=END_LIMIT_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*(each.task for each in ending), return_exceptions=True)
        for each in ending:
            each.runner.collecting.close()

    async def _supervise(self, runner: Runner) -> None:
        try:
            await runner.run()
        except Exception:  # one collector must not take the others down
            log.exception("%s: collector %s ended with a defect", self._context.name, runner.name)
            self._context.telemetry.count(
                FAILURES, source=self._context.name, collector=runner.name, reason="defect"
            )
