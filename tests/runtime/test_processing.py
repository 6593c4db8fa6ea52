"""Processors within the agent: what they give when time has passed goes on through the others and is kept."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from metricsmith.config.load import load_text
from metricsmith.errors import DiskFull, JournalError
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import encode_labels
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.runtime.agent import Agent
from metricsmith.testing.clock import FakeClock

START_MS = 1_700_000_000_000
CONFIG = """
service: {{type: standalone}}
storage: {{path: "{path}"}}
processors:
  - {{type: aggregate, name: zones, match: [size], by: [zone], interval: 10s, delay: 1s, suffix: ""}}
  - {{type: rename, metrics: {{size: zone_size}}}}
"""


@pytest.fixture
async def agent(tmp_path):
    made = Agent(load_text(CONFIG.format(path=tmp_path), "", {}), FakeClock(START_MS))
    await made.start(asyncio.Event())
    yield made
    await made.stop()


def found(agent, name):
    """Return key, times and values of each series; an end is NaN."""
    by_name = [Matcher("__name__", MatchOp.EQ, name)]
    selection = agent.store.select(by_name, START_MS - 60_000, START_MS + 60_000)
    return [
        (selection.keys[row], matrix.times.tolist(), values.tolist())
        for matrix in selection.matrices
        for row, values in zip(matrix.rows.tolist(), matrix.values, strict=True)
    ]


async def test_ticks_of_all_sources_are_kept_when_they_are_over(agent):
    for source in ("one", "two"):
        ids = agent.series.intern_many([encode_labels({"__name__": "size", "host": source, "zone": "a"})])
        emit = agent.pipeline.emit_for(source)
        await emit(Batch(Layout(ids, source), START_MS + 5_000, np.array([2.0])))
    await agent.pipeline.tick(START_MS + 10_999)
    assert found(agent, "zone_size") == []
    await agent.pipeline.tick(START_MS + 11_000)
    zone = encode_labels({"__name__": "zone_size", "zone": "a"})
    assert found(agent, "zone_size") == [(zone, [START_MS + 10_000], [4.0])]
    assert found(agent, "size") == []
    await agent.pipeline.tick(START_MS + 21_000)
    ((_, times, values),) = found(agent, "zone_size")
    assert times == [START_MS + 10_000, START_MS + 20_000]
    assert np.isnan(values[1]), "the group has ended"


def size_batch(agent, value=5.0):
    names = ("size", "other")  # the other one is not aggregated: something is left to be refused
    ids = agent.series.intern_many([encode_labels({"__name__": name, "zone": "a"}) for name in names])
    return Batch(Layout(ids), START_MS + 5_000, np.array([value, 0.0]))


async def zone_size(agent):
    await agent.pipeline.tick(START_MS + 11_000)
    ((_, _, values),) = found(agent, "zone_size")
    return values[-1]


@pytest.mark.parametrize("error", [DiskFull("full"), JournalError("failed")])
async def test_a_batch_that_is_offered_again_is_processed_once(agent, monkeypatch, error):
    emit, batch = agent.pipeline.emit_for("bus"), size_batch(agent)

    async def fail(batch):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(agent.journal, "append", fail)
        for _ in range(3):
            with pytest.raises(JournalError):
                await emit(batch)
            with pytest.raises(JournalError):
                await emit(size_batch(agent, 100.0))  # as a sender over HTTP does: each time another object
    await emit(batch)
    assert await zone_size(agent) == 5.0


async def test_a_full_store_refuses_before_processors_have_seen_a_batch(agent, monkeypatch):
    emit = agent.pipeline.emit_for("push")

    def full():
        raise DiskFull("full")

    with monkeypatch.context() as patch:
        patch.setattr(agent.store, "check_space", full)
        for _ in range(3):
            with pytest.raises(DiskFull):
                await emit(size_batch(agent))
    await emit(size_batch(agent))
    assert await zone_size(agent) == 5.0
    dropped = agent.telemetry.value("metricsmith_samples_dropped_total", component="push", reason="disk_full")
    assert dropped == 6


async def test_a_defect_of_a_processor_costs_the_batch_and_nothing_else(agent):
    class Picky:
        def process(self, batch):
            if batch.value[0] == 1:
                raise RuntimeError("cannot")
            return batch

        def tick(self, now_ms):
            raise RuntimeError("cannot either")

    agent.pipeline.processors = [Picky()]
    emit = agent.pipeline.emit_for("bus")
    for value in (1.0, 2.0):
        await emit(size_batch(agent, value))
    await agent.pipeline.tick(START_MS + 11_000)
    assert [values for *_, values in found(agent, "size")] == [[2.0]]
    value = agent.telemetry.value
    assert value("metricsmith_samples_dropped_total", component="bus", reason="defect") == 2
    assert value("metricsmith_source_failures_total", source="processors", reason="defect") == 1
