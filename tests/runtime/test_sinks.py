"""An agent ships to a destination, sets aside what is refused, and people look after it by commands.

Commands and outputs of docs/delivery.md and docs/files.md are of what is tested here.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from metricsmith.model.series import SeriesTable
from metricsmith.testing.programs import AgentProgram, eventually
from metricsmith.testing.services import free_port
from metricsmith.testing.terminal import Terminal, alike, shown_on, steps
from metricsmith.wire.remote_write import RemoteWriteDecoder

DOCS = Path(__file__).parents[2] / "docs"

Make = Callable[..., AgentProgram]
SINK = """
sinks:
- {{{{type: remote_write, name: centre, url: "http://127.0.0.1:{port}/write", flush_interval: 100ms}}}}
"""
SINK_AND_MORE = """
sinks:
- type: remote_write
  name: centre
  url: "http://127.0.0.1:{port}/write"
  flush_interval: 100ms
"""


@dataclass
class Centre:
    """A remote-write receiver that refuses the series of one service."""

    port: int = 0
    refuses: str = "bad"
    taken: list[tuple[str, float]] = field(default_factory=list)


@pytest.fixture
def centre() -> Iterator[Centre]:
    """A receiver on loopback."""
    found, series, lock = Centre(), SeriesTable(), threading.Lock()
    decoder = RemoteWriteDecoder(series)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                batch = decoder.decode(body, max_decompressed=1 << 24).batch
                labels = [series.labels(i) for i in batch.layout.ids.tolist()]
                refused = any(each.get("service") == found.refuses for each in labels)
                if not refused:
                    names = [each["__name__"] for each in labels]
                    found.taken += zip(names, batch.value.tolist(), strict=True)
            self.send_response(400 if refused else 204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


def _metricsmith(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "metricsmith", *arguments], capture_output=True, text=True, check=False
    )


def test_what_is_refused_is_set_aside_and_can_be_sent_again(agent_program: Make, centre: Centre) -> None:
    agent = agent_program(SINK.format(port=centre.port))
    agent.start()
    url = ("--url", agent.url)
    agent.push({"good": 1.0})
    agent.push({"wrong": 2.5}, service="bad")
    agent.push({"good": 3.0})
    eventually(lambda: [v for n, v in centre.taken if n == "good"] == [1.0, 3.0])
    (refusal,) = eventually(lambda: agent.get("/api/v1/quarantine")["data"])
    assert (refusal["sink"], refusal["samples"], refusal["reason"]) == ("centre", 1, "400")
    listed = _metricsmith("quarantine", "list", *url)
    assert refusal["id"] in listed.stdout and listed.returncode == 0
    shown = _metricsmith("quarantine", "show", refusal["id"], *url).stdout
    assert 'wrong{service="bad"}' in shown and "2.5" in shown

    again = _metricsmith("quarantine", "retry", refusal["id"], *url)
    assert (again.returncode, again.stdout) == (1, "") and "400" in again.stderr
    centre.refuses = ""
    assert _metricsmith("quarantine", "retry", "--all", *url).returncode == 0
    assert ("wrong", 2.5) in centre.taken
    assert agent.get("/api/v1/quarantine")["data"] == []
    assert agent.stop() == 0


def test_the_commands_of_the_page(agent_program: Make, centre: Centre, tmp_path: Path) -> None:
    agent = agent_program(SINK.format(port=centre.port).replace("centre", "central"))
    agent.start()
    for number in range(2):
        agent.push({f"wrong_{number}": 2.5}, service="bad")
        eventually(lambda n=number: len(agent.get("/api/v1/quarantine")["data"]) > n)
    first, second = [each["id"] for each in agent.get("/api/v1/quarantine")["data"]]
    page = (DOCS / "delivery.md").read_text()
    (block,) = re.findall(r"```console\n(\$ metricsmith quarantine list.*?)```", page, re.DOTALL)
    (shown,) = set(re.findall(r"\d{13}-\d{4}", block))
    centre.refuses = ""
    terminal = Terminal(tmp_path, {}, agent.url)
    for command, _ in steps(block):
        refused = second if " drop " in command else first
        code, said = terminal.run(command.replace(shown, refused))
        assert code == 0, f"{command}\n{said}"
    assert agent.get("/api/v1/quarantine")["data"] == []
    assert agent.stop() == 0


def test_sinks_are_listed_and_tried(agent_program: Make, centre: Centre) -> None:
    agent = agent_program(SINK.format(port=centre.port))
    agent.start()
    url = ("--url", agent.url)
    tried = _metricsmith("sink", "test", "centre", *url)
    assert tried.returncode == 0 and tried.stdout.startswith("centre: taken in ")
    assert ("metricsmith_sink_test", 1.0) in centre.taken
    unknown = _metricsmith("sink", "test", "center", *url)
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert 'got the sink "center", wanted centre (did you mean "centre"?)' in unknown.stderr
    header, *_ = shown_on(DOCS / "delivery.md", "metricsmith sink list").splitlines()
    assert alike(header, _metricsmith("sink", "list", *url).stdout)
    (listed,) = json.loads(_metricsmith("sink", "list", "--json", *url).stdout)
    assert (listed["name"], listed["type"], listed["state"]) == ("centre", "remote_write", "ok")
    assert _metricsmith("quarantine", "drop", "--all", *url).stdout == "nothing is in quarantine\n"
    assert _metricsmith("quarantine", "drop", "7-7", *url).stderr.startswith("error: 7-7: got")


def test_a_destination_that_refuses_everything_shows_and_fills_no_disk(
    agent_program: Make, centre: Centre
) -> None:
    only_bad = "  processors: [{{type: filter, keep: ['{{service=\"bad\"}}']}}]\n"
    agent = agent_program(SINK_AND_MORE.format(port=centre.port) + only_bad)
    agent.start()
    for number in range(8):
        agent.push({"a": float(number), "b": 1.0}, service="bad")
        dropped = 2 * number + 2
        eventually(lambda n=dropped: agent.get("/api/v1/sinks")["data"][0]["dropped_samples"] >= n)
    (told,) = agent.get("/status")["sinks"]
    assert (told["state"], told["last_success"], told["last_error"]) == ("refusing", None, "refused: 400")
    (warning,) = agent.get("/status")["warnings"]
    assert "sink centre" in warning and "metricsmith quarantine list --sink centre" in warning
    found = agent.get("/api/v1/quarantine")["data"]
    assert {(each["samples"], each["series"], each["metric"]) for each in found} == {(2, 2, "a")}
    assert len(found) < 5
    centre.refuses = ""
    assert _metricsmith("quarantine", "retry", "--sink", "centre", "--url", agent.url).returncode == 0
    agent.push({"a": 99.0}, service="bad")
    eventually(lambda: ("a", 99.0) in centre.taken)
    eventually(lambda: agent.get("/status")["warnings"] == [])


def test_a_sink_that_takes_only_the_journal_says_where_to_look(agent_program: Make) -> None:
    place = f"tcp://127.0.0.1:{free_port()}"
    agent = agent_program(f'\nsinks:\n- {{{{type: bus, name: plant, endpoint: "{place}"}}}}\n')
    agent.start()
    tried = _metricsmith("sink", "test", "plant", "--url", agent.url)
    assert tried.returncode == 1
    assert "plant: not taken: cannot be tried this way" in tried.stderr
    assert "look at `metricsmith sink list`" in tried.stderr


def test_a_killed_agent_goes_on_where_it_was(agent_program: Make, centre: Centre) -> None:
    agent = agent_program(SINK.format(port=centre.port))
    agent.start()
    for number in range(40):
        agent.push({"counted": float(number)})
        if number % 10 == 5:
            agent.kill()
            agent.start()
    eventually(lambda: {v for n, v in centre.taken if n == "counted"} == set(map(float, range(40))))


def test_a_sink_of_files_can_be_tried(agent_program: Make, tmp_path: Path) -> None:
    agent = agent_program(f'\nsinks:\n- {{{{type: file, name: archive, path: "{tmp_path}/files"}}}}\n')
    agent.start()
    tried = _metricsmith("sink", "test", "archive", "--url", agent.url)
    assert (tried.returncode, tried.stderr) == (0, "")
    said = tried.stdout.replace(f"{tmp_path}/files", "/var/lib/archive")
    assert alike(shown_on(DOCS / "files.md", "metricsmith sink test archive"), said), said
    (file,) = (tmp_path / "files").glob("*.json")
    assert '"name":"metricsmith_sink_test","labels":{"sink":"archive"},"value":1.0}' in file.read_text()
    assert agent.stop() == 0
