"""What a large merge does to others: the event loop, batches that are applied, queries; and its memory.

Nine blocks of two hours become one of eighteen in the background, while the event loop applies a scrape
every few milliseconds and asks a query now and then. Beside it the same without a merge: other work on
the machine shows in both. The next nine become one while nothing else is done, beside a thread that wakes
every millisecond: the CPU time that the process used meanwhile is the merge's alone.
Run: python bench/bench_compaction.py [series]
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil

from common import table, workspace
from metricsmith.contracts import Context
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import encode_labels
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.store.embedded import EmbeddedStore
from metricsmith.store.memory import give_back, keep_freed
from metricsmith.store.pieces import RaggedPiece
from metricsmith.store.settings import EmbeddedConfig
from metricsmith.testing.clock import FakeClock

HOUR_MS, STEP_MS = 3_600_000, 15_000
START_MS = 1_700_000_000_000 // (18 * HOUR_MS) * 18 * HOUR_MS
QUIET_S = 5.0


def main(series: int) -> None:
    keep_freed()
    clock, known = FakeClock(START_MS + 20 * HOUR_MS), SeriesTable()
    ids = known.intern_many(
        encode_labels({"__name__": "requests_total", "instance": f"h{n:06}", "job": "api"})
        for n in range(series)
    )
    with workspace() as folder:
        config = EmbeddedConfig.model_validate({"path": str(folder), "head_age": "10h"})
        store = EmbeddedStore(config, Context("store", known, Telemetry(clock), clock))
        for window in range(10):  # the last one says that the others are over
            _fill(store, ids, START_MS + window * 2 * HOUR_MS, 480 if window < 9 else 1)
        give_back()
        size, samples = store._blocks.disk_usage(), series * 480 * 9
        rows = [("no merge", *asyncio.run(_measure(store, ids, clock, None)))]
        rows.append(("merge", *asyncio.run(_measure(store, ids, clock, store._blocks.compact))))
        for window in range(10, 20):
            _fill(store, ids, START_MS + window * 2 * HOUR_MS, 480 if window < 19 else 1)
        held = _held(store._blocks.compact)
        store.close(flush=False)
    columns = [
        "",
        "seconds",
        "loop ms, p99",
        "max",
        "apply ms, p99",
        "max",
        "query ms, p99",
        "max",
        "more resident MB",
    ]
    table(
        f"Merge of 9 blocks, {samples / 1e6:.1f} M samples of {series} series, {size / 1e6:.0f} MB",
        columns,
        rows,
    )
    print(f"\nCPU used while another thread waits for its turn: p99 {held[0]:.1f} ms, max {held[1]:.1f} ms")


def _held(work: Callable[[], None]) -> tuple[float, float]:
    """Return the CPU time, in ms, between two turns of a thread that wakes each millisecond: p99 and most."""
    merging = threading.Thread(target=work)
    merging.start()
    used = []
    while merging.is_alive():
        before = time.process_time()
        time.sleep(0.001)
        used.append(time.process_time() - before)
    return _p99(np.array(used)) * 1000, max(used) * 1000


def _fill(store: EmbeddedStore, ids: np.ndarray, start_ms: int, count: int) -> None:
    values = np.cumsum(np.random.default_rng(start_ms % 997).integers(0, 50, (len(ids), count)), axis=1)
    times = np.tile(start_ms + np.arange(count) * STEP_MS, len(ids))
    piece = RaggedPiece(ids, np.arange(len(ids) + 1) * count, times, values.astype(np.float64).ravel())
    store._blocks.write([piece], {}, 1)


async def _measure(
    store: EmbeddedStore, ids: np.ndarray, clock: FakeClock, work: object
) -> tuple[object, ...]:
    """Return seconds, latencies of others, and memory, while some work is done in a thread."""
    layout = Layout(ids[:1000].copy(), "scrape")
    loop, applied, asked = [], [], []
    process = psutil.Process()
    before = most = process.memory_info().rss
    with ThreadPoolExecutor(2) as threads:
        began = time.perf_counter()
        running = asyncio.get_running_loop().run_in_executor(threads, work or (lambda: time.sleep(QUIET_S)))
        query = None
        turn = 0
        while not running.done():
            woken = time.perf_counter()
            await asyncio.sleep(0.002)
            loop.append(time.perf_counter() - woken - 0.002)
            clock.advance(0.01)
            now = time.perf_counter()
            store.apply(Batch(layout, clock.now_ms(), np.full(1000, 1.0)), turn)
            applied.append(time.perf_counter() - now)
            if query is None or query.done():
                query = asyncio.get_running_loop().run_in_executor(threads, _ask, store, asked)
            turn += 1
            most = max(most, process.memory_info().rss)
        await running
        seconds = time.perf_counter() - began
        await query
    figures = [
        round(f(np.array(spent) * 1000), 1) for spent in (loop, applied, asked) for f in (_p99, np.max)
    ]
    return seconds, *figures, round((most - before) / 1e6, 1)


def _p99(values: np.ndarray) -> float:
    return float(np.quantile(values, 0.99))


def _ask(store: EmbeddedStore, asked: list[float]) -> None:
    began = time.perf_counter()
    store.select((Matcher("instance", MatchOp.RE, "h00001."),), START_MS, START_MS + HOUR_MS)
    asked.append(time.perf_counter() - began)
    threading.Event().wait(0.01)


if __name__ == "__main__":
    main(*(int(text) for text in sys.argv[1:] or ("5000",)))
