"""`metricsmith demo` as a newcomer runs it: it shows something real, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from metricsmith.testing.programs import eventually
from metricsmith.testing.services import free_port


class Demo:
    """A demo that runs, and the processes that it started."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        self.data = folder / "demo"
        command = [sys.executable, "-m", "metricsmith", "demo", "--port", str(self.port), *options]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"COLUMNS": "80", "TMPDIR": str(folder)},
        )
        self.children: set[psutil.Process] = set()

    def look_for_children(self) -> set[psutil.Process]:
        self.children |= set(psutil.Process(self.process.pid).children(recursive=True))
        return self.children

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=60) as answer:
                return bool(answer.status == 200)
        except OSError:
            assert self.process.poll() is None, self.process.communicate()[0]
            return False

    def under_load(self) -> bool:
        url = f"http://127.0.0.1:{self.port}/api/v1/query?query=sum(http_requests_total)>5"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return bool(json.loads(answer.read())["data"]["result"])

    def end(self) -> tuple[int, str]:
        """Return exit code and output once it has ended; nobody may live on."""
        text, _ = self.process.communicate(timeout=90)
        left = [child for child in self.children if child.is_running()]
        assert not left, f"left behind: {left}"
        return self.process.returncode, text


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Any]:
    made: list[Demo] = []

    def make(*options: str) -> Demo:
        made.append(Demo(tmp_path, *options))
        return made[-1]

    yield make
    for one in made:
        if one.process.poll() is None:
            one.look_for_children()
            one.process.kill()
        for process in one.children:  # they hold its output open
            if process.is_running():
                process.kill()
        one.process.communicate()


def rows(text: str) -> dict[str, float]:
    """Numbers of the table, by title; a cell without a number is missing."""
    found = re.findall(
        r"^\W*([a-z0-9 ()]+?)(?: *│ *|  +)([\d,.]+)(?:/s|%|ms)?(?: *│.*)?$", text, re.MULTILINE
    )
    return {title: float(value.replace(",", "")) for title, value in found}


def test_demo_ends_by_itself_with_plausible_numbers(demo: Any, tmp_path: Path) -> None:
    running = demo("--for", "6s")
    eventually(running.ready)
    assert len(eventually(running.look_for_children)) == 2, "shop and agent"
    code, text = running.end()
    assert code == 0, text
    assert f"http://127.0.0.1:{running.port}" in text
    table = rows(text)
    # What the load has sent in these 6 seconds, be it less than it should on a busy machine.
    (sent,) = re.findall(r"^load on \S+: ([\d,]+) sent", text, re.MULTILINE)
    assert 0.3 < table["requests per second"] / (int(sent.replace(",", "")) / 6) < 2
    assert table["orders created"] >= table["orders accepted"] > 0
    assert table["orders created"] >= table["orders failed"]
    assert table["payments tried"] == table["orders accepted"] + table["orders failed"]
    assert 0 < table["p95 latency"] < 5000
    assert 0 < table["average external call"] < 2000
    assert table["error ratio (5xx)"] == 0
    assert 50 < table["scrapes that succeeded"] <= 100
    assert next(value for title, value in table.items() if title.startswith("series")) > 50
    assert len(table) == 11
    assert re.search(r"^orders created +\d+$", text, re.MULTILINE), "things are counted in whole numbers"
    (longest,) = re.findall(r"^ +(histogram_quantile.*)$", text, re.MULTILINE)
    assert longest.endswith("* 1000"), "an expression stands on one line, to be copied"
    assert f"query --url http://127.0.0.1:{running.port} 'sum" in text
    assert list(tmp_path.iterdir()) == [], "its temporary data is gone"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_signal_in_the_middle_ends_all_three(demo: Any, tmp_path: Path, number: signal.Signals) -> None:
    running = demo()
    eventually(running.ready)
    eventually(running.under_load)
    assert len(eventually(running.look_for_children)) == 2
    running.process.send_signal(number)
    code, text = running.end()
    assert code == 0, text
    assert "Ctrl-C ends all" in text
    assert re.search(r"load on http://127.0.0.1:\d+: [1-9]\d* sent; 200: ", text)
    assert rows(text)["orders created"] >= 0
    assert "Traceback" not in text
    assert list(tmp_path.iterdir()) == []


def test_impatient_ctrl_c_still_ends_in_order(demo: Any, tmp_path: Path) -> None:
    running = demo()
    eventually(running.ready)
    eventually(running.under_load)
    running.look_for_children()
    for _ in range(3):
        running.process.send_signal(signal.SIGINT)
    code, text = running.end()
    assert code == 0, text
    assert rows(text)
    assert list(tmp_path.iterdir()) == []


def test_signal_during_the_start_ends_what_has_started(demo: Any) -> None:
    running = demo()
    eventually(running.look_for_children)
    running.process.send_signal(signal.SIGINT)
    code, text = running.end()
    assert code == 0, text
    assert "Traceback" not in text


def test_taken_port_is_one_clear_line_even_when_an_agent_answers_there(demo: Any) -> None:
    first = demo()
    eventually(first.ready)
    first.look_for_children()
    second = subprocess.run(
        [sys.executable, "-m", "metricsmith", "demo", "--port", str(first.port), "--for", "2s"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 1
    (line,) = second.stderr.splitlines()
    assert line.startswith(f"error: cannot listen on 127.0.0.1:{first.port}: Address already in use")
    assert f"metricsmith demo --port {first.port + 10}" in line
    assert f"make demo PORT={first.port + 10}" in line
    first.process.send_signal(signal.SIGINT)
    assert first.end()[0] == 0


def test_agent_that_dies_ends_the_demo_and_is_named(demo: Any) -> None:
    running = demo("--for", "1m")
    eventually(running.ready)
    eventually(running.under_load)
    children = eventually(running.look_for_children)
    (agent,) = (child for child in children if "run" in child.cmdline())
    agent.kill()
    code, text = running.end()
    assert code == 1
    assert "error: the agent ended by itself" in text
    assert "Traceback" not in text


def test_data_that_is_asked_for_is_kept(demo: Any, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    code, text = demo("--for", "2s", "--data", str(kept)).end()
    assert code == 0, text
    assert (kept / "data" / "manifest.sqlite").exists()
