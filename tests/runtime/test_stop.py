"""An orderly stop ends soon, loses nothing that was acknowledged, and leaves a clean data directory."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from metricsmith.testing.programs import AgentProgram, eventually
from metricsmith.testing.targets import Target, running_target, silent

Make = Callable[..., AgentProgram]
STOP_LIMIT_S = 30.0
"""Half of what is waited for peers while nobody stops; a busy machine takes some of it."""


class Load:
    """Two threads that push until they are refused or nobody answers; `accepted` is what was acknowledged."""

    def __init__(self, agent: AgentProgram) -> None:
        self._agent = agent
        self._base_ms = (int(time.time()) - 7200) * 1000
        self.accepted: list[list[int]] = [[], []]
        self._threads = [threading.Thread(target=self._push, args=(i,)) for i in range(2)]
        for thread in self._threads:
            thread.start()

    def wait_for(self, count: int) -> None:
        eventually(lambda: all(len(accepted) >= count for accepted in self.accepted))

    def _push(self, number: int) -> None:
        try:
            while (
                self._agent.push({f"pushed{number}": 1.0}, self._base_ms + self._next(number)).status == 201
            ):
                self.accepted[number].append(self._base_ms + self._next(number))
        except OSError:
            return

    def _next(self, number: int) -> int:
        return len(self.accepted[number])

    def check(self) -> None:
        """What was acknowledged is there; at most the one that was under way besides."""
        for thread in self._threads:
            thread.join()
        for number, accepted in enumerate(self.accepted):
            kept = [time_ms for time_ms, _ in self._agent.samples(f"pushed{number}")]
            assert kept[: len(accepted)] == accepted
            assert len(kept) <= len(accepted) + 1


def strays(data: Path) -> list[str]:
    """Files that only a running agent, or one that was killed, may have."""
    found = [*data.glob("tmp/*"), *data.glob("strays/*"), *data.rglob("*.tmp"), *data.rglob("*-wal")]
    return [str(path.relative_to(data)) for path in found]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_stop_under_load_keeps_what_was_acknowledged(
    agent_program: Make, target: Target, number: signal.Signals
) -> None:
    target.text = "".join(f'scraped{{n="{i}"}} {i}\n' for i in range(500))
    agent = agent_program(f"sources:\n{target.source(interval='20ms')}")
    agent.start()
    load = Load(agent)
    load.wait_for(20)
    shown = agent.samples('scraped{n="7"}')
    began = time.monotonic()
    assert agent.stop(number) == 0
    assert time.monotonic() - began < STOP_LIMIT_S
    assert strays(agent.data) == []
    agent.start()
    assert "replaying" not in agent.log.text(), "an orderly stop leaves nothing to replay"
    load.check()
    assert agent.samples('scraped{n="7"}')[: len(shown)] == shown


def test_second_signal_changes_nothing(agent_program: Make) -> None:
    agent = agent_program()
    agent.start()
    load = Load(agent)
    load.wait_for(10)
    agent.send(signal.SIGTERM)
    agent.log.wait_for("stopping")
    agent.send(signal.SIGTERM)
    agent.send(signal.SIGINT)
    assert agent.wait() == 0
    assert strays(agent.data) == []
    agent.start()
    load.check()


def test_peers_that_hang_do_not_hold_up_the_stop(agent_program: Make) -> None:
    with running_target(behave=silent) as target:
        source = target.source(interval="1m").replace("interval: 1m", "interval: 1m, timeout: 1m")
        agent = agent_program(f"sources:\n{source}")
        agent.start()
        with socket.create_connection(("127.0.0.1", agent.port)) as pusher:
            head = "POST /api/v1/metrics HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            pusher.sendall(f"{head}Content-Length: 1000\r\n\r\n{{".encode())
            assert agent.ask("/-/healthy").status == 200  # asked later, so the push is being read by now
            began = time.monotonic()
            assert agent.stop() == 0
            assert time.monotonic() - began < STOP_LIMIT_S


def test_stop_during_replay_keeps_all_and_goes_on_next_time(agent_program: Make) -> None:
    agent = agent_program()
    agent.start()
    base_ms = (int(time.time()) - 7200) * 1000
    wide = {f"m{i}": 1.0 for i in range(1000)}
    for number in range(200):
        assert agent.push(wide, base_ms + number).status == 201
    agent.kill()
    agent.launch()
    agent.log.wait_for("replaying")
    assert agent.stop() == 0
    agent.start()
    assert [time_ms for time_ms, _ in agent.samples("m999")] == [base_ms + n for n in range(200)]
