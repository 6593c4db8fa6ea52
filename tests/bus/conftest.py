"""A bus between parts of ours and bare ZeroMQ sockets, on free loopback ports."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from metricsmith.contracts import Context, Delivery
from metricsmith.delivery.line import Limits, Line
from metricsmith.delivery.quarantine import Quarantine
from metricsmith.errors import DiskFull
from metricsmith.journal import Journal, JournalConfig
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.clock import SystemClock
from metricsmith.model.labels import encode_labels
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.runtime.pipeline import Pipeline
from metricsmith.runtime.state import StateFile
from metricsmith.sinks.bus import BusSink
from metricsmith.sinks.transfer import TransferSink
from metricsmith.sources.bus.source import BusSource
from metricsmith.sources.transfer.source import TransferSource
from metricsmith.testing.programs import LIMIT_S
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
        async with asyncio.timeout(LIMIT_S):
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
        socket.rcvtimeo = round(LIMIT_S * 1000)
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

    async def end() -> None:
        for stop, task in running:
            stop.set()
            await task
        running.clear()

    start.stop = end  # type: ignore[attr-defined]
    yield start
    await end()


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
        end = time.monotonic() + LIMIT_S
        while prefix not in sink._listened:
            assert time.monotonic() < end, f"nobody subscribed to {prefix!r}"
            await asyncio.sleep(0.01)
            listener.poll(0)  # a socket sends its subscriptions when it is used
            sink._note_subscriptions()

    return wait


class StoreStub:
    """A store that accepts everything that is not before `oldest_ms`, unless it is full."""

    def __init__(self) -> None:
        self.full = False
        self.oldest_ms = 0

    def check_space(self) -> None:
        if self.full:
            raise DiskFull("full")

    def admit(self, batch: Batch) -> Batch:
        kept = np.flatnonzero(batch.times() >= self.oldest_ms)
        return batch if len(kept) == len(batch) else batch.take(Layout(batch.layout.ids[kept]), kept)

    def apply(self, batch: Batch, sequence: int) -> None:
        pass


class End:
    """An agent's journal with what an agent has around it. `crash` leaves it as a kill would."""

    def __init__(self, folder: Path, name: str, **settings: Any) -> None:
        self.folder, self.name, self.settings = folder, name, settings
        self.store = StoreStub()
        self.processors: list[Any] = []
        self.journal_settings = JournalConfig(sync="never")
        self.telemetry = Telemetry()
        self.running: list[tuple[asyncio.Event, asyncio.Task[None]]] = []
        self.sending: list[TransferSink | Line] = []
        self.journal: Journal | None = None

    def open(self) -> None:
        self.series = SeriesTable()
        self.series.intern(b"ids differ %d" % id(self.series))
        self.state = StateFile(self.folder / "state.sqlite")
        self.journal = Journal(
            self.folder / "journal", self.series, self.telemetry, SystemClock(), self.journal_settings
        )
        self.pipeline = Pipeline(self.journal, self.store, self.series, self.telemetry)  # type: ignore[arg-type]
        self.pipeline.processors = self.processors
        self.context = Context(
            self.name, self.series, self.telemetry, SystemClock(), self.state.of("part"), self.journal
        )

    def receive(self) -> TransferSource:
        """Open, and run a `transfer` source."""
        self.open()
        source = TransferSource(TransferSource.Config(**self.settings), self.context)
        stop = asyncio.Event()
        task = asyncio.create_task(source.run(self.pipeline.emit_for(self.name), stop))
        self.running.append((stop, task))
        return source

    def sender(self) -> TransferSink:
        """Open, and make a `transfer` sink."""
        self.open()
        sink = TransferSink(TransferSink.Config(**self.settings), self.context)
        self.sending.append(sink)
        return sink

    def line(self) -> Line:
        """Open, and serve a `transfer` sink from the journal."""
        sink = self.sender()
        self.sending.remove(sink)  # the line closes it
        quarantine = Quarantine(self.folder / "quarantine", self.series, SystemClock())
        made = Line(
            "transfer",
            sink,
            self.journal.reader(self.name),
            lambda: self.journal.next_sequence,
            self.context,
            Limits(50, 0, 1),
            quarantine,
            self.processors,
        )
        made.start()
        self.sending.append(made)
        return made

    async def put(self, names: Sequence[str], value: float, time_ms: int = 1_700_000_000_000) -> int:
        keys = [encode_labels({"__name__": name, "host": self.name}) for name in names]
        layout = Layout(self.series.intern_many(keys), "s" if len(names) > 1 else None)
        return await self.journal.append(Batch(layout, time_ms, np.full(len(names), float(value))))

    def batch(self, value: float, names: Sequence[str] = ("a", "b")) -> Batch:
        keys = [encode_labels({"__name__": name}) for name in names]
        return Batch(
            Layout(self.series.intern_many(keys), "s"), int(value), np.full(len(names), float(value))
        )

    def gaps(self, reason: str) -> float:
        return self.telemetry.value("metricsmith_transfer_gaps_total", source=self.name, reason=reason)

    def samples(self) -> list[tuple[str, float]]:
        """All samples in the journal, in its order."""
        return [
            (self.series.key(i).decode("latin1").partition("\xff")[0], value)
            for _, batch in self.journal.replay(0)
            for i, value in zip(batch.layout.ids.tolist(), batch.value.tolist(), strict=True)
        ]

    async def until(self, true: Callable[[], bool]) -> None:
        end = time.monotonic() + LIMIT_S
        while not true():
            assert time.monotonic() < end, "it does not come about"
            await asyncio.sleep(0.005)

    async def close(self) -> None:
        """Stop what was started, if anything is."""
        for stop, task in self.running:
            stop.set()
            await task
        for each in self.sending:
            await (each.stop() if isinstance(each, Line) else each.close())
        self.running.clear()
        self.sending.clear()
        if self.journal is not None:
            await self.journal.close()
            self.state.close()
            self.journal = None


@pytest.fixture
async def ends(tmp_path: Path, endpoint: str) -> AsyncIterator[tuple[End, End]]:
    """Producer and consumer of an acknowledged transfer."""
    for name in ("edge", "centre"):
        (tmp_path / name).mkdir()
    both = (
        End(tmp_path / "edge", "edge", endpoint=endpoint),
        End(tmp_path / "centre", "centre", endpoint=endpoint),
    )
    yield both
    for end in both:
        await end.close()
