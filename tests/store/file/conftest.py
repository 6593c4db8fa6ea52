"""A store over a folder that a sink writes, and what it must find there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metricsmith.contracts import Context, Delivery
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import encode_labels
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.sinks.file.sink import FileSink
from metricsmith.store.file.store import FileStore
from metricsmith.testing.clock import FakeClock

NOON = 1_763_726_400_000
LABELS = [
    {"__name__": name, "job": job, **({"zone": 'a"b'} if job == "b" else {})}
    for name in ("up", "load", "requests_total")
    for job in ("a", "b")
]
Sent = tuple[tuple[int, ...], int | tuple[int, ...], tuple[float | None, ...]]
"""Places in LABELS, time or times after NOON, values; None is a staleness marker."""


@dataclass
class Agent:
    """One life: a sink and a store, in one process as in an agent."""

    path: Path
    settings: dict[str, Any]
    clock: FakeClock = field(default_factory=lambda: FakeClock(NOON))

    def __post_init__(self) -> None:
        self.table, self.telemetry = SeriesTable(), Telemetry(self.clock)
        self.table.intern(b"a_series_of_somebody_else")
        self.context = Context("storage", self.table, self.telemetry, self.clock)
        self.store = FileStore(
            FileStore.Config.model_validate({"path": str(self.path), **self.settings}), self.context
        )
        kind, settings = self.store.written_by()
        assert kind == "file"
        self.sink = FileSink(FileSink.Config.model_construct(**settings), self.context)
        self.number = 0

    def batch(self, sent: Sent) -> Batch:
        rows, at, values = sent
        layout = Layout(self.table.intern_many(encode_labels(LABELS[i]) for i in rows))
        times = NOON + at if isinstance(at, int) else NOON + np.array(at, np.int64)
        stale = np.array([value is None for value in values])
        numbers = np.array([0.0 if value is None else value for value in values], np.float64)
        return Batch(layout, times, numbers, stale if stale.any() else None)

    async def send(self, *sent: Sent) -> None:
        batches = [self.batch(each) for each in sent]
        await self.sink.send(Delivery(range(self.number, self.number + len(sent)), batches))
        self.number += len(sent)

    async def end_the_day(self) -> None:
        """All files are finished but that of one sample, two days later."""
        self.clock.advance(2 * 86_400)
        await self.send(((0,), 2 * 86_400_000, (99.0,)))

    def next_life(self) -> Agent:
        """Another process; the sink of this one must be closed."""
        return Agent(self.path, self.settings, self.clock)


FORMATS: Sequence[dict[str, Any]] = [
    {"format": "json"},
    {"format": "json", "compression": True},
    {"format": "csv", "compression": "zstd"},
    {"format": "parquet", "compression": True},
]


@pytest.fixture(params=FORMATS, ids=lambda each: "-".join(map(str, each.values())))
def agent(request: pytest.FixtureRequest, tmp_path: Path) -> Agent:
    """Nothing is written yet."""
    return Agent(tmp_path / "data", request.param)


@pytest.fixture(scope="session")
def new_agent() -> type[Agent]:
    return Agent


@pytest.fixture(scope="session")
def label_sets() -> list[dict[str, str]]:
    return LABELS
