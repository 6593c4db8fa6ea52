"""A sink that leaves the configuration is shown and held for a day; coming back, it goes on where it was."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metricsmith.config import load_file
from metricsmith.contracts import Context
from metricsmith.journal import Journal, JournalConfig
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.runtime.sinks import SinkRunner
from metricsmith.testing.clock import FakeClock
from metricsmith.testing.services import free_port

DAY_S = 86_400


class Agent:
    """What of an agent runs sinks; `reload` gives it others."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock, self.telemetry = folder, FakeClock(), Telemetry()
        self.series = SeriesTable()
        self.url = f"http://127.0.0.1:{free_port()}/write"  # nobody listens
        self.start()

    def start(self) -> None:
        self.journal = Journal(
            self.folder / "journal", self.series, self.telemetry, self.clock, JournalConfig(sync="never")
        )
        self.sinks = SinkRunner(self.journal, self.folder / "quarantine", self.context)

    def context(self, name: str) -> Context:
        return Context(name, self.series, self.telemetry, self.clock)

    async def reload(self, names: Sequence[str]) -> None:
        lines = [f"- {{type: remote_write, name: {name}, url: '{self.url}'}}" for name in names]
        file = self.folder / "m.yaml"
        file.write_text("sinks:\n" + "\n".join(lines) if lines else "{}")
        await self.sinks.update(load_file(file))
        await self.sinks.look_after_journal()

    async def put(self, count: int) -> None:
        layout = Layout(self.series.intern_many([b"a", b"b"]))
        for _ in range(count):
            await self.journal.append(Batch(layout, self.clock.now_ms(), np.zeros(2)))
        self.journal.set_cursor("store", self.journal.next_sequence)

    async def stop(self) -> None:
        await self.sinks.stop()
        await self.journal.close()

    def states(self) -> dict[str, tuple[str, int]]:
        return {each.name: (each.state, each.behind) for each in self.sinks.statuses()}

    def shown(self, metric: str) -> dict[str, float]:
        found = (s for family in self.telemetry.registry.collect() for s in family.samples)
        return {s.labels["sink"]: s.value for s in found if s.name == metric}


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[Agent]:
    found = Agent(tmp_path)
    yield found
    await found.stop()


async def test_it_is_shown_and_held_and_then_dropped_and_counted(
    agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    await agent.reload(["stays", "leaves"])
    await agent.put(3)
    assert {name: behind for name, (_, behind) in agent.states().items()} == {"leaves": 3, "stays": 3}
    with caplog.at_level(logging.WARNING):
        await agent.reload(["stays"])
        await agent.sinks.look_after_journal()
    assert agent.states()["leaves"] == ("removed", 3)
    assert [r.getMessage() for r in caplog.records if "configuration" in r.getMessage()] == [
        "leaves: a sink of that name is not in the configuration any more; the journal is held for it for 1d,"
        " in case it comes back (3 batches wait)"
    ]
    until_s = agent.clock.now_ms() / 1000 + DAY_S
    assert agent.shown("metricsmith_sink_held_until_seconds") == {"leaves": until_s}
    assert agent.shown("metricsmith_sink_behind_batches") == {"leaves": 3, "stays": 3}
    await agent.stop()
    agent.clock.advance(DAY_S / 2)
    agent.start()
    await agent.reload(["stays"])
    await agent.put(1)
    assert agent.states()["leaves"] == ("removed", 4)
    agent.clock.advance(DAY_S / 2)
    await agent.sinks.look_after_journal()
    assert agent.states().keys() == {"stays"}
    value = agent.telemetry.value("metricsmith_sink_dropped_samples_total", sink="leaves", reason="removed")
    assert value == 8
    assert agent.shown("metricsmith_sink_held_until_seconds") == {}
    assert agent.shown("metricsmith_sink_behind_batches").keys() == {"stays"}


async def test_one_that_comes_back_goes_on_where_it_was(agent: Agent) -> None:
    await agent.reload(["leaves"])
    await agent.put(3)
    await agent.reload([])
    await agent.put(2)
    agent.clock.advance(DAY_S - 10)
    await agent.reload(["leaves"])
    assert agent.states()["leaves"][1] == 5
    assert agent.shown("metricsmith_sink_held_until_seconds") == {}
    agent.clock.advance(DAY_S)
    await agent.sinks.look_after_journal()
    assert agent.states()["leaves"][1] == 5


async def test_lag_is_the_age_of_what_waits_longest(agent: Agent) -> None:
    def lag() -> float:
        return agent.shown("metricsmith_sink_lag_seconds")["slow"]

    async def pass_time(seconds: int) -> None:
        for _ in range(seconds):
            agent.clock.advance(1)
            agent.sinks.tick()

    await agent.reload(["slow"])
    await pass_time(100)
    assert lag() == 0
    await agent.put(1)
    await pass_time(5000)
    assert lag() == pytest.approx(5000, abs=6)
    await agent.put(1)
    await pass_time(100)
    assert lag() == pytest.approx(5100, abs=6)


@pytest.mark.parametrize(
    ("performance", "sink", "expected"),
    [
        ("", "", (5000, 20_000)),
        ("{buffer_size: 1000}", "", (1000, 1000)),
        ("{batch_size: 100, buffer_size: 250}", "", (100, 250)),
        ("{batch_size: 100, worker_count: 2}", "", (100, 20_000)),
        ("{buffer_size: 1000}", "buffer_size: 9000", (5000, 9000)),
        ("{buffer_size: 1000}", "batch_size: 3000", (3000, 1000)),
    ],
)
def test_what_a_sink_may_hold(tmp_path: Path, performance: str, sink: str, expected: Any) -> None:
    from metricsmith.runtime.sinks import _limits

    (tmp_path / "m.yaml").write_text(
        (f"performance: {performance}\n" if performance else "")
        + f"sinks:\n- {{type: remote_write, name: a, url: 'http://h/w', {sink}}}\n"
    )
    found = load_file(tmp_path / "m.yaml")
    limits = _limits(found.of("sinks")[0].config, found.settings.performance)
    assert (limits.batch_size, limits.buffer) == expected
