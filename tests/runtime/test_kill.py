"""What was accepted survives SIGKILL at any moment: once, with its value, also while blocks are written."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

import pytest

from metricsmith.testing.programs import AgentProgram, eventually
from metricsmith.testing.targets import Target

Make = Callable[..., AgentProgram]
FLUSHING = (
    'server: {{listen: "127.0.0.1:{port}"}}\n'
    'storage: {{path: "{data}", head_bytes: 256KiB}}\n'
    "journal: {{segment_size: 64KiB}}\n"
)
METRICS = 200


class Pusher:
    """Pushes one sample of METRICS series after the other, in a thread, until the agent is gone.

    A sample's value tells its time, so that one that was mixed up shows.
    """

    def __init__(self, agent: AgentProgram) -> None:
        self._agent = agent
        self._base_ms = (int(time.time()) - 7200) * 1000
        self._next = 0
        self.accepted: list[int] = []
        self.sent: set[int] = set()
        self._pushing = threading.Thread()

    def start(self) -> None:
        self._pushing = threading.Thread(target=self._push)
        self._pushing.start()

    def wait_for(self, count: int) -> None:
        eventually(lambda: len(self.accepted) >= count or not self._pushing.is_alive())
        assert len(self.accepted) >= count, "the agent went away by itself"

    def join(self) -> None:
        self._pushing.join()

    def _push(self) -> None:
        while True:
            number = self._next
            self._next += 1
            self.sent.add(number)
            try:
                answer = self._agent.push({f"m{i}": number for i in range(METRICS)}, self._base_ms + number)
            except OSError:
                return
            assert answer.status in (201, 503), answer.text
            if answer.status == 201:
                self.accepted.append(number)

    def check(self) -> None:
        """All that was accepted is there once; of the rest, only what was sent may be."""
        for name in ("m0", "m57", f"m{METRICS - 1}"):
            kept = self._agent.samples(name)
            numbers = [time_ms - self._base_ms for time_ms, _ in kept]
            assert [value for _, value in kept] == numbers
            assert numbers == sorted(set(numbers)), f"{name}: a sample is there twice"
            lost = set(self.accepted) - set(numbers)
            assert not lost, f"{name}: {len(lost)} of {len(self.accepted)} accepted samples were lost"
            assert set(numbers) <= self.sent


def exposition(number: int) -> str:
    return "".join(f'scraped{{n="{i}"}} {number + i}\n' for i in range(100))


def scraped(agent: AgentProgram) -> dict[str, dict[float, str]]:
    found = agent.query("scraped[4h]")
    return {s["metric"]["n"]: dict(s["values"]) for s in found}


@pytest.mark.parametrize("kills", [3, pytest.param(300, marks=[pytest.mark.soak, pytest.mark.timeout(3000)])])
def test_kill_while_scraping_pushing_and_flushing(agent_program: Make, target: Target, kills: int) -> None:
    chance = random.Random(kills)
    target.text = exposition(0)
    agent = agent_program(f"sources:\n{target.source(interval='20ms')}", base=FLUSHING)
    pusher = Pusher(agent)
    shown: dict[str, dict[float, str]] = {}
    blocks = 0
    for number in range(kills):
        agent.start()
        after = scraped(agent)
        for series, values in shown.items():
            assert values.items() <= after[series].items(), f"{series}: what was shown before is gone"
        pusher.check()
        pusher.start()
        target.text = exposition(number)
        if number % 3 == 0:
            eventually(lambda: agent.own("metricsmith_store_flushes_total", result="done") > 0)
        pusher.wait_for(len(pusher.accepted) + chance.randint(1, 40))
        target.wait_for_scrapes(1)
        shown = scraped(agent)
        blocks = max(blocks, agent.get("/storage/status")["blocks"])
        agent.kill()
        pusher.join()
    agent.start()
    pusher.check()
    assert blocks > 0, "nothing was flushed: the test did not test what it says"
    assert agent.own("metricsmith_store_blocks_set_aside_total", reason="damaged") == 0


@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=[pytest.mark.soak, pytest.mark.timeout(3000)])])
def test_kill_during_replay(agent_program: Make, kills: int) -> None:
    chance = random.Random(kills)
    agent = agent_program()  # its head takes all, so that all is replayed
    agent.start()
    pusher = Pusher(agent)
    pusher.start()
    pusher.wait_for(700)
    agent.kill()
    pusher.join()
    agent.config = FLUSHING  # the same data in small heads: blocks are written during the replay
    replaying = 0
    for _ in range(kills):
        agent.launch()
        agent.log.wait_for("replaying")
        time.sleep(chance.uniform(0, 0.05))  # no waiting: any moment of the replay
        agent.kill()
        replaying += "replay took" not in agent.log.text()
    assert replaying > 0, "every replay was done before its kill"
    agent.start()
    pusher.check()
