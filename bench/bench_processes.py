"""What sharing metrics among processes costs: CPU of a worker and of the collecting process.

    python bench/bench_processes.py

A worker of 1,000 series pushes every second; here pushes follow one another, and the CPU time of one is what
it costs in a second. Beside it what a scrape costs where `prometheus_client` keeps the values in files.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from metricsmith.model.state import MemoryState
from metricsmith.runtime.state import StateFile
from metricsmith.sdk import Counter, Gauge, Histogram, Registry
from metricsmith.sdk.processes import Collector, Sharing

ROUNDS = 50
WORKERS = 4
CHILD = """
import os, sys
os.environ["PROMETHEUS_MULTIPROC_DIR"] = sys.argv[1]
from prometheus_client import Counter, Gauge, Histogram
jobs = Counter("jobs", "Jobs.", ["kind"])
depth = Gauge("depth", "Depth.", ["kind"], multiprocess_mode="livesum")
seconds = Histogram("seconds", "Time.", ["kind"])
for n in range(400):
    jobs.labels(f"k{n}").inc()
    depth.labels(f"k{n}").set(n)
for n in range(12):
    seconds.labels(f"k{n}").observe(0.1)
"""


def fill(registry: Registry) -> Callable[[], None]:
    """Make 1,004 series: 400 counters, 400 gauges, 12 histograms of 17; return what changes them all."""
    jobs = Counter("jobs_total", "Jobs.", ["kind"], registry=registry)
    depth = Gauge("depth", "Depth.", ["kind"], multiprocess_mode="livesum", registry=registry)
    seconds = Histogram("seconds", "Time.", ["kind"], registry=registry)

    def change() -> None:
        for n in range(400):
            jobs.labels(f"k{n}").inc()
            depth.labels(f"k{n}").inc()
        for n in range(12):
            seconds.labels(f"k{n}").observe(0.1)

    change()
    return change


def measure(collector: Collector, name: str, changed: bool) -> None:
    """Print CPU of the pushing and of the collecting thread for one push."""
    registry = Registry()
    change = fill(registry)
    sharing = Sharing(registry, collector.address, interval_s=3600, service="", instance="")
    assert sharing.flush()
    pushing = whole = wall = 0.0
    for _ in range(ROUNDS):
        if changed:
            change()
        began, of_thread, of_process = time.perf_counter(), time.thread_time(), time.process_time()
        assert sharing.flush()
        wall += time.perf_counter() - began
        pushing += time.thread_time() - of_thread
        whole += time.process_time() - of_process
    worker, collecting = 1000 * pushing / ROUNDS, 1000 * (whole - pushing) / ROUNDS
    print(
        f"{name:42} {worker:6.2f} ms {worker / 10:6.2f} % {collecting:9.2f} ms {1000 * wall / ROUNDS:9.2f} ms"
    )
    sharing._disconnect()


def measure_files(folder: str) -> None:
    """Print what a scrape of the files of four processes costs."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector

    for _ in range(WORKERS):
        subprocess.run([sys.executable, "-c", CHILD, folder], check=True)
    began = time.process_time()
    for _ in range(10):
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]
        generate_latest(registry)
    size = sum(path.stat().st_size for path in Path(folder).iterdir())
    print(
        f"prometheus_client, a scrape of {WORKERS} processes: {100 * (time.process_time() - began):.1f} ms,",
        end=" ",
    )
    print(f"{size / 1e6:.1f} MB of files")


def measure_reading(address: str) -> None:
    """Print what a scrape of the totals of four processes costs."""
    from metricsmith.sdk import generate_latest

    collector, registry = Collector(address), Registry()
    collector.start()
    for _ in range(WORKERS):
        own = Registry()
        fill(own)
        sharing = Sharing(own, address, interval_s=3600, service="", instance="")
        assert sharing.flush()
    registry.register(collector)
    began = time.process_time()
    for _ in range(10):
        generate_latest(registry)
    print(f"here, a scrape of {WORKERS} processes: {100 * (time.process_time() - began):.1f} ms, no files")
    collector.stop()


def main() -> None:
    """Measure."""
    print(f"{'a push of 1,004 series':42} {'worker':>9} {'of 1 s':>8} {'collecting':>12} {'wall':>12}")
    with tempfile.TemporaryDirectory() as folder:
        for name, kept in (
            ("in memory (a collecting process)", None),
            ("kept in a dictionary", MemoryState()),
            ("kept on disk (the agent)", StateFile(Path(folder) / "state").of("processes")),
        ):
            collector = Collector(os.path.join(folder, "s", "s"), kept=kept)  # noqa: PTH118
            collector.start()
            measure(collector, f"all changed, {name}", True)
            measure(collector, f"none changed, {name}", False)
            collector.stop()
        measure_reading(os.path.join(folder, "s", "s"))  # noqa: PTH118
    with tempfile.TemporaryDirectory() as folder:
        measure_files(folder)


if __name__ == "__main__":
    main()
