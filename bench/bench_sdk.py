"""Claim: instruments cost at most 0.6 of prometheus_client's; 50,000 samples are exposed 3 times as fast.

Beside prometheus_client and OpenTelemetry's SDK, in one run. Times are CPU time per call, all threads
together, of the fastest of some rounds in which the peers take turns; counts are checked.
Run: .venv/bin/python bench/bench_sdk.py
"""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

import prometheus_client as peer
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import metricsmith.sdk as ours

CALLS = 50_000
ROUNDS = 6
THREADS = 8
SAMPLES = 50_000

Loop = Callable[[int], None]


def loops_of(library: object, registry: object) -> dict[str, Loop]:
    """Return loops that call one method n times, by name; the same code for both libraries."""
    make = {"registry": registry}
    counter = library.Counter("events_total", "Events.", **make)  # type: ignore[attr-defined]
    labelled = library.Counter("requests_total", "Requests.", ["method", "route"], **make)  # type: ignore[attr-defined]
    gauge = library.Gauge("depth", "Depth.", **make)  # type: ignore[attr-defined]
    histogram = library.Histogram("latency_seconds", "Latency.", **make)  # type: ignore[attr-defined]
    by_route = library.Histogram("route_seconds", "Latency.", ["route"], **make)  # type: ignore[attr-defined]
    hot = getattr(library, "SampledHistogram", library.Histogram)("hot_seconds", "Hot.", **make)  # type: ignore[attr-defined]
    summary = library.Summary("size_bytes", "Size.", **make)  # type: ignore[attr-defined]

    def inc(n: int) -> None:
        for _ in range(n):
            counter.inc()

    def labels_inc(n: int) -> None:
        for _ in range(n):
            labelled.labels("GET", "/items").inc()

    def labels_by_name(n: int) -> None:
        for _ in range(n):
            labelled.labels(method="GET", route="/items").inc()

    def labels_int(n: int) -> None:
        for _ in range(n):
            labelled.labels("GET", 200).inc()

    def gauge_set(n: int) -> None:
        for _ in range(n):
            gauge.set(3.5)

    def observe(n: int) -> None:
        for _ in range(n):
            histogram.observe(0.3)

    def labels_observe(n: int) -> None:
        for _ in range(n):
            by_route.labels("/items").observe(0.3)

    def timed(n: int) -> None:
        for _ in range(n):
            with histogram.time():
                pass

    def hot_observe(n: int) -> None:
        for _ in range(n):
            hot.observe(0.3)

    def hot_timed(n: int) -> None:
        for _ in range(n):
            with hot.time():
                pass

    def summary_observe(n: int) -> None:
        for _ in range(n):
            summary.observe(512.0)

    return {
        "inc()": inc,
        "labels(a, b).inc()": labels_inc,
        "labels(x=a, y=b).inc()": labels_by_name,
        "labels(a, 200).inc()": labels_int,
        "gauge.set()": gauge_set,
        "histogram.observe()": observe,
        "labels(a).observe()": labels_observe,
        "with histogram.time()": timed,
        "sampled.observe()": hot_observe,
        "with sampled.time()": hot_timed,
        "summary.observe()": summary_observe,
    }


def opentelemetry_loops() -> dict[str, Loop]:
    """Return what OpenTelemetry's SDK has of the same."""
    meter = MeterProvider([InMemoryMetricReader()]).get_meter("bench")
    counter, histogram = meter.create_counter("events"), meter.create_histogram("latency")

    def inc(n: int) -> None:
        for _ in range(n):
            counter.add(1)

    def labels_inc(n: int) -> None:
        for _ in range(n):
            counter.add(1, {"method": "GET", "route": "/items"})

    def observe(n: int) -> None:
        for _ in range(n):
            histogram.record(0.3)

    return {"inc()": inc, "labels(a, b).inc()": labels_inc, "histogram.observe()": observe}


