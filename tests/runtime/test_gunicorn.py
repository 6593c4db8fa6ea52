"""Workers of gunicorn are killed, reloaded and loaded while the agent's counters match what was answered."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from metricsmith.testing.programs import AgentProgram, eventually
from metricsmith.testing.services import free_port

Make: TypeAlias = Callable[..., AgentProgram]
EXAMPLE = Path(__file__).parents[2] / "examples" / "gunicorn"
WORKERS = 4
PUSH_S = 1.0
"""Time between pushes, as it is unless told otherwise."""


class Load:
    """Asks an application from a few threads; notes which worker answered when, and what broke off."""

    def __init__(self, port: int, path: str = "/") -> None:
        self._port, self._path = port, path
        self._ended = threading.Event()
        self.answers: list[tuple[float, int]] = []
        self.broken = 0
        self._threads = [threading.Thread(target=self._run) for _ in range(4)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    @property
    def pids(self) -> set[int]:
        """Workers that have answered so far."""
        return {pid for _, pid in self.answers.copy()}

    def since(self, begin_s: float) -> Counter[int]:
        """Return how many answers each worker has given since then."""
        return Counter(pid for at_s, pid in self.answers.copy() if at_s >= begin_s)

    def more(self, count: int = 100) -> None:
        """Wait for more answers."""
        wanted = len(self.answers) + count
        eventually(lambda: len(self.answers) >= wanted)

    def _run(self) -> None:
        while not self._ended.wait(0.01):
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
            try:
                connection.request("GET", self._path)
                answer = connection.getresponse()
                pid = int(answer.read())
                if answer.status == 200:
                    self.answers.append((time.monotonic(), pid))
                else:  # not flushed in time, but counted later
                    self.broken += 1
            except (OSError, http.client.HTTPException, ValueError):
                self.broken += 1
            finally:
                connection.close()


class Gunicorn:
    """The example, with four workers."""

    def __init__(self, address: str, home: Path) -> None:
        self.port = free_port()
        environment = {**os.environ, "METRICSMITH_PROCESSES_ADDRESS": address, "HOME": str(home)}
        options = ["-b", f"127.0.0.1:{self.port}", "-w", str(WORKERS), "--log-level", "warning"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-c", "/dev/null", *options, "app:app"],
            cwd=EXAMPLE,
            env=environment,
        )

    def reload(self, load: Load) -> None:
        """Have all workers replaced, and wait until only new ones answer."""
        old = load.pids
        self.process.send_signal(signal.SIGHUP)
        eventually(lambda: len(load.pids - old) == WORKERS)


@pytest.fixture
def gunicorn(tmp_path: Path) -> Iterator[Gunicorn]:
    running = Gunicorn(str(tmp_path / "p" / "s"), tmp_path)
    yield running
    running.process.terminate()
    assert running.process.wait(60) == 0


def test_counters_match_what_was_answered(agent_program: Make, gunicorn: Gunicorn, tmp_path: Path) -> None:
    address = tmp_path / "p" / "s"
    agent = agent_program(f"sources:\n- {{{{type: processes, address: {address}, interval: 200ms}}}}\n")
    agent.start()

    def counted() -> float:
        return agent.value('shop_orders_total{job="shop", payment="card"}')

    def settled(least: float, most: float) -> None:
        eventually(lambda: least <= counted() <= most)
        time.sleep(1.5 * PUSH_S)  # nothing may come on top
        assert least <= counted() <= most

    # Orderly ends of workers, and an agent that is killed meanwhile: nothing is lost, nothing counts twice.
    with Load(gunicorn.port) as load:
        eventually(lambda: len(load.pids) == WORKERS)
        eventually(lambda: agent.query("shop_orders_total") != [])
        for pid in sorted(load.pids)[:2]:
            os.kill(pid, signal.SIGTERM)
        eventually(lambda: len(load.pids) >= WORKERS + 2)
        agent.kill()
        load.more()
        agent.start()
        gunicorn.reload(load)
        agent.write_config(agent.config.replace("200ms", "300ms"))
        assert agent.ask("/-/reload", b"").status == 200
        load.more()
    answered, broken = len(load.answers), load.broken
    settled(answered, answered + broken)
    assert agent.value('shop_request_seconds_count{job="shop"}') == counted()

    # With a flush before each answer, an answer is counted even if its worker is killed with it.
    with Load(gunicorn.port, "/?sure") as sure:
        eventually(lambda: len(sure.pids) == WORKERS)
        sure.more()
        killed = sorted(sure.pids)[:3]
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: len(sure.pids) == WORKERS + 3)
        sure.more()
    answered, broken = answered + len(sure.answers), broken + sure.broken
    settled(answered, answered + broken)

    # Without it, at most what the killed worker answered since it has pushed is lost: all before is counted.
    with Load(gunicorn.port) as plain:
        eventually(lambda: len(plain.pids) == WORKERS)
        plain.more()
        victim = min(plain.pids)
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: len(plain.pids) == WORKERS + 1)
    lost = sum(pid == victim for _, pid in plain.answers)
    answered, broken = answered + len(plain.answers), broken + plain.broken
    settled(answered - lost, answered + broken)

    # Gauges of those that live; all ended in order at last.
    eventually(lambda: agent.value('shop_requests_active{job="shop"}') == 0)
    eventually(lambda: agent.own("metricsmith_processes_connected") == WORKERS)
    gunicorn.process.terminate()
    gunicorn.process.wait(60)
    eventually(lambda: agent.own("metricsmith_processes_connected") == 0)
    eventually(lambda: agent.query("shop_requests_active") == [])


@pytest.mark.soak
def test_kills_of_all_kinds_for_a_minute(agent_program: Make, gunicorn: Gunicorn, tmp_path: Path) -> None:
    """What was answered was counted, and nothing was counted that was not asked for."""
    agent = agent_program(f"sources:\n- {{{{type: processes, address: {tmp_path}/p/s, interval: 200ms}}}}\n")
    agent.start()
    until_s = time.monotonic() + 60
    with Load(gunicorn.port, "/?sure") as load:
        eventually(lambda: len(load.pids) == WORKERS)
        while time.monotonic() < until_s:
            pid = random.choice(sorted(load.since(time.monotonic() - 1)) or [0])
            match random.choice(["kill", "end", "reload", "agent"]):
                case "agent":
                    agent.kill()
                    agent.start()
                case "reload":
                    gunicorn.process.send_signal(signal.SIGHUP)
                case how if pid:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL if how == "kill" else signal.SIGTERM)
            load.more(50)
    most = len(load.answers) + load.broken
    counted = 'shop_orders_total{job="shop", payment="card"}'
    eventually(lambda: len(load.answers) <= agent.value(counted) <= most)
    time.sleep(2 * PUSH_S)
    assert len(load.answers) <= agent.value(counted) <= most
