"""Agents as processes of their own, killed under load: what a producer accepted is at the consumer, once."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from metricsmith.journal.segment import list_segments
from metricsmith.journal.tail import Tail
from metricsmith.model.labels import metric_name
from metricsmith.model.series import SeriesTable
from metricsmith.testing.programs import AgentProgram, eventually
from metricsmith.testing.services import free_port

METRICS = 100
COMMON = (
    'server: {{listen: "127.0.0.1:{port}"}}\n'
    'storage: {{path: "{data}", head_age: 10000d}}\n'  # what is flushed would be trimmed, and not be counted
    "journal: {{segment_size: 256KiB}}\n"
    "collection: {{system_metrics: false, application_metrics: false}}\n"
    "sources: [{{type: self, interval: 1h}}]\n"
)


class Pusher:
    """Pushes METRICS samples at a time to an agent, in a thread, through its restarts."""

    def __init__(self, agent: AgentProgram) -> None:
        self._agent, self._base_ms = agent, (int(time.time()) - 7200) * 1000
        self._ending, self._number = threading.Event(), 0
        self.accepted: list[int] = []
        self._thread = threading.Thread(target=self._push)
        self._thread.start()

    def wait_for(self, more: int) -> None:
        wanted = len(self.accepted) + more
        eventually(lambda: len(self.accepted) >= wanted)

    def end(self) -> None:
        self._ending.set()
        self._thread.join()

    def _push(self) -> None:
        while not self._ending.is_set():
            self._number += 1
            try:
                metrics = {f"load_{i}": self._number for i in range(METRICS)}
                answer = self._agent.push(metrics, self._base_ms + self._number)
            except OSError:
                self._ending.wait(0.02)
                continue
            if answer.status == 201:
                self.accepted.append(self._number)
            self._ending.wait(0.01)


def kept(agent: AgentProgram) -> Counter[tuple[str, int, float]]:
    """Every sample of the load in an agent's journal, and how often it is there."""
    segments, series, damage = list_segments(agent.data / "journal"), SeriesTable(), []
    tail = Tail(lambda: segments, series, lambda *where: damage.append(where), 0)
    found: Counter[tuple[str, int, float]] = Counter()
    for _, batch in tail.read(1 << 62):
        names = [metric_name(series.key(i)) for i in batch.layout.ids.tolist()]
        columns = names, batch.times().tolist(), batch.value.tolist()
        found.update(each for each in zip(*columns, strict=True) if each[0].startswith("load_"))
    tail.close()
    return found


@pytest.fixture
def agents(tmp_path: Path) -> Callable[[], tuple[AgentProgram, AgentProgram]]:
    def make() -> tuple[AgentProgram, AgentProgram]:
        address, other = free_port(), free_port()
        bus = f"bus: {{{{ack_endpoint: 'tcp://127.0.0.1:{address}', endpoint: 'tcp://127.0.0.1:{other}'}}}}\n"
        for name in ("edge", "centre"):
            (tmp_path / name).mkdir()
        edge = AgentProgram(tmp_path / "edge", f"{COMMON}{bus}service: {{{{type: producer, name: edge}}}}\n")
        centre = AgentProgram(
            tmp_path / "centre", f"{COMMON}{bus}service: {{{{type: consumer, name: centre}}}}\n"
        )
        return edge, centre

    return make


def run(edge: AgentProgram, centre: AgentProgram, kills: str, pause: Callable[[], float]) -> None:
    """Kill `c`onsumer and `p`roducer in turn, under load, and compare the journals."""
    centre.start()
    edge.start()
    pusher = Pusher(edge)
    try:
        for kill in kills:
            pusher.wait_for(5)
            time.sleep(pause())  # at any moment of the exchange
            victim = centre if kill == "c" else edge
            victim.kill()
            victim.start()
        pusher.wait_for(5)
        pusher.end()
        assert edge.push({"load_end": 1}).status == 201
        eventually(lambda: centre.query("load_end"))
    finally:
        pusher.end()
        for agent in (edge, centre):
            if agent.process is not None:
                agent.kill()
    sent, received = kept(edge), kept(centre)
    assert {number for _, _, number in sent} >= set(pusher.accepted)
    assert len(sent) > METRICS * 5
    assert set(received.values()) == {1}, "samples are there twice"
    assert received.keys() == sent.keys()


def test_kills_of_either_side_lose_and_double_nothing(
    agents: Callable[[], tuple[AgentProgram, AgentProgram]],
) -> None:
    chance = random.Random(6)
    run(*agents(), "cpcc", lambda: chance.random() * 0.2)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_fifty_kills_lose_and_double_nothing(
    agents: Callable[[], tuple[AgentProgram, AgentProgram]],
) -> None:
    chance = random.Random()
    run(*agents(), "ccp" * 17, lambda: chance.random() * 0.5)
