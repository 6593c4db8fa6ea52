"""The scrape source: many targets at once, each on its own, as discovery names them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from metricsmith.contracts import Context, Emit
from metricsmith.model.findings import Findings
from metricsmith.model.targets import PoolStatus
from metricsmith.net.target_files import Found, Listed
from metricsmith.sources.client import HttpClient
from metricsmith.sources.discovery import Provider, providers
from metricsmith.sources.endpoint import Endpoint, discovered, endpoint, shown_labels
from metricsmith.sources.settings import ScrapeConfig
from metricsmith.sources.target import Equipment, Target

log = logging.getLogger(__name__)

STOP_LIMIT_S = 1.5
STARTED_AT_ONCE = 50
DROPPED_SHOWN = 1000
"""So many of the targets that relabel rules drop are kept, to be shown."""


@dataclass(frozen=True, slots=True)
class _Running:
    target: Target
    task: asyncio.Task[None]


@dataclass(slots=True)
class _Choice:
    """What became of the targets that are listed: how each endpoint was named, and what rules dropped."""

    listed: dict[Endpoint, Listed] = field(default_factory=dict)
    dropped: list[Listed] = field(default_factory=list)
    dropped_count: int = 0

    def drop(self, one: Listed) -> None:
        self.dropped_count += 1
        if len(self.dropped) < DROPPED_SHOWN:
            self.dropped.append(one)


class ScrapeSource:
    """Scrapes Prometheus and OpenMetrics endpoints."""

    Config: ClassVar[type[ScrapeConfig]] = ScrapeConfig

    def __init__(self, config: ScrapeConfig, context: Context) -> None:
        self._config = config
        self._context = context
        self._providers = providers(config, context)
        self._found: dict[int, Found] = {}
        self._choice = _Choice()
        self._running: dict[Endpoint, _Running] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._updating = asyncio.Lock()

    @classmethod
    async def examine(cls, config: ScrapeConfig, context: Context, findings: Findings) -> None:
        """Discover targets, and fetch each once."""
        from metricsmith.sources.scrape_examination import examine

        await examine(config, context, findings)

    async def run(self, emit: Emit, stop: asyncio.Event) -> None:
        """Scrape until `stop` is set. Stopping marks no series as ended, as Prometheus."""
        self._context.telemetry.watch(
            "metricsmith_scrape_targets", lambda: len(self._running), source=self._context.name
        )
        async with HttpClient(self._config) as client:
            equipment = Equipment(self._config, self._context, client, emit)
            tasks = [
                asyncio.create_task(self._discover(number, provider, equipment))
                for number, provider in enumerate(self._providers)
            ]
            try:
                await _until(stop, tasks)
            finally:
                await self._stop(tasks)
                self._context.telemetry.forget("metricsmith_scrape_targets", source=self._context.name)

    def targets(self) -> PoolStatus:
        """Return what is known of each target, by URL."""
        choice, running = self._choice, list(self._running.items())  # both may be replaced meanwhile
        active = [each.target.status(self._shown(choice.listed.get(one))) for one, each in running]
        dropped = tuple(self._shown(one) for one in choice.dropped)
        active.sort(key=lambda status: status.url)
        age_s = max(provider.age_s() for provider in self._providers)
        return PoolStatus(self._context.name, tuple(active), dropped, choice.dropped_count, age_s)

    def _shown(self, one: Listed | None) -> Mapping[str, str]:
        if one is None:  # it has left the list and is about to end
            return {}
        return shown_labels(discovered(one.target, one.labels), self._context.name, self._config)

    async def _discover(self, number: int, provider: Provider, equipment: Equipment) -> None:
        async def update(found: Found) -> None:
            async with self._updating:
                self._found[number] = found
                # In a thread: rules over many thousands of targets take seconds.
                self._choice = await asyncio.to_thread(self._choose)
                await self._apply(list(self._choice.listed), equipment)

        await provider.run(update)

    def _choose(self) -> _Choice:
        """The distinct endpoints of all providers that can be scraped, those that run already first."""
        choice = _Choice()
        for one in (one for number in sorted(self._found) for one in self._found[number]):
            if not one.wanted:
                choice.drop(one)
                continue
            labels = discovered(one.target, one.labels)
            try:
                named = endpoint(labels, self._context.name, self._config)
            except ValueError as error:
                self._refused("target", f"a target is not scraped: {error}", one.target)
                continue
            if named is None:
                choice.drop(one)
            else:
                choice.listed.setdefault(named, one)
        wanted, limit = choice.listed, self._config.target_limit
        if len(wanted) > limit:
            self._refused("target_limit", f"got {len(wanted)} targets, {limit} of them are scraped")
        self._warn_of_equal_labels(wanted)
        kept = sorted(wanted, key=lambda e: e not in self._running)[:limit]
        choice.listed = {one: wanted[one] for one in kept}
        return choice

    def _warn_of_equal_labels(self, wanted: Iterable[Endpoint]) -> None:
        first: dict[bytes, Endpoint] = {}
        for one in wanted:
            other = first.setdefault(one.labels, one)
            if other is not one:
                same = f"{other.shown} and {one.shown} have the same labels: their series are mixed up"
                self._refused("same_labels", f"{same}, wanted a label that tells them apart")

    async def _apply(self, wanted: Sequence[Endpoint], equipment: Equipment) -> None:
        """Start what is new and end what is gone; what stays is not touched."""
        kept_labels = {e.labels for e in wanted}
        for gone in self._running.keys() - set(wanted):
            running = self._running.pop(gone)
            running.target.close(running.task)
            ending = asyncio.create_task(_end(running, mark=gone.labels not in kept_labels))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
        streams = {running.target.stream for running in self._running.values()}
        for number, new in enumerate(e for e in wanted if e not in self._running):
            target = Target(new, self._stream(new, streams), equipment)
            streams.add(target.stream)
            self._running[new] = _Running(target, asyncio.create_task(target.run()))
            if number % STARTED_AT_ONCE == STARTED_AT_ONCE - 1:
                await asyncio.sleep(0)

    def _stream(self, new: Endpoint, taken: set[str]) -> str:
        stream = f"scrape/{self._context.name}/{new.shown}"
        return f"{stream}#{new.fingerprint():016x}" if stream in taken else stream

    async def _stop(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        for running in self._running.values():
            running.target.close(running.task)
        everything = {*tasks, *self._ending, *(running.task for running in self._running.values())}
        self._running.clear()
        self._choice = _Choice()
        _, late = await asyncio.wait(everything, timeout=STOP_LIMIT_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*everything, return_exceptions=True)

    def _refused(self, kind: str, message: str, subject: str = "") -> None:
        self._context.telemetry.problem(
            log,
            "metricsmith_discovery_failures_total",
            f"{self._context.name}: {message}",
            subject=subject,
            source=self._context.name,
            kind=kind,
        )


async def _end(running: _Running, mark: bool) -> None:
    """Wait until a closed target is at rest, then mark its series as ended unless another target has them."""
    await asyncio.wait({running.task})
    if mark:
        await running.target.end()


async def _until(stop: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
    """Return when `stop` is set; a provider that raises is a defect and is raised here."""
    stopped = asyncio.create_task(stop.wait())
    pending: set[asyncio.Task[object]] = {stopped, *tasks}
    try:
        while stopped in pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
    finally:
        stopped.cancel()
