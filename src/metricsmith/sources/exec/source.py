"""The `exec` source: integrations of New Relic's infrastructure agent, without that agent."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from metricsmith.contracts import Context, Emit
from metricsmith.errors import Problem
from metricsmith.model.clock import stopped_within
from metricsmith.model.findings import Findings
from metricsmith.model.targets import LastScrape, PoolStatus, TargetStatus
from metricsmith.sources.exec import files
from metricsmith.sources.exec.runner import Runner
from metricsmith.sources.exec.settings import ExecConfig, Integration

log = logging.getLogger(__name__)

END_LIMIT_S = 2.5


@dataclass(slots=True)
class _Running:
    runner: Runner
    stop: asyncio.Event
    task: asyncio.Task[None]


class ExecSource:
    """Runs integrations, each by itself; files that change are read again, the others go on undisturbed."""

    Config: ClassVar[type[ExecConfig]] = ExecConfig

    @classmethod
    async def examine(cls, config: ExecConfig, context: Context, findings: Findings) -> None:
        """Look for the programs, and run none."""
        from metricsmith.sources.exec.examination import examine

        await examine(config, context.name, findings)

    def __init__(self, config: ExecConfig, context: Context) -> None:
        self._config, self._context = config, context
        self._running: dict[str, _Running] = {}
        self._mistakes: tuple[TargetStatus, ...] = ()

    def targets(self) -> PoolStatus:
        """Return how each integration is, and each file with mistakes."""
        running = tuple(r.runner.status() for r in list(self._running.values()))
        return PoolStatus(self._context.name, (*running, *self._mistakes))

    async def run(self, emit: Emit, stop: asyncio.Event) -> None:
        """Run all integrations until `stop` is set."""
        seen = None
        try:
            while not stop.is_set():
                marks = await asyncio.to_thread(files.marks, self._config)
                if marks != seen:
                    seen = marks
                    await self._update(await asyncio.to_thread(files.read_all, self._config), emit)
                if await stopped_within(stop, self._context.clock, self._config.refresh / 1000):
                    return
        finally:
            await self._stop(list(self._running))

    async def _update(self, found: files.Found, emit: Emit) -> None:
        """Start what is new, end what has gone, leave alone what is as it was."""
        self._tell(found.problems)
        wanted = named([entry.integration for entry in found.entries])
        gone = [n for n, r in self._running.items() if wanted.get(n) != r.runner.integration]
        for running in await self._stop(gone):
            await running.runner.end()
        for name, integration in wanted.items():
            if name not in self._running:
                self._start(Runner(name, integration, self._config, self._context, emit))

    def _tell(self, problems: Sequence[Problem]) -> None:
        """Count and log mistakes in files, and show each such file among the targets."""
        for problem in problems:
            self._context.telemetry.problem(
                log,
                "metricsmith_exec_failures_total",
                f"{self._context.name}: {problem}",
                subject=str(problem),
                source=self._context.name,
                integration="",
                reason="configuration",
            )
        by_file: dict[str, list[Problem]] = {}
        for problem in problems:
            by_file.setdefault(problem.file, []).append(problem)
        self._mistakes = tuple(self._wrong(*each) for each in by_file.items())

    def _wrong(self, file: str, problems: Sequence[Problem]) -> TargetStatus:
        more = f"; and {len(problems) - 1} more mistakes" if len(problems) > 1 else ""
        last = LastScrape(self._context.clock.now_ms(), 0.0, f"{problems[0]}{more}")
        return TargetStatus(self._context.name, file, {}, self._config.refresh, 0, last)

    def _start(self, runner: Runner) -> None:
        stop = asyncio.Event()
        task = asyncio.create_task(self._supervise(runner, stop), name=f"integration {runner.name}")
        self._running[runner.name] = _Running(runner, stop, task)

    async def _stop(self, names: list[str]) -> list[_Running]:
        ending = [self._running.pop(name) for name in names]
        for running in ending:
            running.stop.set()
        if ending:
            _, late = await asyncio.wait({r.task for r in ending}, timeout=END_LIMIT_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        return ending

    async def _supervise(self, runner: Runner, stop: asyncio.Event) -> None:
        try:
            await runner.run(stop)
        except Exception:  # one integration must not take the others down
            log.exception("%s: integration %s ended with a defect", self._context.name, runner.name)
            self._context.telemetry.count(
                "metricsmith_exec_failures_total",
                source=self._context.name,
                integration=runner.name,
                reason="defect",
            )


def named(integrations: list[Integration]) -> dict[str, Integration]:
    """Return integrations by names that differ: the second of a name gets `-2`, the third `-3`.

    >>> list(named([Integration(name="redis"), Integration(name="redis"), Integration(name="disk")]))
    ['redis', 'redis-2', 'disk']
    """
    taken, found = Counter[str](), dict[str, Integration]()
    known = {i.name for i in integrations}
    for integration in integrations:
        name = integration.name
        taken[name] += 1
        if taken[name] > 1:
            while f"{name}-{taken[name]}" in known:
                taken[name] += 1
            name = f"{name}-{taken[name]}"
        found[name] = integration
    return found
