"""A local New Relic: its Metric and Event API with their limits and errors, and faults on demand."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from metricsmith.testing.newrelic_limits import BadRequest, Dropped, Point, read_events, read_metrics

MAX_BODY_BYTES = 1_000_000
MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one request: a status, a connection reset, or a long wait.

    `dies` takes what was sent, and breaks the connection before it answers.
    """

    kind: Literal["status", "reset", "dies", "slow"]
    status: int = 500
    retry_after: str | None = None
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it was answered; a status of 0 is none."""

    path: str
    status: int
    body_bytes: int


class NewRelicServer:
    """What was taken, and how the next request is answered. Safe to use from any thread.

    `fault` is asked for each request by its number, from 0. What New Relic
    would drop after its answer, and tell in an event, is in `dropped`.
    """

    def __init__(
        self, port: int, key: str, account: int, requests_per_minute: int, now_ms: Callable[[], int] | None
    ) -> None:
        self.port, self.key, self.account = port, key, account
        self.fault: Callable[[int], Fault | None] = lambda number: None
        self.points: list[Point] = []
        self.events: list[dict[str, Any]] = []
        self.dropped: list[str] = []
        self.requests: list[Request] = []
        self.lock = threading.Lock()
        self.now_ms = now_ms or (lambda: int(time.time() * 1000))
        self._requests_per_minute = requests_per_minute
        self._recent: list[float] = []
        self._number = 0

    @property
    def metrics_url(self) -> str:
        """The address of the Metric API."""
        return f"http://127.0.0.1:{self.port}/metric/v1"

    @property
    def events_url(self) -> str:
        """The address of the Event API, up to `/v1/accounts`."""
        return f"http://127.0.0.1:{self.port}"

    def named(self, name: str, **attributes: str) -> list[Point]:
        """Return the points of a metric that have some attributes, in the order in which they came."""
        with self.lock:
            found = [point for point in self.points if point.name == name]
        return [p for p in found if all(p.attributes.get(k) == v for k, v in attributes.items())]

    def next_fault(self) -> Fault | None:
        """Return what goes wrong with the request that has come."""
        with self.lock:
            number, self._number = self._number, self._number + 1
            now = time.monotonic()
            self._recent = [at for at in self._recent if now - at < MINUTE_S] + [now]
            if len(self._recent) > self._requests_per_minute:
                return Fault("status", 429, "1")
            return self.fault(number)

    def answer(self, path: str, headers: Any, body: bytes) -> tuple[int, dict[str, Any]]:
        """Take a request; return its status and answer."""
        events = f"/v1/accounts/{self.account}/events"
        if path not in ("/metric/v1", events):
            return 404, {"error": "no such path"}
        if headers.get("Api-Key") != self.key:
            return 403, {"error": "authentication"}
        if headers.get_content_type() != "application/json":
            return 415, {"error": "content type"}
        if len(body) > MAX_BODY_BYTES:
            return 413, {"error": "payload too large"}
        try:
            text = zlib.decompress(body, 31) if headers.get("Content-Encoding") == "gzip" else body
            payload = json.loads(text.decode())
            read = read_metrics if path == "/metric/v1" else read_events
            found: list[Any] = list(read(payload, self.now_ms()))
        except (BadRequest, ValueError, zlib.error) as error:
            return 400, {"error": str(error)}
        with self.lock:
            for one in found:
                if isinstance(one, Dropped):
                    self.dropped.append(str(one))
                elif isinstance(one, Point):
                    self.points.append(one)
                else:
                    self.events.append(one)
        return (202, {"requestId": "0"}) if path == "/metric/v1" else (200, {"success": True})

    def note(self, path: str, status: int, body_bytes: int) -> None:
        """Keep how a request was answered."""
        with self.lock:
            self.requests.append(Request(path, status, body_bytes))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    far: NewRelicServer

    def do_POST(self) -> None:
        if "Content-Length" not in self.headers:
            self._reply(411, {"error": "length required"}, 0)
            return
        body = self.rfile.read(int(self.headers["Content-Length"]))
        fault = self.far.next_fault()
        if fault is not None and fault.kind == "status":
            self._reply(fault.status, {"error": "fault"}, len(body), fault.retry_after)
        elif fault is not None and fault.kind == "reset":
            self._reset(len(body))
        else:
            if fault is not None and fault.kind == "slow":
                time.sleep(fault.wait_s)
            status, answer = self.far.answer(self.path, self.headers, body)
            if fault is not None and fault.kind == "dies":
                self._reset(len(body))
            else:
                self._reply(status, answer, len(body))

    def do_GET(self) -> None:
        self._reply(405, {"error": "method"}, 0)

    def _reply(self, status: int, answer: Any, body_bytes: int, retry_after: str | None = None) -> None:
        self.far.note(self.path, status, body_bytes)
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        if retry_after is not None:
            self.send_header("Retry-After", retry_after)
        self.end_headers()
        self.wfile.write(text)

    def _reset(self, body_bytes: int) -> None:
        self.far.note(self.path, 0, body_bytes)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone, or was reset, is no error."""


@contextmanager
def newrelic_server(
    port: int = 0,
    key: str = "a-licence-key",
    account: int = 7,
    requests_per_minute: int = 100_000,
    now_ms: Callable[[], int] | None = None,
) -> Iterator[NewRelicServer]:
    """Run a local New Relic on loopback."""
    far = NewRelicServer(port, key, account, requests_per_minute, now_ms)

    class Handler(_Handler):
        pass

    Handler.far = far
    server = _Server(("127.0.0.1", port), Handler)
    far.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield far
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
