"""A server that takes metrics as OCI Monitoring does: signed, within its limits; it fails when told to."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from metricsmith.testing.oci_rules import MAX_BODY_BYTES, Point, Refused, points_of, read_call
from metricsmith.testing.oci_signature import ApiKey, NotSigned, check_signature

METRICS_PATH = "/20180401/metrics"
COMPARTMENTS_PATH = "/20160918/compartments"
COMPARTMENTS_IN_A_PAGE = 2
CALLS_PER_SECOND = 50
_NOT_FOUND = "Authorization failed or requested resource not found."


@dataclass(frozen=True, slots=True)
class Fault:
    """How one call goes wrong: an answer, or a reset connection where `status` is 0.

    `taken`: the points are kept all the same, the answer is what is lost.
    `wait`: seconds before that happens; a right answer may be late, too: status 200.
    `cut`: the answer breaks off in its middle.
    """

    status: int = 0
    code: str = ""
    message: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    taken: bool = False
    wait: float = 0.0
    cut: bool = False


@dataclass
class OciServer:
    """What the service got, and how it is to behave. Safe to use from any thread.

    `tokens` are the public keys that go with security tokens. `fault` is
    called with the number of each call, from 0. Rate limits count
    with `calls_per_second`; None is no limit. `queries` makes it the endpoint
    that answers queries, where nothing is posted. `ahead_s` is how much its
    clock is ahead of this machine's.
    """

    key: ApiKey = field(default_factory=ApiKey.make)
    tokens: dict[str, Any] = field(default_factory=dict)
    calls_per_second: int | None = CALLS_PER_SECOND
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    fault: Callable[[int], Fault | None] = lambda number: None
    refuse: Callable[[dict[str, Any]], str] = lambda metric: ""
    queries: bool = False
    ahead_s: float = 0.0
    compartments: list[dict[str, Any]] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    calls: int = 0
    largest_call: int = 0
    problems: list[str] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    port: int = 0
    _server: ThreadingHTTPServer | None = None
    _thread: threading.Thread | None = None
    _tokens: float = 0.0
    _tokens_at: float = 0.0

    @property
    def url(self) -> str:
        """Its address, the same after a restart."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def keys(self) -> dict[str, Any]:
        """The public keys that it knows, by the name that signatures give them."""
        of_tokens = {f"ST${token}": key for token, key in self.tokens.items()}
        return {self.key.key_id: self.key.private.public_key(), **of_tokens}

    def __enter__(self) -> OciServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen, on the port of before if there was one."""
        self._server = _Server(("127.0.0.1", self.port), _handler(self))
        self.port = self._server.server_address[1]
        self._tokens, self._tokens_at = float(self.calls_per_second or 0), time.monotonic()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Listen no more, and reset the connections that are open."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None

    def streams(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], dict[int, float]]:
        """Return value by time of each stream; a point that came twice is there once."""
        found: dict[Any, dict[int, float]] = {}
        with self.changed:
            for point in self.points:
                found.setdefault(point.stream, {})[point.time_ms] = point.value
        return found

    def wait_for(self, true: Callable[[], bool], limit_s: float = 30.0) -> None:
        """Return once something is true of what was got."""
        with self.changed:
            assert self.changed.wait_for(true, limit_s), (
                f"not within {limit_s:g} s; problems: {self.problems}"
            )

    def post(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any, Fault]:
        """Return status, answer and fault of a call."""
        with self.changed:
            number, self.calls = self.calls, self.calls + 1
        fault = self.fault(number) or Fault(200)
        status, answer = fault.status, _error(fault.code, fault.message)
        if fault.taken or fault.status == 200:
            judged, judgement = self._judge(path, headers, body)
            if fault.status == 200:
                status, answer = judged, judgement
        with self.changed:
            self.changed.notify_all()
        return status, answer, fault

    def _judge(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        try:
            check_signature("POST", path, headers, body, self.keys, time.time() + self.ahead_s)
            if path != METRICS_PATH or self.queries:
                raise Refused(404, "NotAuthorizedOrNotFound", _NOT_FOUND)
            self._count_call()
            return 200, self._take(read_call(body))
        except NotSigned as error:
            status, code = 401, "NotAuthenticated"
            message = str(error)
        except Refused as error:
            status, code, message = error.status, error.code, error.message
        with self.changed:
            self.problems.append(f"{status} {message}")
        return status, _error(code, message)

    def _count_call(self) -> None:
        if self.calls_per_second is None:
            return
        with self.changed:
            now = time.monotonic()
            refilled = self._tokens + (now - self._tokens_at) * self.calls_per_second
            self._tokens, self._tokens_at = min(refilled, float(self.calls_per_second)), now
            if self._tokens < 1:
                raise Refused(429, "TooManyRequests", "Tenancy request rate limit exceeded")
            self._tokens -= 1

    def _take(self, metrics: list[dict[str, Any]]) -> dict[str, Any]:
        failed: list[dict[str, Any]] = []
        taken: list[Point] = []
        for metric in metrics:
            found = self.refuse(metric) or points_of(metric, self.now_ms())
            if isinstance(found, str):
                failed.append({"message": found, "metricData": metric})
            else:
                taken += found
        with self.changed:
            self.points += taken
            self.largest_call = max(self.largest_call, len(metrics))
            self.problems += (f"failed: {each['message']}" for each in failed)
        if not taken:  # without batchAtomicity, one at least must pass
            raise Refused(400, "InvalidParameter", str(failed[0]["message"]))
        return {"failedMetricsCount": len(failed), "failedMetrics": failed}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, *args: Any) -> None:
        self.connections: set[socket.socket] = set()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        super().server_close()
        for connection in list(self.connections):
            _reset(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that the other side, or we, have broken off."""


def _handler(found: OciServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(min(length, 2 * MAX_BODY_BYTES))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, answer, fault = found.post(self.path, headers, body)
            time.sleep(fault.wait)
            if not status:
                self.close_connection = True
                _reset(self.connection)
                return
            self._answer(status, answer, fault.headers, fault.cut)

        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            try:
                check_signature("GET", self.path, headers, b"", found.keys, time.time() + found.ahead_s)
            except NotSigned as error:
                self._answer(401, _error("NotAuthenticated", str(error)), ())
                return
            path, _, query = self.path.partition("?")
            if path == COMPARTMENTS_PATH:
                begin = int(parse_qs(query).get("page", ["0"])[0])
                end = begin + COMPARTMENTS_IN_A_PAGE
                more = (("opc-next-page", str(end)),) if found.compartments[end:] else ()
                self._answer(200, found.compartments[begin:end], more)
            else:
                self._answer(404, _error("NotAuthorizedOrNotFound", "not found"), ())

        def _answer(
            self, status: int, answer: Any, headers: tuple[tuple[str, str], ...], cut: bool = False
        ) -> None:
            body = json.dumps(answer).encode()
            self.send_response(status)
            for name, value in (
                *headers,
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(body))),
            ):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if cut else body)
            if cut:
                self.close_connection = True

        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string(time.time() + found.ahead_s if timestamp is None else timestamp)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _error(code: str, message: str) -> dict[str, str]:
    return {"code": code, "message": message}


def _reset(connection: socket.socket) -> None:
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RD)
        connection.close()
    except OSError:  # it is closed already
        pass
