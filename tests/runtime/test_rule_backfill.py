"""Backfills in an agent: one at a time, in requests of a few seconds."""

from __future__ import annotations

import asyncio

import pytest

from metricsmith.errors import ExecutionError
from metricsmith.model.batch import Batch
from metricsmith.model.series import SeriesTable
from metricsmith.model.state import MemoryState
from metricsmith.model.telemetry import Telemetry
from metricsmith.rules.backfill import BackfillRequest
from metricsmith.rules.manager import Equipment
from metricsmith.rules.model import Group
from metricsmith.runtime.rule_backfill import REQUEST_S, RuleBackfill
from metricsmith.runtime.rule_bench import RuleBench
from metricsmith.testing.clock import FakeClock

MINUTE = 60_000
RULES = "groups: [{name: g, rules: [{record: counted, expr: counted + 1 or vector(0)}]}]"


class Agent:
    """Takes what is recorded when it is let; each commit takes half a second of its clock."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.bench = RuleBench(MINUTE)
        self.series = SeriesTable()
        self.may_accept = asyncio.Event()
        self.may_accept.set()
        self.accepting = asyncio.Event()
        self.times: list[int] = []
        around = Equipment(
            self.bench.engine,
            self.bench.store,
            self.series,
            self.clock,
            Telemetry(),
            MemoryState(),
            self.accept,
        )
        self.live: list[Group] = []
        self.backfill = RuleBackfill(around, lambda: self.live, lambda: MINUTE)

    async def accept(self, batch: Batch) -> None:
        self.accepting.set()
        await self.may_accept.wait()
        self.clock.advance(0.5)
        rows = zip(batch.layout.ids.tolist(), batch.times().tolist(), batch.value.tolist(), strict=True)
        for series, time_ms, value in rows:
            self.bench.append(self.series.key(series), time_ms, value)
            self.times.append(time_ms)

    def request(self, start_ms: int, minutes: int, *, continued: bool = False) -> BackfillRequest:
        return BackfillRequest("r.yml", RULES, "g", start_ms, start_ms + minutes * MINUTE, None, continued)


async def test_a_request_is_answered_after_some_seconds_and_says_where_to_go_on() -> None:
    agent = Agent()
    begin, end = 1_700_000_000_000, 1_700_000_000_000 + 20 * MINUTE
    done = await agent.backfill.run(agent.request(begin, 20))
    assert done.rounds == done.samples == REQUEST_S / 0.5
    assert done.next_ms == agent.times[-1] + MINUTE
    rounds = done.rounds
    while done.next_ms is not None:
        left = (end - done.next_ms) // MINUTE
        done = await agent.backfill.run(agent.request(done.next_ms, left, continued=True))
        rounds += done.rounds
    assert rounds == 20
    assert [b - a for a, b in zip(agent.times, agent.times[1:], strict=False)] == [MINUTE] * 19
    assert agent.bench.engine.instant("counted", agent.times[-1]).values.tolist() == [19.0]


async def test_a_second_backfill_at_one_time_is_refused() -> None:
    agent = Agent()
    agent.may_accept.clear()
    first = asyncio.create_task(agent.backfill.run(agent.request(1_700_000_000_000, 3)))
    await agent.accepting.wait()
    with pytest.raises(ExecutionError, match="one after the other"):
        await agent.backfill.run(agent.request(1_700_000_000_000, 3))
    agent.may_accept.set()
    assert (await first).next_ms is None
