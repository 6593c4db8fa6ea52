"""Commands answer in one clear line, with the documented exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from metricsmith.cli.query import _step, _time

VECTOR = {
    "resultType": "vector",
    "result": [{"metric": {"__name__": "up", "job": "shop"}, "value": [1.5, "1"]}],
}
MATRIX = {
    "resultType": "matrix",
    "result": [{"metric": {"job": "shop"}, "values": [[60, "1"], [120, "+Inf"], [180, "3"]]}],
}


def metricsmith(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "metricsmith", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def api() -> Iterator[tuple[str, dict[str, Any]]]:
    """An HTTP server that answers what a test puts in and remembers what it was asked."""
    state: dict[str, Any] = {"code": 200, "answer": {}, "asked": []}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = self.rfile.read(int(self.headers["Content-Length"])).decode()
            state["asked"].append((self.path, dict(urllib.parse.parse_qsl(form))))
            body = json.dumps(state["answer"]).encode()
            self.send_response(state["code"])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", state
    server.shutdown()
    server.server_close()
    thread.join()


def test_version_and_help_name_the_exit_codes() -> None:
    assert metricsmith("version").stdout.startswith("metricsmith 0.")
    shown = metricsmith("--help").stdout
    assert "Exit codes: 0 done" in shown
    assert "--install-completion" in shown


def test_check_config_prints_every_mistake_and_exits_3(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("servr: {}\nservice: {interval: 15}\n")
    done = metricsmith("check-config", str(bad))
    assert done.returncode == 3
    assert done.stderr.splitlines() == [
        f'error: {bad}:1: servr: unknown key (did you mean "server"?)',
        f"error: {bad}:2: service.interval: got 15, wanted a duration with its unit, such as 15s",
    ]
    good = tmp_path / "good.yaml"
    good.write_text("service: {interval: 15s}\n")
    assert (
        metricsmith("check-config", str(good))
        .stdout.strip()
        .endswith("ok (standalone; storage embedded; 0 sources, 0 processors, 0 sinks)")
    )


def test_query_shows_a_table_or_json(api: tuple[str, dict[str, Any]]) -> None:
    url, state = api
    state["answer"] = {"status": "success", "data": VECTOR, "warnings": ["careful"]}
    done = metricsmith("query", "up", "--url", url)
    assert done.returncode == 0
    assert 'up{job="shop"}' in done.stdout
    assert "careful" in done.stderr
    done = metricsmith("query", "up", "--url", url, "--json")
    assert json.loads(done.stdout) == VECTOR
    assert state["asked"][0][0] == "/api/v1/query"


def test_range_query_is_plotted(api: tuple[str, dict[str, Any]]) -> None:
    url, state = api
    state["answer"] = {"status": "success", "data": MATRIX}
    done = metricsmith("query", "up", "--start", "0", "--end", "240", "--step", "1m", "--url", url)
    assert done.returncode == 0, done.stderr
    assert '{job="shop"}' in done.stdout
    assert "00:01:00" in done.stdout
    path, form = state["asked"][0]
    assert (path, form["step"]) == ("/api/v1/query_range", "60")


def test_refused_query_exits_4_and_absent_agent_5(api: tuple[str, dict[str, Any]]) -> None:
    url, state = api
    state["code"], state["answer"] = 400, {"status": "error", "errorType": "bad_data", "error": "1:4: no"}
    done = metricsmith("query", "sum)", "--url", url)
    assert (done.returncode, done.stderr.strip()) == (4, "error: 1:4: no")
    done = metricsmith("query", "up", "--url", "http://127.0.0.1:1")
    assert done.returncode == 5
    assert done.stderr.startswith("error: no agent answers at http://127.0.0.1:1")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("-10m", 400.0),
        ("12.5", 12.5),
        ("1970-01-01T00:01:00", 60.0),
        ("1970-01-01T01:01:00+01:00", 60.0),
        ("1970-01-01T00:01:00Z", 60.0),
    ],
)
def test_times_are_utc_unless_they_say_otherwise(text: str, wanted: float) -> None:
    assert _time(text, 1000.0, "--start") == wanted


def test_default_step_gives_a_readable_plot() -> None:
    assert _step(None, 3600) == 30
    assert _step(None, 5) == 1
    assert _step("1m30s", 5) == 90


@pytest.mark.parametrize(
    "arguments",
    [
        ("query", "up", "--start", "soon"),
        ("query", "up", "--start", "0", "--step", "x"),
        ("loadgen", "x", "--for", "y"),
    ],
)
def test_wrong_usage_exits_2_without_traceback(arguments: tuple[str, ...]) -> None:
    done = metricsmith(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "wanted" in done.stderr
