"""Both ends of docs/edge-to-centre.md as the page has them, a kill of the centre, and the alerts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metricsmith.testing.programs import eventually
from metricsmith.testing.services import free_port

PAGE = (Path(__file__).parents[2] / "docs/edge-to-centre.md").read_text()
EDGE, CENTRE, ALERTS, TEST = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[:4]
SOON = 60
READINGS = 8
Start = Callable[[str], "subprocess.Popen[bytes]"]


def metricsmith(*words: str) -> list[str]:
    return [sys.executable, "-m", "metricsmith", *words]


def said(folder: Path, *words: str) -> str:
    done = subprocess.run(
        metricsmith(*words), cwd=folder, text=True, timeout=60, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    running = []

    def start(file: str) -> subprocess.Popen[bytes]:
        environment = {
            each: value for each, value in os.environ.items() if not each.startswith("METRICSMITH")
        }
        with (tmp_path / f"{file}.log").open("a") as log:
            running.append(
                subprocess.Popen(metricsmith("run", "-c", file), cwd=tmp_path, stderr=log, env=environment)
            )
        return running[-1]

    yield start
    for process in running:
        process.terminate()
    assert all(process.wait(timeout=60) in (0, -9) for process in running)


def readings(port: int) -> list[float]:
    """Return the times at which an agent has a reading of the edge's load."""
    query = urllib.parse.urlencode({"query": 'load_average_1m{host="edge-7"}[5m]'})
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{query}", timeout=30) as answer:
            result = json.load(answer)["data"]["result"]
    except OSError:
        return []
    return [when for series in result for when, _ in series["values"]]


def until_there_are(count: int, port: int) -> list[float]:
    return eventually(lambda: found if len(found := readings(port)) >= count else [], SOON)


def test_a_killed_centre_has_every_reading_once(tmp_path: Path, start: Start) -> None:
    public = {side: said(tmp_path, "bus", "keys", f"{side}.key").strip() for side in ("edge", "centre")}
    ports = {number: str(free_port()) for number in ("11001", "11002", "9490")}
    edge = EDGE.replace("PUBLIC KEY OF THE CENTRE", public["centre"]).replace(
        "interval: 10s", "interval: 200ms"
    )
    at_edge, at_centre = free_port(), int(ports["9490"])
    edge += f"server: {{listen: 127.0.0.1:{at_edge}}}\n"
    centre = CENTRE.replace("PUBLIC KEY OF EDGE-7", public["edge"])
    for file, text in {"edge.yaml": edge, "centre.yaml": centre, "edges.yml": ALERTS}.items():
        for number, port in ports.items():
            text = text.replace(number, port)
        (tmp_path / file).write_text(text)
    shown = dict(re.findall(r"^\$ metricsmith check-config (\S+)\n(.*\n)", PAGE, re.MULTILINE))
    assert {file: said(tmp_path, "check-config", file) for file in shown} == shown

    start("edge.yaml")
    killed = start("centre.yaml")
    missed = len(until_there_are(READINGS, at_centre))
    killed.kill()
    killed.wait()
    until_there_are(missed + READINGS, at_edge)
    start("centre.yaml")
    until_there_are(4 * READINGS, at_centre)
    wanted = readings(at_edge)
    found = eventually(lambda: found if wanted[-1] in (found := readings(at_centre)) else [], SOON)
    assert found[: len(wanted)] == wanted


def test_the_alerts_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "edges.yml").write_text(ALERTS)
    (tmp_path / "test.yml").write_text(TEST)
    assert "SUCCESS: 1 test" in said(tmp_path, "rules", "test", "test.yml")
