"""A clock that is wrong after a restart loses nothing that was acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from metricsmith.config import load_text
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.runtime.agent import Agent
from metricsmith.testing.clock import FakeClock

EndTasks = Callable[[], Awaitable[None]]

NOW = 1_700_000_000_000
DAY_MS = 86_400_000
SAMPLES = 20
DROPPED, ACCEPTED = "metricsmith_samples_dropped_total", "metricsmith_samples_accepted_total"


def agent(folder: Path, now_ms: int) -> Agent:
    text = f"storage: {{path: {folder}}}\nservice: {{name: x}}\nsources: [{{type: self, interval: 1h}}]"
    return Agent(load_text(text, "", {}), FakeClock(now_ms))


async def write_and_crash(folder: Path, end_tasks: EndTasks) -> None:
    """Have samples acknowledged, then end without a flush."""
    one = agent(folder, NOW)
    await one.start(asyncio.Event())
    emit, ids = one.pipeline.emit_for("test"), one.series.intern_many([b"foo"])
    for i in range(SAMPLES):
        await emit(Batch(Layout(ids.copy()), NOW - i * 1000, np.array([1.0])))
    before = one.journal.next_sequence
    for refused in (NOW - 31 * DAY_MS, NOW + DAY_MS):
        await emit(Batch(Layout(ids.copy()), refused, np.array([1.0])))
    assert one.journal.next_sequence == before, "what is refused is not in the journal"
    assert one.telemetry.value(ACCEPTED, source="test") == SAMPLES
    assert dropped(one) == (1, 1)
    await one.sources.stop()
    await end_tasks()
    await one.journal.close()
    one.store.close(flush=False)
    one.state.close()


def dropped(one: Agent) -> tuple[float, float]:
    old, future = (
        one.telemetry.value(DROPPED, component="store", reason=reason)
        for reason in ("too_old", "too_far_in_future")
    )
    return old, future


@pytest.mark.parametrize("days", [-365, -1, 1, 365])
async def test_accepted_samples_are_readable_after_a_restart_with_a_wrong_clock(
    tmp_path: Path, end_tasks: EndTasks, days: int
) -> None:
    await write_and_crash(tmp_path, end_tasks)
    again = agent(tmp_path, NOW + days * DAY_MS)
    await again.start(asyncio.Event())
    found = again.store.select([Matcher("__name__", MatchOp.EQ, "foo")], 0, 1 << 62)
    assert found.sample_count() == SAMPLES
    assert dropped(again) == (0, 0)
    await again.stop()
