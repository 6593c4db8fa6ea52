"""Serves what collectors give as a page that Prometheus scrapes."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from metricsmith.runtime.collectors import CollectorSession, Reading, with_report
from metricsmith.runtime.http import HttpServer

PATH = "/metrics"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
REQUEST_LIMIT_S = 60.0
"""Request, collection and answer together; a longer one is cut off."""


class Page:
    """The page: collects when it is asked for, unless what it has is younger than `keep_s`."""

    def __init__(
        self, session: CollectorSession, keep_s: float, report: bool, tell: Callable[[Reading], None]
    ) -> None:
        self._session, self._keep_s, self._report, self._tell = session, keep_s, report, tell
        self._body, self._since_s = b"", -float("inf")

    def app(self) -> Starlette:
        """Return the application."""
        return Starlette(routes=[Route(PATH, self._metrics), Route("/", self._home)])

    async def _metrics(self, request: Request) -> Response:
        if time.monotonic() - self._since_s >= self._keep_s:
            reading = await self._session.read()
            self._tell(reading)
            self._body = (with_report(reading) if self._report else reading).exposition()
            self._since_s = time.monotonic()
        return Response(self._body, media_type=CONTENT_TYPE)

    async def _home(self, request: Request) -> Response:
        return PlainTextResponse(f"Metrics are at {PATH}\n")


async def serve(page: Page, host: str, port: int, ready: Callable[[int], None]) -> None:
    """Serve until SIGINT or SIGTERM; `ready` is told the port.

    Raises:
        ListenError: the address cannot be had.
    """
    server = HttpServer(page.app(), host, port, REQUEST_LIMIT_S)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    server.start()
    ready(server.port)
    await stop.wait()
    await server.stop()
