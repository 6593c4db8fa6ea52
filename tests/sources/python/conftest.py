"""Collectors in files that a test writes, and a running source whose clock is in the test's hand."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from metricsmith.contracts import Context
from metricsmith.model.labels import format_labels
from metricsmith.model.targets import TargetStatus
from metricsmith.sources.python.catalogue import Catalogue
from metricsmith.sources.python.source import PythonSource
from metricsmith.testing.clock import FakeClock

WAIT_S = 60.0
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file into `collectors.d`; each version is seen to be another."""
    folder = tmp_path / "collectors.d"
    folder.mkdir()

    def put(text: str, name: str = "mine.py") -> Path:
        path = folder / name
        fresh = folder / f".{name}.new"
        fresh.write_text(textwrap.dedent(text))
        fresh.replace(path)
        return path

    return put


class Collecting:
    """A running source."""

    def __init__(self, source: PythonSource, context: Context, clock: FakeClock, recorder: Any) -> None:
        self.source, self.context, self.clock, self.recorder = source, context, clock, recorder
        self.began_ms = -1
        """When the source last began to look at its files."""

    async def rest(self, sleepers: int) -> None:
        """Wait until the source has looked at its files, and so many things wait for time to pass."""

        def wanted() -> int:
            return sleepers if self.source._looked_ms >= self.began_ms > 0 else 1 << 30

        await asyncio.wait_for(self.clock.sleeping(wanted), WAIT_S)

    async def advance(self, seconds: float, sleepers: int) -> None:
        """Move time when so many things wait for it: the source, its collectors, their time-outs."""
        await self.rest(sleepers)
        self.clock.advance(seconds)

    async def reading(self, sleepers: int = 2) -> dict[str, Any]:
        """Let a second pass, and return what the next collection emits, without its duration."""
        await self.advance(1, sleepers)
        return await self.emitted()

    async def readings(self, count: int, sleepers: int) -> dict[str, Any]:
        """Let a second pass, and return what so many collectors emit."""
        await self.advance(1, sleepers)
        found: dict[str, Any] = {}
        for _ in range(count):
            found |= await self.emitted()
        return found

    async def emitted(self) -> dict[str, Any]:
        got = self.recorder.read(await self.recorder.batch())
        return {name: value for name, value in got.items() if "collector_duration_seconds" not in name}

    def status(self, url: str) -> TargetStatus:
        (found,) = (each for each in self.source.targets().active if each.url == url)
        return found

    def failures(self, reason: str, collector: str = "") -> float:
        return self._counted("metricsmith_collector_failures_total", reason, collector)

    def problems(self, reason: str, collector: str) -> float:
        return self._counted("metricsmith_collector_problems_total", reason, collector)

    def own(self, name: str, **labels: str) -> float | None:
        """Return an own metric of the source."""
        found = {"source": self.context.name, **labels}
        return self.context.telemetry.registry.get_sample_value(name, found)

    async def returned(self, collector: str) -> None:
        """Wait until a collector that hung has returned."""
        unreturned = self.source._running[collector].runner.collecting._unreturned
        if unreturned is not None:
            await asyncio.wait({unreturned}, timeout=WAIT_S)
            await asyncio.sleep(0)

    def _counted(self, name: str, reason: str, collector: str) -> float:
        labels = {"source": self.context.name, "collector": collector, "reason": reason}
        return self.context.telemetry.value(name, **labels)


Collect = Callable[..., AbstractAsyncContextManager[Collecting]]


@pytest.fixture
def collect(
    context: Context, clock: FakeClock, recorder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Collect:
    """Run a source over `collectors.d` within a block; all is due at whole seconds."""
    monkeypatch.setattr("metricsmith.sources.python.runner.phase", lambda fingerprint, interval_ms: 0)

    @asynccontextmanager
    async def run(**settings: Any) -> AsyncIterator[Collecting]:
        given = {"directory": str(tmp_path / "collectors.d"), "interval": "1s", "refresh": "10s", **settings}
        source = PythonSource(PythonSource.Config.model_validate({"instance": "here", **given}), context)
        collecting = Collecting(source, context, clock, recorder)
        look = Catalogue.look

        async def looks(catalogue: Catalogue) -> bool:
            collecting.began_ms = clock.now_ms()
            return await look(catalogue)

        monkeypatch.setattr(Catalogue, "look", looks)
        stop = asyncio.Event()
        task = asyncio.create_task(source.run(recorder.emit, stop))
        try:
            yield collecting
        finally:
            stop.set()
            await asyncio.wait_for(task, WAIT_S)

    return run


@pytest.fixture
def labelled() -> Callable[..., str]:
    """Write a series as the recorder does, with the labels that a source adds."""

    def text(name: str, **labels: str) -> str:
        pairs = sorted({"instance": "here", "job": "shop", **labels}.items())
        return format_labels({"__name__": name, **dict(pairs)})

    return text
