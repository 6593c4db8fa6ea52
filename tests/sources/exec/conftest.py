"""Integrations that run: real processes, the clock in the test's hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from metricsmith.contracts import Context
from metricsmith.sources.exec.source import ExecSource
from metricsmith.testing.clock import FakeClock

WAIT_S = 60.0


def sample(**fields: Any) -> dict[str, Any]:
    """Return a document of version 3 with one sample of the host."""
    return {
        "name": "com.acme.test",
        "protocol_version": "3",
        "integration_version": "1",
        "data": [{"metrics": [{"event_type": "TestSample", **fields}]}],
    }


class Executing:
    """A running exec source."""

    def __init__(self, source: ExecSource, context: Context, clock: FakeClock, recorder: Any) -> None:
        self.source, self.context, self.clock, self.recorder = source, context, clock, recorder

    async def advance(self, seconds: float, sleepers: int = 2) -> None:
        """Move time when the source and its integrations rest."""
        await asyncio.wait_for(self.clock.sleeping(sleepers), WAIT_S)
        self.clock.advance(seconds)

    async def reading(self) -> Mapping[str, Any]:
        """Return what is emitted up to and with the next report on an integration."""
        found: dict[str, Any] = {}
        while not any(name.startswith("integration_up") for name in found):
            found |= self.recorder.read(await self.recorder.batch())
        return found

    async def first(self, sleepers: int = 2) -> Mapping[str, Any]:
        """Let the first run happen and return what it emitted."""
        await self.advance(10, sleepers)
        return await self.reading()

    def failures(self, reason: str, integration: str = "test") -> float:
        return self._value("metricsmith_exec_failures_total", reason, integration)

    def problems(self, reason: str, integration: str = "test") -> float:
        return self._value("metricsmith_exec_problems_total", reason, integration)

    def _value(self, name: str, reason: str, integration: str) -> float:
        labels = {"source": self.context.name, "integration": integration, "reason": reason}
        return self.context.telemetry.value(name, **labels)


Execute = Callable[..., AbstractAsyncContextManager[Executing]]


@pytest.fixture
def execute(context: Context, clock: FakeClock, recorder: Any) -> Execute:
    """Run an exec source within a block: one integration called `test` with a command, or whole settings."""

    @asynccontextmanager
    async def run(
        command: Any = None, config: Mapping[str, Any] | None = None, **entry: Any
    ) -> AsyncIterator[Executing]:
        settings = dict(config or {})
        if command is not None:
            settings["integrations"] = [{"name": "test", "exec": command, **entry}]
        stop = asyncio.Event()
        source = ExecSource(ExecSource.Config.model_validate(settings), context)
        task = asyncio.create_task(source.run(recorder.emit, stop))
        try:
            yield Executing(source, context, clock, recorder)
        finally:
            stop.set()
            await asyncio.wait_for(task, WAIT_S)

    return run


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., str]:
    """Write an executable and return its path."""

    def write(text: str, name: str = "integration") -> str:
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o755)
        return str(path)

    return write


@pytest.fixture
def printing(script: Callable[..., str]) -> Callable[..., str]:
    """Write an executable that prints a test sample with the given fields, and return its path."""
    return lambda **fields: script(f"#!/bin/sh\ncat <<'END'\n{json.dumps(sample(**fields))}\nEND\n")
