"""A sink's surroundings, and servers that answer as a test says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from metricsmith.contracts import Context, Delivery
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.clock import SystemClock
from metricsmith.model.labels import encode_labels
from metricsmith.model.metadata import Metadata
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry


class Here:
    """What a sink is given: series, and deliveries of them."""

    def __init__(self) -> None:
        self.series, self.telemetry = SeriesTable(), Telemetry()
        self.context = Context("far", self.series, self.telemetry, SystemClock())
        self._number = 0

    def layout(self, series: list[dict[str, str]], stream: str | None = "s", **metadata: Metadata) -> Layout:
        ids = self.series.intern_many(encode_labels(labels) for labels in series)
        return Layout(ids, stream, metadata)

    def batch(self, layout: Layout, time_ms: Any, values: Any, stale: Any = None) -> Batch:
        times = time_ms if isinstance(time_ms, int) else np.array(time_ms, dtype=np.int64)
        marks = None if stale is None else np.array(stale, dtype=np.bool_)
        return Batch(layout, times, np.array(values, dtype=np.float64), marks)

    def delivery(self, *batches: Batch) -> Delivery:
        self._number += len(batches)
        return Delivery(list(range(self._number - len(batches), self._number)), batches)


@pytest.fixture
def here() -> Here:
    return Here()


@pytest.fixture(scope="session")
def new_here() -> type[Here]:
    """For property tests: each example its own."""
    return Here


class Peer:
    """A server that keeps what it is sent and answers as told."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.answer: Callable[[], web.Response] = lambda: web.Response(status=204)
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.read())
        self.headers.append(dict(request.headers))
        return self.answer()


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    """A server on loopback."""
    found = Peer()
    app = web.Application(client_max_size=64 << 20)
    app.router.add_route("*", "/{path:.*}", found.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}/write"
    yield found
    await runner.cleanup()


@pytest.fixture
async def closing() -> AsyncIterator[Callable[[Any], Any]]:
    """Close sinks at the end: `closing(sink)` returns it."""
    opened: list[Callable[[], Awaitable[None]]] = []

    def keep(sink: Any) -> Any:
        opened.append(sink.close)
        return sink

    yield keep
    for close in opened:
        await close()
