"""Claim: committing to the journal is faster and smaller than to SQLite in WAL mode with full sync.

    python bench/bench_journal.py

Both get the same batches one after another, each made durable before the next, in one run on the same
file system: 100,000 samples (800 KB of values) and 1,000 samples (8 KB, one scrape). SQLite is called on the
spot, which would block an event loop; the journal hops to its thread and back for each commit.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from metricsmith.journal import Journal, JournalConfig
from metricsmith.model.arrays import F64
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.clock import SystemClock
from metricsmith.model.labels import encode_labels
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry

SECONDS = 3.0


def values(samples: int) -> list[F64]:
    """Eight scrapes of a mix: a third integer counters, a third constant, a third noisy gauges."""
    rng = np.random.default_rng(0)
    third = samples // 3
    counters = rng.integers(0, 10**6, third).astype(np.float64)
    constant = rng.integers(0, 100, third).astype(np.float64)
    out = []
    for _ in range(8):
        counters = counters + rng.integers(0, 1000, third)
        out.append(np.concatenate([counters, constant, rng.random(samples - 2 * third)]))
    return out


def layout(series: SeriesTable, samples: int) -> Layout:
    keys = (
        encode_labels({"__name__": f"metric_{i % 300}", "instance": "10.0.0.1:9100", "shard": str(i)})
        for i in range(samples)
    )
    return Layout(series.intern_many(keys), "bench")


def timed(append: Callable[[int], None]) -> list[float]:
    took, i, end = [], 0, time.perf_counter() + SECONDS
    while (start := time.perf_counter()) < end:
        append(i)
        took.append(time.perf_counter() - start)
        i += 1
    return took


def run_journal(folder: Path, samples: int, clients: int) -> tuple[list[float], float, int]:
    """Return times of the appends, seconds in all, and bytes written."""
    series, telemetry = SeriesTable(), Telemetry()
    shared, rows = layout(series, samples), values(samples)
    took: list[float] = []

    async def run() -> float:
        journal = Journal(folder, series, telemetry, SystemClock(), JournalConfig())
        begin = time.perf_counter()

        async def client() -> None:
            i = 0
            while (start := time.perf_counter()) < begin + SECONDS:
                sequence = await journal.append(Batch(shared, i, rows[i % 8]))
                took.append(time.perf_counter() - start)
                i += 1
                if sequence % 50 == 0:
                    journal.set_cursor("store", sequence)
                    journal.trim()

        await asyncio.gather(*(client() for _ in range(clients)))
        spent = time.perf_counter() - begin
        await journal.close()
        return spent

    spent = asyncio.run(run())
    return took, spent, int(telemetry.value("metricsmith_journal_written_bytes_total"))


def run_replay(folder: Path, samples: int) -> float:
    """Return samples decoded per second, by a table that does not know the series yet."""
    journal = Journal(folder, SeriesTable(), Telemetry(), SystemClock(), JournalConfig())
    start = time.perf_counter()
    count = sum(1 for _ in journal.replay(0))
    return count * samples / (time.perf_counter() - start)


def run_sqlite(folder: Path, samples: int) -> tuple[list[float], int]:
    db = sqlite3.connect(folder / "log.db", isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("CREATE TABLE log (sequence INTEGER PRIMARY KEY, value BLOB)")
    rows = values(samples)

    def append(i: int) -> None:
        db.execute("INSERT INTO log VALUES (?, ?)", (i, rows[i % 8].tobytes()))
        if i % 50 == 0:
            db.execute("DELETE FROM log WHERE sequence < ?", (i,))

    took = timed(append)
    db.close()
    return took, 0


def show(name: str, took: list[float], spent: float, samples: int, written: int) -> float:
    p50, p99 = np.percentile(took, [50, 99]) * 1000
    rate = len(took) / spent
    size = f"{written / len(took) / samples:5.2f} bytes/sample" if written else ""
    print(
        f"  {name:28} {rate:8.0f} batches/s {rate * samples / 1e6:7.2f} M samples/s"
        f"   p50 {p50:6.2f} ms  p99 {p99:6.2f} ms  {size}"
    )
    return rate


def main() -> None:
    for samples in (100_000, 1000):
        print(f"batches of {samples} samples ({samples * 8 // 1000} KB of values)")
        with tempfile.TemporaryDirectory(dir=".") as name:
            took, _ = run_sqlite(Path(name), samples)
            base = show("sqlite, WAL, full sync", took, sum(took), samples, 0)
        for clients in (1, 100):
            with tempfile.TemporaryDirectory(dir=".") as name:
                took, spent, written = run_journal(Path(name), samples, clients)
                rate = show(f"journal, {clients} at once", took, spent, samples, written)
                decoded = run_replay(Path(name), samples)
            print(f"    {rate / base:.1f} times sqlite; replay {decoded / 1e6:.0f} M samples/s")


if __name__ == "__main__":
    main()
