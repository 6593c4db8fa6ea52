"""A small HTTP server on one thread, for pages of an application's exporter.

Everything is bounded: connections, bytes of a request, the time that a request and the taking of its answer
may last. Its thread renders the pages, so that a slow page delays other readers and never the application.
"""

from __future__ import annotations

import logging
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 32
MAX_REQUEST_BYTES = 16_384
MAX_HEADERS = 100
REQUEST_S, ANSWER_S, IDLE_S = 5.0, 30.0, 90.0
_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Request:
    """A GET or HEAD request; header names are in lower case."""

    path: str
    query: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; `headers` come on top of those that every answer has."""

    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Response]


class BadRequest(Exception):
    """A request that is not answered; after it the connection is closed."""

    def __init__(self, status: int, why: str, reason: str = "request") -> None:
        self.status, self.why, self.reason = status, why, reason
        super().__init__(why)


class HttpServer:
    """Serves pages at one or more addresses, all from one thread."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._listening: list[socket.socket] = []
        self._connections: set[_Connection] = set()
        self._wake, self._woken = socket.socketpair()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self.refused: Counter[str] = Counter()
        """How many connections and requests were turned away, by reason."""
        for end in (self._wake, self._woken):
            end.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ, None)

    def listen(self, host: str, port: int, handler: Handler) -> int:
        """Serve a page at an address; return the port, which is chosen where 0 was asked for.

        Raises:
            OSError: the address cannot be used.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((host.strip("[]"), port))
            listening.listen(MAX_CONNECTIONS)
            listening.setblocking(False)
        except OSError:
            listening.close()
            raise
        self._listening.append(listening)
        self._selector.register(listening, selectors.EVENT_READ, handler)
        self._wake_up()
        return int(listening.getsockname()[1])

    def start(self) -> None:
        """Serve, in a daemon thread."""
        self._thread = threading.Thread(target=self._run, name="metricsmith-http", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Stop serving and close all sockets."""
        self._stopping = True
        self._wake_up()
        if self._thread is not None:
            self._thread.join(timeout_s)
        if self._thread is None or not self._thread.is_alive():
            self.abandon()

    def abandon(self) -> None:
        """Close this process's copies of all sockets, and nothing else: what a forked child has to do.

        Nothing is unregistered, for the parent shares what the selector watches.
        """
        for each in (*self._listening, *(c.socket for c in self._connections), self._wake, self._woken):
            with suppress(OSError):
                each.close()
        self._selector.close()
        self._connections.clear()

    def _wake_up(self) -> None:
        with suppress(OSError):
            self._wake.send(b"\0")

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._turn()
            except BaseException:  # this thread is ours, and its end would be an end without a word
                self.refused["defect"] += 1
                if self.refused["defect"] == 1:
                    log.exception("defect in the HTTP server of the exporter; further ones are only counted")
                time.sleep(0.1)

    def _turn(self) -> None:
        for key, _ in self._selector.select(self._patience()):
            if key.fileobj is self._woken:
                with suppress(OSError):
                    self._woken.recv(4096)
            elif isinstance(key.data, _Connection):
                self._advance(key.data)
            elif isinstance(key.fileobj, socket.socket):
                self._accept(key.fileobj, key.data)
        now = time.monotonic()
        for connection in [c for c in self._connections if c.deadline <= now]:
            if connection.received or connection.answer:
                self.refused["timeout"] += 1
            self._close(connection)

    def _patience(self) -> float | None:
        if not self._connections:
            return None
        return max(0.0, min(c.deadline for c in self._connections) - time.monotonic())

    def _accept(self, listening: socket.socket, handler: Handler) -> None:
        try:
            accepted, _ = listening.accept()
        except OSError:  # it was closed again; or there are no file descriptors left, which must not spin
            time.sleep(0.01)
            return
        if len(self._connections) >= MAX_CONNECTIONS:
            self._make_room()
        accepted.setblocking(False)
        connection = _Connection(accepted, handler)
        self._connections.add(connection)
        self._selector.register(accepted, selectors.EVENT_READ, connection)

    def _make_room(self) -> None:
        """Close the connection that is missed least: an idle one, else who asks or else takes slowest.

        Turning the new one away would let those who never finish a request keep all others out.
        """
        least = min(self._connections, key=lambda c: (bool(c.answer), not c.idle, c.deadline))
        if not least.idle:
            self.refused["connections"] += 1
        self._close(least)

    def _advance(self, connection: _Connection) -> None:
        try:
            if connection.answer:
                connection.write()
            else:
                connection.read()
            while not connection.answer and not connection.ended and connection.asked:
                connection.respond(self.refused)
                connection.write()
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            connection.ended = True
        if connection.ended:
            self._close(connection)
            return
        wanted = selectors.EVENT_WRITE if connection.answer else selectors.EVENT_READ
        self._selector.modify(connection.socket, wanted, connection)

    def _close(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        with suppress(KeyError, ValueError):
            self._selector.unregister(connection.socket)
        connection.socket.close()


class _Connection:
    """One client: what it has sent and what it has yet to be sent."""

    def __init__(self, accepted: socket.socket, handler: Handler) -> None:
        self.socket, self._handler = accepted, handler
        self.received = b""
        self.answer = memoryview(b"")
        self.served = self.ended = False
        self._last = False
        self.deadline = time.monotonic() + REQUEST_S

    def read(self) -> None:
        """Take what has come."""
        piece = self.socket.recv(MAX_REQUEST_BYTES)
        if not piece:
            self.ended = True
            return
        if self.served and not self.received:
            self.deadline = time.monotonic() + REQUEST_S
        self.received += piece

    @property
    def idle(self) -> bool:
        """Whether it was answered and has asked nothing since."""
        return self.served and not self.received and not self.answer

    @property
    def asked(self) -> bool:
        """Whether there is a request to answer, if only by refusing it for its size."""
        return _END in self.received or len(self.received) > MAX_REQUEST_BYTES

    def write(self) -> None:
        """Send as much as the client takes."""
        while self.answer:
            self.answer = self.answer[self.socket.send(self.answer) :]
        self.ended = self._last
        self.deadline = time.monotonic() + IDLE_S

    def respond(self, refused: Counter[str]) -> None:
        """Answer the first request of what was received."""
        head, _, self.received = self.received.partition(_END)
        only_head = head.startswith(b"HEAD ")
        try:
            request, keep = read_request(head)
            response = self._handler(request)
        except BadRequest as error:
            refused[error.reason] += 1
            response, keep = Response(f"{error.why}\n".encode(), status=error.status), False
        except BaseException:  # what a collector raises, time-outs of some libraries among it
            refused["page"] += 1
            if refused["page"] == 1:
                log.exception("a page of the exporter cannot be made; further times are only counted")
            response, keep = Response(b"the page cannot be made; the log says why\n", status=500), False
        self._last, self.served = not keep, True
        self.answer = memoryview(_head_of(response, keep) + (b"" if only_head else response.body))
        self.deadline = time.monotonic() + ANSWER_S


def read_request(head: bytes) -> tuple[Request, bool]:
    """Return a request and whether its connection stays open.

    Raises:
        BadRequest: not HTTP/1, not GET or HEAD, too large, or with a body.
    """
    line, *rest = head.decode("latin-1").split("\r\n")
    words = line.split(" ")
    if len(head) > MAX_REQUEST_BYTES or len(rest) > MAX_HEADERS:
        raise BadRequest(431, f"got a larger request, wanted at most {MAX_REQUEST_BYTES} bytes")
    if len(words) != 3 or not words[2].startswith("HTTP/1.") or not (line.isascii() and line.isprintable()):
        raise BadRequest(400, "got something else, wanted an HTTP/1.1 request")
    if words[0] not in ("GET", "HEAD"):
        raise BadRequest(405, f"got {words[0][:20]}, wanted GET or HEAD")
    headers = {}
    for each in rest:
        name, colon, value = each.partition(":")
        if not colon or name != name.strip():
            raise BadRequest(400, "got a malformed header")
        headers[name.lower()] = value.strip()
    if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
        raise BadRequest(400, "got a body, wanted none")
    path, _, query = words[1].partition("?")
    connection = headers.get("connection", "").lower()
    keep = "close" not in connection and (words[2] != "HTTP/1.0" or "keep-alive" in connection)
    return Request(path, query, headers), keep


def _head_of(response: Response, keep: bool) -> bytes:
    lines = [
        f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(response.body)}",
        f"Connection: {'keep-alive' if keep else 'close'}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        *(["Allow: GET, HEAD"] if response.status == 405 else []),
        *(f"{name}: {value}" for name, value in response.headers.items()),
    ]
    return "\r\n".join((*lines, "", "")).encode("latin-1")
