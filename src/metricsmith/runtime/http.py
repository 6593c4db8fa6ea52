"""The HTTP server: uvicorn on the agent's own event loop."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from metricsmith.errors import MetricsmithError

STOP_LIMIT_S = 5
MOST_CONNECTIONS = 256


class ListenError(MetricsmithError):
    """The address cannot be listened on."""


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # signals belong to the agent, which stops its parts in order


class _Patient(HttpToolsProtocol):
    """Closes a connection whose request and answer take too long together, or that is silent."""

    limit_s = 30.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._deadline = self.loop.call_later(self.limit_s, transport.abort)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._deadline.cancel()
        self._deadline = self.loop.call_later(self.limit_s, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        super().connection_lost(exc)


class HttpServer:
    """Serves one ASGI application until stopped.

    With `limit_s`, the longest that a request may take in all, connections are limited in number, too.
    """

    def __init__(self, app: ASGIApp, host: str, port: int, limit_s: float | None = None) -> None:
        patient = type("_Limited", (_Patient,), {"limit_s": limit_s})
        self._config = uvicorn.Config(
            app,
            http="auto" if limit_s is None else patient,
            limit_concurrency=None if limit_s is None else MOST_CONNECTIONS,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=STOP_LIMIT_S,
            server_header=False,
            h11_max_incomplete_event_size=64 << 10,
        )
        self._server = _Server(self._config)
        self._task: asyncio.Task[None] | None = None
        self._socket = listen(host, port)

    def connections(self) -> int:
        """Return the number of open connections."""
        return len(self._server.server_state.connections)

    @property
    def port(self) -> int:
        """The port, chosen by the system when the configuration says 0."""
        port: int = self._socket.getsockname()[1]
        return port

    def start(self) -> None:
        """Begin to answer; the socket has listened since construction."""
        self._task = asyncio.create_task(self._server.serve([self._socket]), name="http")

    async def stop(self) -> None:
        """Stop listening, let running requests end within STOP_LIMIT_S."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        self._socket.close()


def listen(host: str, port: int, setting: str = "server.listen") -> socket.socket:
    """Return a listening socket; port 0 takes a free one. `setting` is where the user can change it.

    Raises:
        ListenError: the address is taken or not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        hint = (
            f"another program uses it; set {setting}"
            if error.errno == errno.EADDRINUSE
            else f"check {setting}"
        )
        raise ListenError(f"cannot listen on {host}:{port}: {error.strerror} ({hint})") from None
    listener.setblocking(False)
    return listener
