"""A folder of files, written by one process after another, and read by other programs."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cramjam
import duckdb
import numpy as np
import pytest

from metricsmith.contracts import Context, Delivery
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import encode_labels
from metricsmith.model.series import SeriesTable
from metricsmith.model.state import MemoryState
from metricsmith.model.telemetry import Telemetry
from metricsmith.sinks.file.sink import FileSink
from metricsmith.testing.clock import FakeClock

NOON = 1_763_726_400_000  # 2025-11-21 12:00 UTC
HOUR = 3_600_000
Sample = tuple[str, int, float | str]


@dataclass
class Folder:
    """Where a sink writes. `begin` is a new process, as far as the sink can tell; the state is kept."""

    path: Path
    settings: dict[str, Any] = field(default_factory=dict)
    state: MemoryState = field(default_factory=MemoryState)
    clock: FakeClock = field(default_factory=lambda: FakeClock(NOON))
    lives: int = 0

    def begin(self, begun_at: int = 1 << 60, **settings: Any) -> FileSink:
        """`begun_at` is the first number that the journal gave in this life."""
        self.lives += 1
        self.series, self.telemetry = SeriesTable(), Telemetry(self.clock)
        self.series.intern(b"ids of one life differ from those of another" * self.lives)
        journal: Any = SimpleNamespace(life=self.lives, begun_at=begun_at)
        context = Context("out", self.series, self.telemetry, self.clock, self.state, journal)
        return FileSink(FileSink.Config(path=str(self.path), **{**self.settings, **settings}), context)

    def batch(self, time_ms: int | Sequence[int], values: Sequence[float], names: str = "abc") -> Batch:
        """A sample of each of the metrics called a, b, c…; in a stream when all have the same time."""
        keys = [encode_labels({"__name__": name, "job": "shop"}) for name in names[: len(values)]]
        same = isinstance(time_ms, int)
        layout = Layout(self.series.intern_many(keys), "s" if same else None)
        times: Any = time_ms if same else np.array(time_ms, np.int64)
        return Batch(layout, times, np.array(values, float))

    def names(self, pattern: str = "metrics-*") -> list[str]:
        return sorted(path.name for path in self.path.glob(pattern))

    def found(self) -> list[Sample]:
        """What other programs read in all files but frames, finished or not: name, time, value."""
        samples: list[Sample] = []
        for name in self.names():
            if not name.endswith(".damaged"):
                samples += _read(self.path / name)
        return samples

    def repaired(self, reason: str) -> float:
        return self.telemetry.value("metricsmith_sink_files_repaired_total", sink="out", reason=reason)


def _read(path: Path) -> Iterator[Sample]:
    if path.suffix == ".parquet":
        rows = duckdb.sql(f"SELECT name, epoch_ms(time), value FROM '{path}'").fetchall()
        yield from ((name, time, "stale" if value is None else value) for name, time, value in rows)
        return
    if path.suffix == ".frames":
        raise AssertionError(f"{path}: not for other programs")
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    if path.suffix == ".zst":
        data = bytes(cramjam.zstd.decompress(data))
    assert not data or data.endswith(b"\n"), f"{path}: torn"
    lines = data.decode().splitlines()
    if ".csv" in path.name:
        assert lines.pop(0) == "time,name,labels,value"
        rows = [(line.split(",")[0], line.split(",")[1], line.rpartition(",")[2]) for line in lines]
    else:
        objects = [json.loads(line) for line in lines]
        rows = [(each["time"], each["name"], each["value"]) for each in objects]
    for time, name, value in rows:
        ms = np.datetime64(time.rstrip("Z"), "ms").astype(int)
        yield name, int(ms), "stale" if value in (None, "") else float(value)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Nothing is there yet."""
    return Folder(tmp_path / "out")


@pytest.fixture(scope="session")
def new_folder() -> type[Folder]:
    return Folder


@pytest.fixture(scope="session")
def numbered() -> Any:
    """A delivery of batches under numbers: `numbered(7, a, b)` has 7 and 8."""

    def make(first: int, *batches: Batch) -> Delivery:
        return Delivery(range(first, first + len(batches)), batches)

    return make
