"""A bus between parts of ours and bare ZeroMQ sockets, on free loopback ports."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import numpy as np
import pytest
import zmq

from metricsmith.contracts import Context, Delivery
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.clock import SystemClock
from metricsmith.model.labels import encode_labels
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.sinks.bus import BusSink
from metricsmith.sources.bus.source import BusSource
from metricsmith.testing.services import free_port


class Side:
    """One side of the bus, with what its parts have received."""

    def __init__(self) -> None:
        self.series, self.telemetry = SeriesTable(), Telemetry()
        self.context = Context("side", self.series, self.telemetry, SystemClock())
        self.received: list[Batch] = []
        self.refusals: list[Exception] = []
        self.news = asyncio.Event()

    async def emit(self, batch: Batch) -> None:
        if self.refusals:
            raise self.refusals.pop()
        self.received.append(batch)
        self.news.set()

    def samples(self) -> list[tuple[str, int, str]]:
        return [
            (self.series.key(i).decode("latin1"), time_ms, repr(value))
            for batch in self.received
            for i, time_ms, value in zip(
                batch.layout.ids.tolist(), batch.times().tolist(), batch.value.tolist(), strict=True
            )
        ]

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not true():
                self.news.clear()
                await self.news.wait()

    def delivery(self, number: int, samples: dict[str, float], time_ms: int, **labels: str) -> Delivery:
        keys = [encode_labels({"__name__": name, **labels}) for name in samples]
        layout = Layout(self.series.intern_many(keys), "s")
        return Delivery([number], [Batch(layout, time_ms, np.array(list(samples.values())))])


@pytest.fixture
def side() -> Callable[[], Side]:
    return Side


@pytest.fixture
def endpoint() -> str:
    return f"tcp://127.0.0.1:{free_port()}"


@pytest.fixture
def bare() -> Iterator[Callable[..., zmq.Socket[bytes]]]:
    """Make a socket as another program would."""
    context, made = zmq.Context(), []

    def make(kind: int, endpoint: str, bind: bool = False) -> zmq.Socket[bytes]:
        socket = context.socket(kind)
        made.append(socket)
        socket.rcvtimeo = 10_000
        (socket.bind if bind else socket.connect)(endpoint)
        return socket

    yield make
    for socket in made:
        socket.close(linger=0)
    context.term()


@pytest.fixture
async def receive() -> AsyncIterator[Callable[..., Side]]:
    """Run a `bus` source; returned is what it receives."""
    running: list[tuple[asyncio.Event, asyncio.Task[None]]] = []

    def start(**settings: Any) -> Side:
        side, stop = Side(), asyncio.Event()
        source = BusSource(BusSource.Config(**settings), side.context)
        running.append((stop, asyncio.create_task(source.run(side.emit, stop))))
        side.source = source  # type: ignore[attr-defined]
        return side

    yield start
    for stop, task in running:
        stop.set()
        await task


@pytest.fixture
async def publish() -> AsyncIterator[Callable[..., tuple[Side, BusSink]]]:
    """Open a `bus` sink."""
    opened: list[BusSink] = []

    def start(**settings: Any) -> tuple[Side, BusSink]:
        side = Side()
        sink = BusSink(BusSink.Config(**settings), side.context)
        opened.append(sink)
        return side, sink

    yield start
    for sink in opened:
        await sink.close()


@pytest.fixture
def heard() -> Callable[..., Any]:
    """Wait until the subscription of a bare socket has reached a sink."""

    async def wait(sink: BusSink, prefix: bytes, listener: zmq.Socket[bytes]) -> None:
        end = time.monotonic() + 10
        while prefix not in sink._listened:
            assert time.monotonic() < end, f"nobody subscribed to {prefix!r}"
            await asyncio.sleep(0.01)
            listener.poll(0)  # a socket sends its subscriptions when it is used
            sink._note_subscriptions()

    return wait
