"""A limit on series: new ones are refused and counted, known ones go on, and places are given back."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.config.load import load_text
from metricsmith.config.settings import LimitSettings
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import encode_labels
from metricsmith.model.left_out import LeftOut
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.runtime.agent import Agent
from metricsmith.runtime.series_limits import SeriesLimits
from metricsmith.testing.clock import FakeClock
from metricsmith.testing.programs import AgentProgram, eventually
from metricsmith.testing.targets import Target
from metricsmith.wire.remote_write_encode import encode_series_labels, encode_write_request

DROPPED = "metricsmith_samples_dropped_total"
EXPIRY_MS = 60_000
HEADERS = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}


class Lab:
    """Limits with a clock of their own; series are the numbers of `x`."""

    def __init__(self, **settings: object) -> None:
        self.clock, self.table, self.telemetry = FakeClock(), SeriesTable(), Telemetry()
        config = LimitSettings.model_validate({"expiry": f"{EXPIRY_MS}ms"} | settings)
        self.limits = SeriesLimits(config, self.table, self.clock, self.telemetry)
        self.made: dict[tuple[str, tuple[int, ...]], Layout] = {}

    def layout(self, source: str, numbers: tuple[int, ...]) -> Layout:
        keys = [encode_labels({"__name__": "x", "n": str(n)}) for n in numbers]
        return self.made.setdefault((source, numbers), Layout(self.table.intern_many(keys), source))

    def admit(self, source: str, *numbers: int, stale: bool = False) -> list[int]:
        """Return which of the series are let through."""
        values = np.array(numbers, float)
        marks = np.full(len(numbers), stale) if stale else None
        batch = self.limits.admit(source, Batch(self.layout(source, numbers), 1000, values, marks))
        batch.check()
        assert [self.table.labels(i)["n"] for i in batch.layout.ids.tolist()] == [
            f"{v:g}" for v in batch.value.tolist()
        ]
        return [int(v) for v in batch.value]

    def refused(self, source: str, reason: str) -> float:
        return self.telemetry.value(DROPPED, component=source, reason=reason)


def test_a_source_at_its_limit_keeps_what_it_has_and_others_go_on():
    lab = Lab(series_per_source=2, sources={"c": 1})
    assert lab.admit("a", 1, 2, 3) == [1, 2]
    assert lab.admit("a", 3, 1) == [1]
    assert lab.admit("b", 4, 5) == [4, 5]
    assert lab.admit("c", 6, 7) == [6]
    assert lab.refused("a", "source_series_limit") == 2
    assert lab.refused("c", "source_series_limit") == 1
    assert lab.limits.series == 5


def test_all_sources_share_the_limit_on_all():
    lab = Lab(series=3)
    assert lab.admit("a", 1, 2) == [1, 2]
    assert lab.admit("b", 3, 4) == [3]
    assert lab.admit("a", 2, 5, 1) == [2, 1]
    assert lab.refused("b", "series_limit") == lab.refused("a", "series_limit") == 1


def test_a_series_of_two_sources_has_one_place_and_a_batch_may_hold_it_twice():
    lab = Lab(series=2)
    assert lab.admit("a", 1, 1, 2, 3, 3) == [1, 1, 2]
    assert lab.admit("b", 2, 1) == [2, 1]
    assert lab.limits.series == 2
    assert lab.refused("a", "series_limit") == 2


def test_places_are_free_when_their_series_have_gone():
    lab = Lab(series_per_source=2)
    assert lab.admit("a", 1, 2) == [1, 2]
    for _ in range(3):
        lab.clock.advance(EXPIRY_MS / 1000)
        assert lab.admit("a", 2) == [2]
    assert lab.admit("a", 3, 2, 4) == [3, 2]
    assert lab.admit("a", 1) == []


def test_a_series_that_comes_seldom_keeps_its_place():
    lab = Lab(series=1)
    for _ in range(5):
        assert lab.admit("a", 1) == [1]
        assert lab.admit("a", 2) == []
        lab.clock.advance(EXPIRY_MS / 1000 * 0.99)


def test_the_end_of_a_series_takes_no_place_and_is_not_counted():
    lab = Lab(series=2)
    assert lab.admit("a", 1) == [1]
    assert lab.admit("a", 1, 2, stale=True) == [1]
    assert lab.limits.series == 1
    assert lab.refused("a", "series_limit") == 0


def test_series_of_before_the_start_go_on_and_belong_to_whom_they_come_from():
    lab = Lab(series=3, series_per_source=2)
    lab.limits.remember(lab.layout("before", (1, 2, 3)).ids)
    assert lab.admit("a", 4) == []
    assert lab.admit("a", 1, 2, 3) == [1, 2, 3]
    assert lab.limits.series == 3
    assert lab.admit("b", 5) == []


def test_how_targets_are_is_told_first():
    lab = Lab(series=2)
    keys = [
        b"x\xffn\xfe1",
        b"x\xffn\xfe2",
        b"up\xffinstance\xfea",
        b"scrape_duration_seconds\xffinstance\xfea",
    ]
    layout = Layout(lab.table.intern_many(keys), "a")
    left = lab.limits.admit("a", Batch(layout, 1, np.arange(4.0)))
    assert left.value.tolist() == [2.0, 3.0]


def test_new_settings_hold_at_once_and_take_nothing_away():
    lab = Lab(series=1)
    assert lab.admit("a", 1, 2) == [1]
    lab.limits.update(LimitSettings(series=2))
    assert lab.admit("a", 1, 2) == [1, 2]
    lab.limits.update(LimitSettings(series=1))
    assert lab.admit("a", 1, 2) == [1, 2]


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.lists(st.integers(0, 30), min_size=1, max_size=9)), max_size=30
    ),
    st.integers(1, 12),
    st.integers(1, 8),
)
def test_as_a_set_of_places_would_do(steps, total, own):
    lab = Lab(series=total, series_per_source=own)
    places: dict[int, str] = {}
    for source, numbers in steps:
        for n in numbers:
            if n not in places and len(places) < total and list(places.values()).count(source) < own:
                places[n] = source
        assert lab.admit(source, *numbers) == [n for n in numbers if n in places]
    assert lab.limits.series == len(places)


CONFIG = """
limits: {{{{series: {series}, sources: {{{{api: 3, mine: 4, shop: 9}}}}}}}}
sources:
  - {{{{type: python, name: mine, directory: FOLDER, interval: 100ms, refresh: 100ms}}}}
