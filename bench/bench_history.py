"""Claim: one series over 30 days, and 1,000 over 6 hours, are read from blocks no slower than by Prometheus.

All get the same samples by remote write. Prometheus then serves one block made of all (a snapshot with its
head), VictoriaMetrics its merged parts, ours what a stop leaves; each is started anew for every cold answer,
which is the first of a process, files being in the system's cache.
`bench_history.py [--who NAMES] [--query TEXT]`.
"""

from __future__ import annotations

import argparse
import statistics
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import numpy as np

from common import EMPTY_AGENT, agent, best_of, table, usage, workspace
from common_write import get, labels, send
from metricsmith.testing.services import Server, prometheus, victoria_metrics
from metricsmith.wire.remote_write_encode import encode_write_request

STEP_MS, DAY_MS, HOUR_MS = 15_000, 86_400_000, 3_600_000
DAYS, FEW = 30, 20
HOURS, MANY = 6, 1_000
COLD_STARTS, MOST_S = 3, 2.0
ONE = 'few_total{instance="host-00007:9100"}'
QUERIES = {
    "1 series, 30 days: as it is": (ONE, DAYS * DAY_MS, 1000),
    "1 series, 30 days: rate": (f"rate({ONE}[1h])", DAYS * DAY_MS, 1000),
    "1 series, 30 days: avg_over_time": (f"avg_over_time({ONE}[6h])", DAYS * DAY_MS, 1000),
    "1 series, 30 days: all samples": (f"{ONE}[30d]", 0, 0),
    "1,000 series, 6 hours: sum(rate)": ("sum(rate(many_total[5m]))", HOURS * HOUR_MS, 1440),
    "1,000 series, 6 hours: max by zone": (
        "max by (zone) (max_over_time(many_total[10m]))", HOURS * HOUR_MS, 360),
    "1,000 series, 6 hours: all samples": ("many_total[6h]", 0, 0),
}  # fmt: skip
"""Expression, range and steps; without a range it is an instant query."""
Start = Callable[[], AbstractContextManager[Server]]


def main() -> None:
    """Print milliseconds of each query, cold and warm, and CPU milliseconds of warm ones."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--who", default="prometheus,victoria-metrics,metricsmith")
    parser.add_argument("--query", default="", help="only queries whose title has this in it")
    options = parser.parse_args()
    chosen, titles = options.who.split(","), [title for title in QUERIES if options.query in title]
    end_ms = time.time_ns() // 1_000_000 // STEP_MS * STEP_MS - HOUR_MS
    with workspace() as folder:
        loaders = {"prometheus": _prometheus, "victoria-metrics": _victoria, "metricsmith": _metricsmith}
        found = {}
        for name in chosen:
            start = loaders[name](folder / name, end_ms)
            found[name] = {title: _measured(start, title, end_ms) for title in titles}
    rows = []
    for title in titles:
        peer = found.get("prometheus", {}).get(title)
        for name in chosen:
            cold, warm, cpu = found[name][title]
            ratios = [a / b for a, b in zip((cold, warm, cpu), peer, strict=True)] if peer else ["", "", ""]
            rows.append([title, name, cold, warm, cpu, *ratios])
    columns = ("query", "who", "cold ms", "warm ms", "warm CPU ms", "× cold", "× warm", "× CPU")
    table(f"{FEW} series over {DAYS} days, {MANY} over {HOURS} hours, every 15 s", columns, rows)


def _bodies(end_ms: int) -> Iterator[bytes]:
    """Yield the few series, a day in each body, then the many, an hour in each: in order of time."""
    few, many = labels(FEW, "few_total"), labels(MANY, "many_total")
    long, short = DAYS * DAY_MS // STEP_MS, HOURS * HOUR_MS // STEP_MS
    yield from _pieces(few, end_ms - long * STEP_MS, 0, long - short, 5760)
    for first in range(long - short, long, 240):
        yield from _pieces(few, end_ms - long * STEP_MS, first, first + 240, 240)
        yield from _pieces(many, end_ms - long * STEP_MS, first, first + 240, 240)


def _pieces(series: list[bytes], start_ms: int, first: int, last: int, most: int) -> Iterator[bytes]:
    chance = np.random.default_rng(first)
    for begin in range(first, last, most):
        count = min(most, last - begin)
        times = start_ms + STEP_MS * np.arange(begin + 1, begin + count + 1, dtype=np.int64)
        values = 750.0 * np.arange(begin, begin + count) + chance.integers(0, 500, (len(series), count))
        yield encode_write_request(series, [count] * len(series), np.tile(times, len(series)), values.ravel())


def _prometheus(folder: Path, end_ms: int) -> Start:
    keep = "--storage.tsdb.retention.time=90d"
    with prometheus(folder / "first", "", keep, "--web.enable-admin-api") as server:
        send(server.url, _bodies(end_ms))
        url = f"{server.url}/api/v1/admin/tsdb/snapshot"
        urllib.request.urlopen(urllib.request.Request(url, b""), timeout=120).read()
    (made,) = (folder / "first" / "data" / "snapshots").iterdir()
    (folder / "second").mkdir()
    made.rename(folder / "second" / "data")
    return partial(prometheus, folder / "second", "", keep)


def _victoria(folder: Path, end_ms: int) -> Start:
    flags = ("-retentionPeriod=3", "-search.disableCache")
    with victoria_metrics(folder, *flags) as server:
        send(server.url, _bodies(end_ms))
        get(server.url, "/internal/force_flush")
        get(server.url, "/internal/force_merge")
        time.sleep(3)  # it merges in the background and tells nobody
    return partial(victoria_metrics, folder, *flags)


def _metricsmith(folder: Path, end_ms: int) -> Start:
    config = EMPTY_AGENT.replace("storage: {{", "storage: {{retention: 90d, ")
    with agent(folder, config) as server:
        send(server.url, _bodies(end_ms))
    print(f"metricsmith: {len(list((folder / 'data' / 'blocks').iterdir()))} blocks", flush=True)
    return partial(agent, folder, config)


def _measured(start: Start, title: str, end_ms: int) -> tuple[float, float, float]:
    """Return milliseconds of a cold and a warm answer, and CPU milliseconds of a warm one."""
    expression, range_ms, steps = QUERIES[title]
    path, form = "/api/v1/query", {"query": expression, "time": f"{end_ms / 1000:.3f}"}
    if range_ms:
        step_ms, start_ms = range_ms // steps, end_ms - range_ms + STEP_MS
        path = "/api/v1/query_range"
        form = {
            "query": expression,
            "start": f"{start_ms / 1000:.3f}",
            "end": f"{end_ms / 1000:.3f}",
            "step": f"{step_ms / 1000:g}",
        }
    cold = []
    for _ in range(COLD_STARTS):
        with start() as server:
            get(server.url, "/api/v1/query", query="vector(1)")
            began = time.perf_counter()
            size = len(get(server.url, path, **form))
            cold.append(time.perf_counter() - began)
            if len(cold) < COLD_STARTS:
                continue
            ask = partial(get, server.url, path, **form)
            rounds = min(max(3, int(MOST_S / max(cold[-1], 1e-4))), 100)
            before = usage(server.pid).cpu_s
            _, warm = best_of(rounds, ask)
            cpu = (usage(server.pid).cpu_s - before) / rounds
    if size < 500:
        raise RuntimeError(f"{title}: the answer has {size} bytes")
    return statistics.median(cold) * 1000, warm * 1000, cpu * 1000


if __name__ == "__main__":
    main()
