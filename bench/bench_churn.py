"""Memory with series that come and go: new ones in each round, as pods of deployments are.

Time is simulated: in each round 100,000 new series get samples for an hour, and what is older than two
hours is deleted. What is measured is what stays: resident bytes, series known, entries of the index, bytes
on disk. Run: python bench/bench_churn.py [rounds] [series]
"""

from __future__ import annotations

import gc
import sys
import time
from pathlib import Path

import numpy as np
import psutil

from common import table, workspace
from metricsmith.contracts import Context
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.store.embedded import EmbeddedStore
from metricsmith.store.memory import give_back, keep_freed
from metricsmith.store.settings import EmbeddedConfig
from metricsmith.testing.clock import FakeClock

HOUR_S = 3600
SAMPLES = 4
"""Of each series."""


def main(rounds: int, series: int) -> None:
    keep_freed()
    clock, known = FakeClock(1_700_000_000_000), SeriesTable()
    with workspace() as folder:
        store = _store(folder, known, clock)
        rows, sequence, slowest = [], 0, 0.0
        for round_ in range(rounds):
            keys = [
                b"http_requests_total\xffjob\xfeshop\xffnamespace\xfeprod\xffpod\xfeshop-%d-%d\xffpath\xfe/api/v1/items"
                % (round_, n)
                for n in range(series)
            ]
            layout = Layout(known.intern_many(keys), "pods")
            del keys
            for _ in range(SAMPLES):
                clock.advance(HOUR_S / SAMPLES)
                batch = Batch(layout, clock.now_ms(), np.random.default_rng(sequence).random(series))
                store.apply(batch, sequence)
                sequence += 1
                slowest = max(slowest, _upkeep(store, clock))
            for _ in range(3 + series // 5_000):
                clock.advance(5)
                slowest = max(slowest, _upkeep(store, clock))
            del layout, batch
            gc.collect()
            give_back()
            if round_ % max(1, rounds // 6) == 0 or round_ == rounds - 1:
                rows.append((round_ + 1, series * (round_ + 1), *_left(store, known)))
        store.close(flush=False)
    columns = [
        "round",
        "series so far",
        "resident MB",
        "series known",
        "index entries",
        "MB on disk",
        "blocks",
    ]
    table(f"{series} new series a round, kept for 2 h", columns, rows)
    print(f"\nlongest tick, in which nothing else is accepted: {slowest * 1000:.0f} ms")


def _store(folder: Path, known: SeriesTable, clock: FakeClock) -> EmbeddedStore:
    config = EmbeddedConfig.model_validate({"path": str(folder), "retention": "2h", "head_age": "30m"})
    return EmbeddedStore(config, Context("store", known, Telemetry(clock), clock))


def _upkeep(store: EmbeddedStore, clock: FakeClock) -> float:
    """Let the store do what is due; return how long its thread was taken."""
    began = time.perf_counter()
    store.tick(clock.now_ms())
    taken = time.perf_counter() - began
    store._heads.wait_for_write(clock.now_ms())
    if store._upkeep is not None:
        store._upkeep.result()
    return taken


def _left(store: EmbeddedStore, known: SeriesTable) -> tuple[float, int, int, float, int]:
    entries = sum(len(column.entries[0]) for column in store._index._columns.values())
    status = store.status()
    resident = psutil.Process().memory_info().rss / 1e6
    return (
        round(resident, 1),
        known.alive,
        entries,
        round((status.disk_usage_bytes or 0) / 1e6, 1),
        status.blocks or 0,
    )


if __name__ == "__main__":
    main(*(int(text) for text in sys.argv[1:] or ("30", "100000")))
