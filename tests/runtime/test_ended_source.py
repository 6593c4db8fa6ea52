"""A source that ended with a defect is shown as failing, and not passed over in silence."""

from __future__ import annotations

import asyncio
from typing import Any

from metricsmith.config.parts import Part
from metricsmith.contracts import Context, PartConfig
from metricsmith.model.clock import SystemClock
from metricsmith.model.series import SeriesTable
from metricsmith.model.targets import Health
from metricsmith.model.telemetry import Telemetry
from metricsmith.runtime import sources
from metricsmith.runtime.sources import SourceRunner


class Failing:
    def __init__(self, config: Any, context: Context) -> None:
        pass

    async def run(self, emit: Any, stop: asyncio.Event) -> None:
        raise RuntimeError("no such thing")


class NoPipeline:
    def emit_for(self, name: str) -> None:
        return None


async def test_a_source_that_ended_is_shown_with_its_reason(monkeypatch) -> None:
    monkeypatch.setattr(sources.registry, "load", lambda group, kind: Failing)
    telemetry = Telemetry()

    def context(name: str) -> Context:
        return Context(name, SeriesTable(), telemetry, SystemClock())

    runner = SourceRunner(NoPipeline(), context)  # type: ignore[arg-type]
    runner.update([Part("sources", "failing", "plant", PartConfig())])
    await asyncio.gather(*(running.task for running in runner._running.values()))
    (pool,) = runner.targets()
    (target,) = pool.active
    assert (pool.name, target.health) == ("plant", Health.DOWN)
    assert "RuntimeError: no such thing" in target.last.error
    await runner.stop()