"""
COLLECTOR = """
from metricsmith.collector import collector, gauge
calls = 0
@collector()
def many():
    global calls
    calls += 1
    for n in range(3 if calls < 3 else 30):
        yield gauge("made", calls, {"n": str(n)})
"""


@pytest.fixture
def agent(
    agent_program: Callable[..., AgentProgram], target: Target, tmp_path: Path
) -> Iterator[AgentProgram]:
    (tmp_path / "many.py").write_text(COLLECTOR)
    target.text = "".join(f"shop_{n} 1\n" for n in range(4))
    config = CONFIG.format(series=1000).replace("FOLDER", str(tmp_path))
    made = agent_program(config + "  " + target.source())
    made.start()
    yield made


def remote_write(agent: AgentProgram, numbers: range) -> str:
    """Return how many samples were taken, as the answer says."""
    keys = [encode_labels({"__name__": "written", "n": str(n)}) for n in numbers]
    labels, times = [encode_series_labels(k) for k in keys], np.full(len(keys), time.time_ns() // 1_000_000)
    body = encode_write_request(labels, [1] * len(keys), times, np.ones(len(keys)))
    request = urllib.request.Request(f"{agent.url}/api/v1/write", body, HEADERS)
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 204
        return answer.headers["X-Prometheus-Remote-Write-Samples-Written"]


def test_it_holds_on_all_ways_in(agent: AgentProgram, target: Target) -> None:
    assert remote_write(agent, range(2)) == "2"
    assert agent.push({"pushed": 1.0}).status == 201
    assert remote_write(agent, range(1, 6)) == "1"
    agent.push({"pushed": 2.0, "other": 3.0})
    assert len(agent.query("written")) == 2
    assert agent.value("pushed") == 2, "a known series goes on"
    assert agent.query("other") == []
    assert agent.own(DROPPED, component="api", reason="source_series_limit") == 5

    eventually(lambda: len(agent.query('{__name__=~"shop_.*"}')) == 4)
    target.text = "".join(f"shop_{n} 2\n" for n in range(40))
    eventually(lambda: agent.own(DROPPED, component="shop", reason="source_series_limit") > 0)
    eventually(lambda: agent.query("shop_3 == 2") and len(agent.query('{job="shop"}')) == 9)
    eventually(lambda: agent.query('up{job="shop"} == 1'))

    eventually(lambda: agent.own(DROPPED, component="mine", reason="source_series_limit") > 0)
    eventually(lambda: agent.query('made{n="0"} > 5'))
    eventually(lambda: len(agent.query('{job="mine"}')) == 4)
    assert "known series go on" in agent.log.text()


async def test_who_sends_is_told_what_is_left_out(tmp_path):
    limits = "limits: {sources: {api: 3}}\nprocessors: [{type: filter, drop: [unwanted]}]"
    clock = FakeClock()
    agent = Agent(load_text(f'storage: {{path: "{tmp_path}", retention: 1d}}\n{limits}', "", {}), clock)
    await agent.start(asyncio.Event())

    async def take(*names: str, ago_ms: tuple[int, ...] = (), ended: bool = False) -> LeftOut:
        ids = agent.series.intern_many([encode_labels({"__name__": name}) for name in names])
        times = clock.now_ms() - np.array(ago_ms or [0] * len(names), np.int64)
        marks = np.full(len(names), ended) if ended else None
        return await agent.pipeline.take("api", Batch(Layout(ids), times, np.ones(len(names)), marks))

    assert await take("nobody", "knows", ended=True) == LeftOut(0, 0), "no limit is reached"
    assert await take("a", "b") == LeftOut(0, 0)
    assert await take("a", "b", ago_ms=(1, 2 * 86_400_000)) == LeftOut(1, 0)
    assert await take("c", "unwanted", "d", "e", "a") == LeftOut(0, 2)
    assert await take("unwanted") == LeftOut(0, 0)
    await agent.stop()


async def test_after_a_restart_those_that_were_there_go_on(tmp_path):
    text = f'storage: {{path: "{tmp_path}"}}\nlimits: {{series: 100}}'
    clock = FakeClock()

    async def run(keys: list[bytes]) -> list[float]:
        agent = Agent(load_text(text, "", {}), clock)
        await agent.start(asyncio.Event())
        layout = Layout(agent.series.intern_many(keys))
        await agent.pipeline.accept("api", Batch(layout, clock.now_ms(), np.arange(float(len(keys)))))
        found = agent.store.select((), clock.now_ms(), clock.now_ms())
        await agent.stop()
        return sorted(found.keys)

    first = [encode_labels({"__name__": "x", "n": f"{n:03}"}) for n in range(100)]
    late = [encode_labels({"__name__": "y", "n": f"{n:03}"}) for n in range(50)]
    assert await run(first) == first
    clock.advance(1)
    assert await run([*late, *first]) == first
