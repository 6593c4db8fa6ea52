"""Running commands as programs, and an HTTP server in the place of an agent."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from metricsmith.testing.commands import run_here

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def metricsmith() -> Run:
    """Run a command at 80 columns and return how it ended; keywords are environment variables."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "metricsmith", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=os.environ | {"COLUMNS": "80"} | environment,
        )

    return run


@pytest.fixture(scope="session")
def here() -> Run:
    """Run a command at 80 columns in this process, which has everything imported; as `metricsmith` else."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            for name, value in ({"COLUMNS": "80"} | environment).items():
                patch.setenv(name, value)
            code = run_here(*arguments)
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def api() -> Iterator[tuple[str, dict[str, Any]]]:
    """A server that answers queries with what a test puts in, and remembers what it was asked.

    It knows the metrics `names`, of which each has the `labels` with their values, and other `paths`.
    """
    state: dict[str, Any] = {"code": 200, "answer": {}, "asked": [], "names": [], "labels": {}, "paths": {}}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = self.rfile.read(int(self.headers["Content-Length"])).decode()
            state["asked"].append((self.path, dict(urllib.parse.parse_qsl(form))))
            self._send(state["code"], state["answer"])

        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            state["asked"].append((path, dict(urllib.parse.parse_qsl(query))))
            labels = state["labels"]
            answers = {f"/api/v1/label/{label}/values": values for label, values in labels.items()}
            answers |= {"/api/v1/label/__name__/values": state["names"], "/api/v1/labels": [*labels]}
            answers |= state["paths"]
            self._send(200, {"status": "success", "data": answers[path]})

        def _send(self, code: int, answer: Any) -> None:
            body = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            self.send_response(code)
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
