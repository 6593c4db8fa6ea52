"""`metricsmith kafka demo` as a newcomer runs it: the groups come out as told, and nothing is left behind.

Commands and outputs of docs/kafka.md are of what is tested here.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from metricsmith.demo.kafka_run import run_kafka_demo
from metricsmith.demo.programs import DemoError
from metricsmith.testing import kafka as real
from metricsmith.testing.programs import eventually
from metricsmith.testing.services import ServiceMissing, free_port
from metricsmith.testing.terminal import alike, shown_on

DOCS = Path(__file__).parents[2] / "docs"

START_LIMIT_S = 90.0
STATES = "count by (consumergroup, reason) (kafka_consumergroup_lag_state)"


class Demo:
    """A demo that runs, and the processes that it started."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        command = [sys.executable, "-m", "metricsmith", "kafka", "demo", "--port", str(self.port), *options]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"COLUMNS": "80", "TMPDIR": str(folder)},
        )
        self.children: set[psutil.Process] = set()

    def children_are(self, count: int) -> bool:
        self.children |= set(psutil.Process(self.process.pid).children(recursive=True))
        return len([child for child in self.children if child.is_running()]) == count

    def suspend_broker(self) -> bool:
        """Suspend what is to become the broker; who only looks which Java is there ends meanwhile."""
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if "-cp" in child.cmdline():
                    self.children.add(child)
                    child.suspend()
                    return True
        return False

    def agent(self) -> psutil.Process | None:
        """Return the agent once it is one: until then it is a copy of the demo, which waits for it."""
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                self.children.add(child)
                if "run" in child.cmdline():
                    return child
        return None

    def ask(self, expression: str) -> list[tuple[dict[str, str], float]]:
        assert self.process.poll() is None, self.process.communicate()[0]
        query = urllib.parse.urlencode({"query": expression})
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}/api/v1/query?{query}", timeout=5
            ) as answer:
                result = json.loads(answer.read())["data"]["result"]
        except OSError:
            return []
        return [(each["metric"], float(each["value"][1])) for each in result]

    def reasons(self, group: str) -> set[str]:
        return {labels["reason"] for labels, _ in self.ask(STATES) if labels["consumergroup"] == group}

    def end(self) -> tuple[int, str]:
        """Return exit code and output once it has ended; nobody may live on."""
        text, _ = self.process.communicate(timeout=90)
        left = [child for child in self.children if child.is_running()]
        assert not left, f"left behind: {left}"
        return self.process.returncode, text


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    try:
        real.java(), real.jars()
    except ServiceMissing as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing))
        pytest.skip(str(missing))
    made: list[Demo] = []

    def make(*options: str) -> Demo:
        made.append(Demo(tmp_path, *options))
        return made[-1]

    yield make
    for one in made:
        if one.process.poll() is None:
            one.children_are(0)
            one.process.kill()
        for process in one.children:  # they hold its output open
            if process.is_running():
                process.kill()
        one.process.communicate()


def test_groups_come_out_as_the_story_tells(demo: Callable[..., Demo], tmp_path: Path) -> None:
    running = demo()
    eventually(lambda: running.ask("kafka_up"), START_LIMIT_S)
    # In the order in which they become clear; of several partitions one may be between two reasons.
    expected = {
        "shipping": "caught_up",
        "analytics": "growing",
        "search-index": "shrinking",
        "billing": "stalled",
    }
    for group, reason in expected.items():
        eventually(lambda group=group, reason=reason: reason in running.reasons(group))  # type: ignore[misc]
    ((_, lag),) = running.ask('sum(kafka_consumergroup_lag{consumergroup="billing"})')
    assert lag > 100
    eventually(lambda: running.ask("kafka_health_score"))
    assert running.children_are(2), "Kafka and agent"
    running.process.send_signal(signal.SIGINT)
    code, text = running.end()
    assert code == 0, text
    assert "Traceback" not in text
    assert alike(shown_on(DOCS / "kafka.md", "metricsmith kafka demo"), text)
    assert re.search(r"^billing +(growing|stalled) +\d\d:\d\d:\d\d +[\d,]+ +never", text, re.MULTILINE)
    assert re.search(r"^\d\d:\d\d:\d\d  shipping: caught_up, \d+ unread$", text, re.MULTILINE)
    assert re.search(r"^clicks +0 +0 +\d+$", text, re.MULTILINE), "one partition has nearly all"
    assert re.search(r"^sessions +\d+ +(5[5-9]|6[0-5]) +\d+$", text, re.MULTILINE), (
        "six of ten are tombstones"
    )
    assert "kafka lag --bootstrap 127.0.0.1:" in text
    assert f"query --url http://127.0.0.1:{running.port} " in text
    assert list(tmp_path.iterdir()) == [], "its data is gone"


@pytest.mark.soak
@pytest.mark.parametrize(
    ("command", "told"),
    [("java", "Kafka ended by itself; its log ends:"), ("python", "the agent ended by itself")],
    ids=["Kafka", "agent"],
)
def test_what_dies_ends_the_demo_and_is_named(
    demo: Callable[..., Demo], tmp_path: Path, command: str, told: str
) -> None:
    running = demo("--for", "1m")
    eventually(lambda: running.ask("kafka_up"), START_LIMIT_S)
    assert running.children_are(2)
    (victim,) = (child for child in running.children if command in child.name())
    victim.kill()
    code, text = running.end()
    assert code == 1
    assert f"error: {told}" in text
    assert "Traceback" not in text
    assert list(tmp_path.iterdir()) == []


def test_signal_during_the_start_ends_what_has_started(demo: Callable[..., Demo], tmp_path: Path) -> None:
    running = demo()
    eventually(lambda: running.children_are(1))
    running.process.send_signal(signal.SIGTERM)
    code, text = running.end()
    assert code == 0, text
    assert "Traceback" not in text
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_does_not_wait_for_a_broker_that_does_not_start(
    demo: Callable[..., Demo], tmp_path: Path
) -> None:
    running = demo()
    eventually(running.suspend_broker)
    running.process.send_signal(signal.SIGINT)
    code, text = running.end()
    assert (code, text) == (0, "starting Kafka …\nending …; Ctrl-C again ends at once\n")
    assert list(tmp_path.iterdir()) == []


def test_second_ctrl_c_ends_at_once(demo: Callable[..., Demo], tmp_path: Path) -> None:
    running = demo()
    agent = eventually(running.agent, START_LIMIT_S)
    agent.suspend()  # what is asked to end does not
    running.process.send_signal(signal.SIGINT)
    assert running.process.stdout is not None
    assert any("Ctrl-C again ends at once" in line for line in running.process.stdout)
    running.process.send_signal(signal.SIGINT)
    code, text = running.end()
    assert code == 130, text
    assert "Traceback" not in text
    assert list(tmp_path.iterdir()) == []


async def test_folder_without_kafka_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DemoError) as told:
        await run_kafka_demo(1.0, free_port(), tmp_path)
    assert str(told.value).startswith(f"Kafka's jars are not in {tmp_path}/libs; run `make services`")
    assert "--kafka-home" in str(told.value)
