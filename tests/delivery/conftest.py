"""A journal, a clock that tests move, and a sink that does as it is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from metricsmith.contracts import Context, Delivery, SinkConfig, SinkTraits
from metricsmith.delivery.line import Limits, Line
from metricsmith.delivery.quarantine import Quarantine
from metricsmith.journal import Journal, JournalConfig
from metricsmith.model.batch import Batch, Layout, event_batch
from metricsmith.model.events import Event
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.testing.clock import FakeClock

LIMIT_S = 60.0
NONE: Mapping[str, Any] = {}


class Far:
    """A destination: takes samples, unless `answer` raises."""

    Config: ClassVar[type[SinkConfig]] = SinkConfig

    def __init__(self) -> None:
        self.traits = SinkTraits()
        self.open = False
        self.answer: Callable[[Delivery], None] = lambda delivery: None
        self.sends: list[Delivery] = []
        self.taken: list[tuple[int, int, float]] = []  # series, time, value
        self.events: list[Event] = []

    async def send(self, delivery: Delivery) -> None:
        assert self.open
        self.sends.append(delivery)
        self.answer(delivery)
        for batch in delivery.batches:
            self.take(batch)
            self.events += batch.events

    def take(self, batch: Batch) -> None:
        columns = batch.layout.ids.tolist(), batch.times().tolist(), batch.value.tolist()
        self.taken += zip(*columns, strict=True)

    async def close(self) -> None:
        self.open = False


class Bench:
    """Parts around a line; `line` opens one, as a start of the agent does."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock, self.telemetry = folder, FakeClock(), Telemetry()
        self.series = SeriesTable()
        self.series.intern_many(b"s%d" % i for i in range(10_000))
        self.journal = self.open_journal()
        self.far = Far()
        self.lines: list[Line] = []

    def open_journal(self, **settings: Any) -> Journal:
        config = JournalConfig(sync="never", **settings)
        return Journal(self.folder / "journal", self.series, self.telemetry, self.clock, config)

    @property
    def context(self) -> Context:
        return Context("far", self.series, self.telemetry, self.clock)

    def line(
        self, batch_size: int = 100, flush_s: float = 0, workers: int = 1, buffer: int = 1 << 20, **more: Any
    ) -> Line:
        self.far.open = True
        quarantine = Quarantine(self.folder / "quarantine", self.series, self.clock)
        line = Line(
            "test",
            self.far,
            self.journal.reader("far"),
            lambda: self.journal.next_sequence,
            self.context,
            Limits(batch_size, flush_s, workers, buffer),
            quarantine,
            **more,
        )
        self.lines.append(line)
        line.start()
        return line

    async def put(self, series: Sequence[int], time_ms: int | None = None, stream: str | None = None) -> int:
        """Append a batch: a sample per series, whose value is its series."""
        layout = Layout(np.array(series, dtype=np.uint32), stream)
        now_ms = self.clock.now_ms() if time_ms is None else time_ms
        return await self.journal.append(Batch(layout, now_ms, np.array(series, dtype=np.float64)))

    async def put_events(
        self, *summaries: str, time_ms: int | None = None, attributes: Mapping[str, Any] = NONE
    ) -> int:
        """Append a batch of events."""
        now_ms = self.clock.now_ms() if time_ms is None else time_ms
        events = [Event(now_ms, summary, "test", attributes) for summary in summaries]
        return await self.journal.append(event_batch(events, now_ms))

    async def until(self, true: Callable[[], bool], step_s: float = 0.25) -> None:
        """Let time pass until something is true: back-off ends, and the cursor is written."""
        until = time.monotonic() + LIMIT_S
        while not true():
            assert time.monotonic() < until, f"never true; the sink is {self.lines[-1].status()}"
            await asyncio.sleep(0.002)  # the journal works in threads
            self.clock.advance(step_s)

    async def make_room(self) -> None:
        """Keep the journal within its size, as the agent does each second."""
        self.journal.set_cursor("store", self.journal.next_sequence)
        for lost in await self.journal.make_room():
            self.lines[-1].expired(lost.begin, lost.end, lost.samples, lost.events)
        self.journal.trim()

    def dropped(self, reason: str) -> float:
        return self.telemetry.value("metricsmith_sink_dropped_samples_total", sink="far", reason=reason)

    def retries(self, reason: str) -> float:
        return self.telemetry.value("metricsmith_sink_retries_total", sink="far", reason=reason)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    if bench.far.open:
        await bench.lines[-1].stop()
    await bench.journal.close()
