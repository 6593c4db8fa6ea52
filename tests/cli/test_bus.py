"""`metricsmith bus`, `topics` and `tail` as programs, with publishers that are bare ZeroMQ sockets.

Commands and outputs of docs/bus-tools.md are of what is tested here.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from metricsmith.testing.services import free_port
from metricsmith.testing.terminal import alike, shown_on

DOCS = Path(__file__).parents[2] / "docs"

MESSAGE = {
    "service": "s",
    "timestamp": "2026-01-01T00:00:00Z",
    "metrics": {"level": 1.5, "rows": 2},
    "tags": {"line": "a"},
}


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a command; it is ended with the test."""
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "metricsmith", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"COLUMNS": "80"},
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def publisher() -> Iterator[Callable[[str], zmq.Socket[bytes]]]:
    """Open a publisher that has heard of a subscription to everything."""
    context = zmq.Context()
    opened: list[zmq.Socket[bytes]] = []

    def make(endpoint: str) -> zmq.Socket[bytes]:
        socket = context.socket(zmq.XPUB)
        opened.append(socket)
        socket.rcvtimeo = 60_000
        socket.connect(endpoint)
        assert socket.recv() == b"\x01"
        return socket

    yield make
    for socket in opened:
        socket.close(linger=0)
    context.term()


def publish(socket: zmq.Socket[bytes], document: Any = MESSAGE, topic: bytes = b"metrics.s") -> None:
    socket.send_multipart([topic, document if isinstance(document, bytes) else json.dumps(document).encode()])


@pytest.fixture
def endpoint() -> str:
    return f"tcp://127.0.0.1:{free_port()}"


def test_forward_and_tail(start, publisher, endpoint):
    outgoing = f"tcp://127.0.0.1:{free_port()}"
    forward = start("bus", "forward", "--in", endpoint, "--out", outgoing)
    told = shown_on(DOCS / "bus-tools.md", "metricsmith bus forward").splitlines()
    first = forward.stderr.readline()
    assert endpoint in first and alike(told[0], first)
    tail = start("tail", "--connect", outgoing, "--count", "3", "--json")
    assert outgoing in tail.stderr.readline()
    socket = publisher(endpoint)
    publish(socket)
    publish(socket, b"no json", b"metrics.x")
    publish(socket, {"a": 1}, b"other")
    shown = [json.loads(line) for line in tail.communicate(timeout=60)[0].splitlines()]
    assert shown[0] == {"topic": "metrics.s", "message": MESSAGE}
    assert shown[1]["topic"] == "metrics.x" and shown[1]["problem"].startswith("not JSON")
    assert shown[2] == {"topic": "other", "message": {"a": 1}}
    assert tail.returncode == 0
    forward.send_signal(signal.SIGTERM)
    last = forward.communicate(timeout=60)[1]
    assert last.startswith("3 messages forwarded, ") and alike(told[1].removeprefix("^C"), last)
    assert forward.returncode == 0


def test_tail_for_people_cannot_write_to_the_terminal(start, publisher, endpoint):
    tail = start("tail", "metrics.*", "--bind", endpoint, "--count", "2")
    tail.stderr.readline()
    socket = zmq.Context.instance().socket(zmq.XPUB)
    socket.rcvtimeo = 60_000
    socket.connect(endpoint)
    assert socket.recv() == b"\x01metrics."
    publish(socket)
    publish(socket, {"metrics": {"\x1b[2J\x9b": 1}, "tags": [], "service": "s"})
    out = tail.communicate(timeout=60)[0]
    socket.close(linger=0)
    zmq.Context.instance().term()
    assert out.splitlines() == [
        "2026-01-01T00:00:00Z metrics.s level=1.5 rows=2 line:a",
        r"now metrics.s \x1b[2J\x9b=1",
    ]


def test_topics_that_come_now(start, publisher, endpoint):
    topics = start("topics", "--bind", endpoint, "--for", "2s", "--json")
    socket = publisher(endpoint)
    for _ in range(3):
        publish(socket)
    publish(socket, b"12345", b"metrics.x")
    out = topics.communicate(timeout=60)[0]
    assert [(t["topic"], t["messages"]) for t in json.loads(out)] == [("metrics.s", 3), ("metrics.x", 1)]
    assert topics.returncode == 0


def test_topics_that_an_agent_has_seen(api, metricsmith):
    url, state = api
    seen = {"messages": 1200, "size_bytes": 4096, "rate": 2.5, "last_ms": 1_700_000_000_000}
    state["labels"] = {}
    state["paths"] = {"/api/v1/bus/topics": [{"topic": "metrics.a", **seen}, {"topic": "b", **seen}]}
    shown = metricsmith("topics", "metrics.*", "--url", url)
    assert shown.returncode == 0, shown.stderr
    assert alike(shown_on(DOCS / "bus-tools.md", "metricsmith topics").splitlines()[0], shown.stdout)
    assert shown.stdout.splitlines()[1].split() == ["metrics.a", "1,200", "2.50", "4.0KB", "22:13:20Z"]
    assert len(shown.stdout.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("topics", "--bind", "ENDPOINT", "--for", "0s"), 1, "nobody publishes"),
        (("tail", "--bind", "ENDPOINT", "--for", "100ms"), 1, "no message came"),
        (("tail", "--connect", "nowhere"), 2, "tcp://127.0.0.1:11001"),
        (("tail", "--connect", "ENDPOINT", "--bind", "ENDPOINT"), 2, "wanted one of them"),
        (("tail", "--for", "soon"), 2, "--for"),
        (("tail", "--server-key", "x"), 2, "--secret-key-file"),
        (("tail", "--connect", "ENDPOINT", "--secret-key-file", "/none"), 2, "cannot be read"),
        (("bus", "forward", "--in", "ENDPOINT", "--out", "ENDPOINT"), 1, "cannot listen at"),
        (("topics", "--url", "127.0.0.1:1"), 5, "127.0.0.1:1"),
    ],
)
def test_what_goes_wrong_is_told(metricsmith, endpoint, arguments, code, words):
    ended = metricsmith(*(endpoint if a == "ENDPOINT" else a for a in arguments))
    assert ended.returncode == code, ended.stderr
    assert words in " ".join(ended.stderr.replace("│", " ").split())


def test_keys_are_written_once(metricsmith, tmp_path):
    file = tmp_path / "keys"
    made = metricsmith("bus", "keys", str(file))
    assert (made.returncode, len(made.stdout.strip())) == (0, 40)
    assert made.stdout.strip() in file.read_text()
    assert "File exists" in metricsmith("bus", "keys", str(file)).stderr
