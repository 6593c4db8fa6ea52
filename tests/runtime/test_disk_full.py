"""A full disk is a state the agent survives and says, not an end: it serves, refuses, and goes on.

Commands and outputs of docs/operate.md are of what is tested here.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metricsmith.testing.programs import AgentProgram, eventually
from metricsmith.testing.terminal import alike, shown_on

DOCS = Path(__file__).parents[2] / "docs"

Make = Callable[..., AgentProgram]
BASE = 'server: {{listen: "127.0.0.1:{port}"}}\nstorage: {{path: "{data}", head_bytes: 256KiB}}\n'


class Pusher:
    """Pushes messages of new samples and remembers which were accepted."""

    def __init__(self, agent: AgentProgram) -> None:
        self._agent, self._chance = agent, random.Random(1)
        self._base_ms = int(time.time()) * 1000 - 3_600_000
        self.sent, self.accepted = 0, list[tuple[int, float]]()

    def push(self) -> Any:
        """Send 100 series' next sample, incompressible; return the answer."""
        self.sent += 1
        time_ms, number = self._base_ms + self.sent, self._chance.random()
        answer = self._agent.push({f"m{i}": number / (i + 1) for i in range(100)}, time_ms)
        if answer.status == 201:
            self.accepted.append((time_ms, number))
        return answer

    def push_until(self, status: int, at_most: int = 3000) -> Any:
        for _ in range(at_most):
            answer = self.push()
            if answer.status == status:
                return answer
            assert answer.status in (201, 503), answer.text
        raise AssertionError(f"no {status} in {at_most} pushes")

    def check_all_readable(self) -> None:
        """What was accepted is there once; what was refused may not be there."""
        assert self._agent.samples("m0") == self.accepted
        for i in (1, 99):
            assert self._agent.samples(f"m{i}") == [(t, v / (i + 1)) for t, v in self.accepted]


def assert_refuses_and_serves(agent: AgentProgram, refusal: Any, pusher: Pusher) -> None:
    assert int(refusal.headers["Retry-After"]) > 0
    ready, health = agent.ask("/-/ready"), agent.ask("/health")
    assert ready.status == 503
    assert "No space left" in ready.text
    assert agent.ask("/ready").status == 503
    assert health.status == 200  # a restart would not help
    assert '"unhealthy"' in health.text
    assert "No space left" in health.text
    assert '"unhealthy"' in agent.ask("/status").text
    assert agent.ask("/-/healthy").status == 200
    assert agent.own("metricsmith_samples_dropped_total", component="api", reason="disk_full") >= 100
    pusher.check_all_readable()


def assert_takes_again(agent: AgentProgram, pusher: Pusher) -> None:
    eventually(lambda: agent.ask("/-/ready").status == 200)
    assert agent.ask("/health").status == 200
    assert pusher.push_until(201).status == 201
    pusher.check_all_readable()


def test_journal_fills_the_disk(agent_program: Make, small_disk: Any) -> None:
    agent = agent_program(base=BASE)
    disk = small_disk(agent.data, "8m")
    agent.start()
    pusher = Pusher(agent)
    for _ in range(5):
        assert pusher.push().status == 201
    disk.fill()
    refusal = pusher.push_until(503)
    said = agent.ask("/-/ready").text.replace(str(agent.data), "./data")
    assert alike(shown_on(DOCS / "operate.md", "curl http://127.0.0.1:9480/-/ready"), said), said
    assert_refuses_and_serves(agent, refusal, pusher)
    disk.free()
    assert_takes_again(agent, pusher)
    agent.kill()
    agent.start()
    pusher.check_all_readable()


def test_blocks_fill_the_disk_while_the_journal_has_room(agent_program: Make, small_disk: Any) -> None:
    agent = agent_program(base=BASE)
    disk = small_disk(agent.data, "8m")
    small_disk(agent.data / "journal", "64m")
    agent.start()
    pusher = Pusher(agent)
    disk.fill()
    # The head takes what cannot be flushed, up to its bound; only then senders have to wait.
    refusal = pusher.push_until(503)
    assert len(pusher.accepted) > 100
    eventually(lambda: "No space left" in agent.ask("/-/ready").text)
    assert_refuses_and_serves(agent, refusal, pusher)
    disk.free()
    assert_takes_again(agent, pusher)
    assert agent.stop() == 0
    agent.start()
    pusher.check_all_readable()


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_agent_starts_on_a_full_disk_and_shows_what_it_has(
    agent_program: Make, small_disk: Any, end: str
) -> None:
    agent = agent_program(base=BASE)
    disk = small_disk(agent.data, "8m")
    agent.start()
    pusher = Pusher(agent)
    for _ in range(5):
        assert pusher.push().status == 201
    disk.fill()
    pusher.push_until(503)
    if end == "kill":
        agent.kill()
    else:
        assert agent.stop() == 0, "an orderly stop on a full disk is orderly: the journal has it all"
    disk.fill()
    agent.start()
    pusher.check_all_readable()
    assert pusher.push_until(503).status == 503
    disk.free()
    assert_takes_again(agent, pusher)
