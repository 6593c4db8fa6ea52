"""A real agent as a program of its own, and a small target for it to scrape."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from metricsmith.testing.services import free_port


@dataclass
class AgentProgram:
    """An agent started from a configuration text; `{port}` and `{data}` in it are filled in."""

    folder: Path
    config: str
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def config_file(self) -> Path:
        return self.folder / "metricsmith.yaml"

    def write_config(self, config: str) -> None:
        self.config_file.write_text(config.format(port=self.port, data=self.folder / "data"))

    def start(self) -> None:
        """Start and return when the agent says on its log that it listens."""
        self.write_config(self.config)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("METRICSMITH")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "metricsmith", "run", "-c", str(self.config_file)],
            stderr=subprocess.PIPE,
            env=environment,
        )
        self.wait_for_log(b"listens on")
        # The pipe must be drained, or a talkative agent would block.
        threading.Thread(target=self._drain, args=(self.process,), daemon=True).start()

    def wait_for_log(self, text: bytes) -> bytes:
        assert self.process is not None
        assert self.process.stderr is not None
        seen = b""
        for line in self.process.stderr:
            seen += line
            if text in line:
                return line
        raise AssertionError(f"the agent ended before it logged {text!r}: {seen.decode()}")

    def kill(self) -> None:
        """Kill it as a power failure of the process would: no handler runs."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Stop it in order and return its exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(30)
        assert self.process.stderr is not None
        self.process = None
        return code

    @staticmethod
    def _drain(process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        with process.stderr:
            for _ in process.stderr:
                pass

    def get(self, path: str, **parameters: str) -> Any:
        query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
        with urllib.request.urlopen(f"{self.url}{path}{query}", timeout=30) as answer:
            return json.loads(answer.read())

    def post(self, path: str, body: Any) -> Any:
        data = json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def query(self, expression: str, time_s: float | None = None) -> list[dict[str, Any]]:
        parameters = {"query": expression} | ({} if time_s is None else {"time": str(time_s)})
        result: list[dict[str, Any]] = self.get("/api/v1/query", **parameters)["data"]["result"]
        return result


@dataclass
class Target:
    """A /metrics page whose text a test may change; `scraped` is set at every request."""

    port: int
    text: str = ""
    scraped: threading.Event = field(default_factory=threading.Event)
    scrapes: int = 0

    def wait_for_scrapes(self, count: int) -> None:
        """Return after `count` more scrapes have begun."""
        wanted = self.scrapes + count
        while self.scrapes < wanted:
            self.scraped.clear()
            assert self.scraped.wait(30), "nobody scraped for 30 s"


@contextmanager
def running_target() -> Iterator[Target]:
    """Serve a target on loopback until the block ends."""
    found = Target(0)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            found.scrapes += 1
            body = found.text.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            found.scraped.set()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()
    thread.join()
