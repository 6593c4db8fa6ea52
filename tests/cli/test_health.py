"""`metricsmith health`: an exit code for those that restart what does not live."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

Pages = dict[str, tuple[int, Any]]

WELL = {"status": "healthy", "ready": True, "checks": []}
FULL = {"status": "unhealthy", "ready": False, "reason": "journal: disk full", "checks": []}


@pytest.fixture
def pages() -> Iterator[Callable[[Pages], str]]:
    """Serve pages by their path, each with its status, and return the address."""
    served: Pages = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code, answer = served[self.path]
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

    def serve(found: Pages) -> str:
        served.update(found)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield serve
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("options", "path", "code", "answer", "exit_code", "said"),
    [
        ([], "/health", 200, WELL, 0, "ready\n"),
        ([], "/health", 200, FULL, 0, "lives, not ready: journal: disk full\n"),
        ([], "/health", 503, FULL, 1, "unhealthy: journal: disk full\n"),
        (["--ready"], "/ready", 200, WELL, 0, "ready\n"),
        (["--ready"], "/ready", 503, FULL, 1, "not ready: journal: disk full\n"),
    ],
)
def test_it_says_how_the_agent_is(
    here: Any, pages: Any, options: list[str], path: str, code: int, answer: Any, exit_code: int, said: str
) -> None:
    done = here("health", *options, METRICSMITH_URL=pages({path: (code, answer)}))
    assert (done.returncode, done.stdout + done.stderr) == (exit_code, said)


def test_nobody_there_and_somebody_else_are_told_apart(here: Any, pages: Any) -> None:
    other = here("health", "--url", pages({"/health": (200, "hello")}))
    assert (other.returncode, "is no agent: got HTTP 200" in other.stderr) == (5, True)
    gone = here("health", "--url", "http://127.0.0.1:1")
    assert (gone.returncode, "no agent answers at http://127.0.0.1:1" in gone.stderr) == (5, True)