def cpu_ns(loop: Loop, calls: int, threads: int) -> float:
    """Return CPU time per call in nanoseconds, over all threads."""
    workers = (
        [threading.Thread(target=loop, args=(calls // threads,)) for _ in range(threads)]
        if threads > 1
        else []
    )
    start = time.process_time_ns()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if not workers:
        loop(calls)
    return (time.process_time_ns() - start) / calls


def best(loops: Sequence[Loop], threads: int) -> list[float]:
    """Return the least time per call of each, in turns."""
    rounds = [[cpu_ns(loop, CALLS, threads) for loop in loops] for _ in range(ROUNDS)]
    return [min(times) for times in zip(*rounds, strict=True)]


def calls() -> None:
    """Print the time per call, with one thread and with eight."""
    mine, registry = ours.Registry(), peer.CollectorRegistry()
    own, others, third = loops_of(ours, mine), loops_of(peer, registry), opentelemetry_loops()
    for threads in (1, THREADS):
        print(f"ns per call, {threads} thread(s):       metricsmith  prometheus_client  ratio  OpenTelemetry")
        for name, loop in own.items():
            loops = [loop, others[name], *([third[name]] if name in third else [])]
            times = best(loops, threads)
            last = f"{times[2]:13.0f}" if len(times) > 2 else ""
            print(f"  {name:28} {times[0]:11.0f} {times[1]:18.0f} {times[0] / times[1]:6.2f}  {last}")
    same = [r.get_sample_value("events_total") for r in (mine, registry)]  # type: ignore[attr-defined]
    print(f"  counted by both: {same[0]:.0f} and {same[1]:.0f}, called {2 * ROUNDS * CALLS}")


def fill(library: object, registry: object) -> None:
    """Make 50,000 samples: three of five are buckets of histograms, as in real documents."""
    for number in range(10):
        counter = library.Counter(f"events_{number}_total", "Events.", ["method", "route"], registry=registry)  # type: ignore[attr-defined]
        for row in range(2000):
            counter.labels("GET", f"/api/v1/resource/{row}").inc(row * 1.5)
    for number in range(10):
        histogram = library.Histogram(f"latency_{number}_seconds", "Latency.", ["route"], registry=registry)  # type: ignore[attr-defined]
        for row in range(SAMPLES * 3 // 5 // 10 // 17):
            histogram.labels(f"/api/v1/resource/{row}").observe(row / 100)


def cpu_ms(expose: Callable[[], bytes]) -> float:
    """Return the CPU time of one call in milliseconds."""
    start = time.process_time()
    expose()
    return (time.process_time() - start) * 1e3


def exposition() -> None:
    """Print the CPU time of a document, the first and later ones."""
    mine, registry = ours.Registry(), peer.CollectorRegistry()
    fill(ours, mine)
    fill(peer, registry)
    peer.disable_created_metrics()
    both: list[Callable[[], bytes]] = [
        partial(ours.generate_latest, mine),
        partial(peer.generate_latest, registry),
    ]  # type: ignore[arg-type]
    first = cpu_ms(both[0])
    times: list[list[float]] = []
    for _ in range(5):
        gc.collect()
        times.append([cpu_ms(expose) for expose in both])
    own, other = (min(t) for t in zip(*times, strict=True))
    lines = [sum(not line.startswith(b"#") for line in expose().splitlines()) for expose in both]
    print(
        f"exposition of {lines[0]} samples ({lines[1]} of prometheus_client): metricsmith {own:.1f} ms, "
        f"the first {first:.1f} ms; prometheus_client {other:.1f} ms: {other / own:.1f} times as fast, aim 3"
    )


def bomb() -> None:
    """Print what a million label values do to the memory of the process."""
    code = (
        "import metricsmith.sdk as s, logging; logging.disable()\n"
        "c = s.Counter('requests_total', 'Requests.', ['method', 'user'], registry=s.Registry())\n"
        "rss = lambda: int(open('/proc/self/statm').read().split()[1]) * 4096 / 1e6\n"
        "marks = [rss()]\n"
        "for i in range(1_000_000):\n"
        "    c.labels('GET', f'user-{i}').inc()\n"
        "    if i in (4_999, 9_999, 999_999): marks.append(rss())\n"
        "print('label bomb, MB resident: at first %.1f, after 5,000 values %.1f, 10,000 %.1f, a million %.1f'"
        " % tuple(marks))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def start() -> None:
    """Print what the import costs."""
    code = "import time; t = time.process_time(); import {}; print(time.process_time() - t)"
    for module in ("metricsmith.sdk", "prometheus_client"):
        runs = [subprocess.check_output([sys.executable, "-c", code.format(module)]) for _ in range(7)]
        print(f"import {module}: {min(map(float, runs)) * 1e3:.0f} ms of CPU")


if __name__ == "__main__":
    calls()
    exposition()
    bomb()
    start()
