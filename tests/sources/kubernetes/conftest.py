"""A local Kubernetes API, and a provider that follows it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from metricsmith.contracts import Context
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.net.target_files import Found
from metricsmith.sources.kubernetes.access import Access
from metricsmith.sources.kubernetes.follow import Timing
from metricsmith.sources.kubernetes.provider import KubernetesProvider
from metricsmith.sources.kubernetes.settings import KubernetesDiscovery
from metricsmith.testing.kubernetes_server import KubernetesServer, running_kubernetes

WAIT_S = 60.0
QUICK = Timing(request_s=60.0, silence_s=60.0, watch_s=60.0, first_wait_s=0.02, longest_wait_s=0.05)


class QuickClock:
    """The machine's time, but waiting for changes to settle takes a hundredth of it."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.waits = asyncio.Event()

    def now_ms(self) -> int:
        return round(self.monotonic() * 1000)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.waits.set()
        await asyncio.sleep(seconds / 100)


class Following:
    """A provider that runs, and what it told last."""

    def __init__(self, context: Context, clock: QuickClock) -> None:
        self.context, self.clock = context, clock
        self.told: list[Found] = []
        self._news = asyncio.Event()

    async def update(self, found: Found) -> None:
        self.told.append(found)
        self._news.set()

    def wanted(self) -> set[str]:
        """The addresses that are to be scraped."""
        return {one.target for one in self.told[-1] if one.wanted} if self.told else set()

    async def until(self, ready: Callable[[], bool]) -> None:
        """Return when something is so that depends on what is told."""
        async with asyncio.timeout(WAIT_S):
            while not ready():
                self._news.clear()
                await self._news.wait()

    async def until_wanted(self, *addresses: str) -> None:
        """Return when exactly these are to be scraped."""
        try:
            await self.until(lambda: bool(self.told) and self.wanted() == set(addresses))
        except TimeoutError:
            raise AssertionError(f"got {self.wanted()}, wanted {set(addresses)}") from None

    async def until_failed(self, reason: str, times: float = 1) -> None:
        """Return when a reason has been counted."""
        async with asyncio.timeout(WAIT_S):
            while self.failures(reason) < times:
                self.clock.waits.clear()
                await self.clock.waits.wait()  # a wait follows each failure

    async def until_watching(self) -> None:
        """Return when a watch is open: over TLS, only such a connection can be ended at once."""
        async with asyncio.timeout(WAIT_S):
            while self.age_s() > 0:  # noqa: ASYNC110 - nobody tells of a gauge
                await asyncio.sleep(0.002)

    def failures(self, reason: str) -> float:
        name = "metricsmith_kubernetes_failures_total"
        return self.context.telemetry.value(name, source="pods", reason=reason)

    def problems(self, kind: str = "kubernetes_sd") -> float:
        name = "metricsmith_discovery_failures_total"
        return self.context.telemetry.value(name, source="pods", kind=kind)

    def age_s(self) -> float:
        read = self.context.telemetry.registry.get_sample_value
        age_s = read("metricsmith_kubernetes_age_seconds", {"source": "pods"})
        assert age_s is not None
        return age_s


@pytest.fixture
def api() -> Iterator[KubernetesServer]:
    with running_kubernetes() as server:
        yield server


@asynccontextmanager
async def following(
    access: Access | None = None, timing: Timing = QUICK, **settings: Any
) -> AsyncIterator[Following]:
    """Run a provider with the given settings within a block."""
    clock = QuickClock()
    context = Context("pods", SeriesTable(), Telemetry(), clock)
    config = KubernetesDiscovery.model_validate(settings)
    found = Following(context, clock)
    task = asyncio.create_task(KubernetesProvider(config, context, access, timing).run(found.update))
    try:
        yield found
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(scope="session")
def follow() -> Callable[..., Any]:
    return following


@pytest.fixture
def quick() -> Callable[..., Timing]:
    """Return times that suit a test, some of them replaced."""
    return partial(replace, QUICK)
