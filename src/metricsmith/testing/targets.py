"""Targets to scrape: an obedient one whose page a test changes, and ones that behave badly."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SCRAPE_LIMIT_S = 60.0
Behaviour = Callable[[BaseHTTPRequestHandler, threading.Event], None]


@dataclass
class Target:
    """A /metrics page whose text a test may change; `behave` replaces how it is served."""

    port: int
    text: str = ""
    behave: Behaviour | None = None
    served: int = 0
    closing: threading.Event = field(default_factory=threading.Event)
    changed: threading.Condition = field(default_factory=threading.Condition)
    host: str = "127.0.0.1"

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/metrics"

    def source(self, name: str = "shop", interval: str = "200ms") -> str:
        """Return the line of a source that scrapes this target, in the form that AgentProgram fills in."""
        return f'- {{{{type: scrape, name: {name}, interval: {interval}, targets: ["{self.url}"]}}}}\n'

    def wait_for_scrapes(self, count: int) -> None:
        """Return after `count` more pages have been asked for and served."""
        with self.changed:
            wanted = self.served + count
            there = self.changed.wait_for(lambda: self.served >= wanted, SCRAPE_LIMIT_S)
            assert there, (
                f"{wanted - self.served} of {count} scrapes did not come within {SCRAPE_LIMIT_S:g} s"
            )


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024  # connections beyond the usual five would wait for seconds to be tried again


@contextmanager
def running_target(
    text: str = "", behave: Behaviour | None = None, host: str = "127.0.0.1"
) -> Iterator[Target]:
    """Serve a target on loopback until the block ends."""
    found = Target(0, text, behave, host=host)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            try:
                (found.behave or _serve_page)(self, found.closing)
            except OSError:  # the scraper has had enough
                self.close_connection = True
            with found.changed:
                found.served += 1
                found.changed.notify_all()

        do_POST = do_GET  # noqa: N815 - the name that the base class calls

        def log_message(self, *_: object) -> None:
            pass

    def _serve_page(handler: BaseHTTPRequestHandler, _closing: threading.Event) -> None:
        body = found.text.encode()
        _head(handler, ("Content-Length", str(len(body))))
        handler.wfile.write(body)

    server = _Server((host, 0), Handler)
    found.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        found.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def silent(handler: BaseHTTPRequestHandler, closing: threading.Event) -> None:
    """Take the request and never answer."""
    closing.wait()
    handler.close_connection = True


def trickling(handler: BaseHTTPRequestHandler, closing: threading.Event) -> None:
    """Answer at once and then send a byte now and then, for ever."""
    _head(handler, ("Content-Length", str(1 << 20)))
    while not closing.wait(0.05):
        handler.wfile.write(b"#")


def endless(handler: BaseHTTPRequestHandler, closing: threading.Event) -> None:
    """Send samples without end, as fast as they are taken."""
    _head(handler, ("Transfer-Encoding", "chunked"))
    lines = b'flood{n="0123456789"} 1\n' * 4096
    while not closing.is_set():
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(lines), lines))


@cache
def _bomb() -> bytes:
    return gzip.compress(b"# " + bytes(1 << 28), 9)


def gzip_bomb(handler: BaseHTTPRequestHandler, _closing: threading.Event) -> None:
    """Send a quarter of a megabyte that becomes a quarter of a gigabyte."""
    bomb = _bomb()
    _head(handler, ("Content-Encoding", "gzip"), ("Content-Length", str(len(bomb))))
    handler.wfile.write(bomb)


def _head(handler: BaseHTTPRequestHandler, *headers: tuple[str, str]) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "text/plain; version=0.0.4")
    for name, value in headers:
        handler.send_header(name, value)
    handler.end_headers()
