from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator

import pytest

from metricsmith.sdk.export.http_server import Handler, HttpServer

Serve = Callable[[Handler], "tuple[HttpServer, int]"]
Ask = Callable[..., http.client.HTTPResponse]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve a page on loopback; return the server and its port."""
    servers = []

    def start(handler: Handler) -> tuple[HttpServer, int]:
        server = HttpServer()
        servers.append(server)
        port = server.listen("127.0.0.1", 0, handler)
        server.start()
        return server, port

    yield start
    for server in servers:
        server.stop()
