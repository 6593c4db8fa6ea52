"""Processors within the agent: what they give when time has passed goes on through the others and is kept."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from metricsmith.config.load import load_text
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
