"""Claim: the host source costs at most 0.5 % of a core at an interval of 10 s.

One run of the `host` source in an event loop of its own process: what a reading costs in CPU time, to the
emitted batch. Beside it the node exporter, which reads the same machine, per scrape of its default page.
Run: .venv/bin/python bench/bench_host.py
"""

from __future__ import annotations

import asyncio
import tempfile
import time
import urllib.request
from pathlib import Path

import uvloop

from common import table, usage
from metricsmith.contracts import Context
from metricsmith.model.clock import SystemClock
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.sources.host.source import HostSource
from metricsmith.testing.services import node_exporter

READINGS, ROUNDS, INTERVAL_S = 200, 5, 10.0


async def ours() -> tuple[float, int]:
    """Return the CPU milliseconds of one reading, in a worker thread as in the agent, and its samples."""
    context = Context("host", SeriesTable(), Telemetry(), SystemClock())
    source = HostSource(HostSource.Config(), context)
    spent, samples = [], 0
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(READINGS):
            samples = len(await asyncio.to_thread(source.collect, context.clock.now_ms()))
        spent.append((time.process_time() - started) / READINGS * 1e3)
    return min(spent), samples


def theirs(url: str, pid: int) -> tuple[float, int]:
    """Return the CPU milliseconds that the node exporter spends on one scrape, and its samples."""
    spent, samples = [], 0
    for _ in range(ROUNDS):
        started = usage(pid).cpu_s
        for _ in range(READINGS // 4):
            with urllib.request.urlopen(f"{url}/metrics") as answer:
                page = answer.read()
        spent.append((usage(pid).cpu_s - started) / (READINGS // 4) * 1e3)
        samples = sum(not line.startswith(b"#") for line in page.splitlines())
    return min(spent), samples


def main() -> None:
    """Measure both and print the table."""
    mine, samples = uvloop.run(ours())
    with tempfile.TemporaryDirectory() as folder, node_exporter(Path(folder)) as server:
        peer, others = theirs(server.url, server.pid)
    rows = [("host source", mine, samples), ("node exporter, default page", peer, others)]
    table(
        f"One reading of the machine, each {INTERVAL_S:g} s",
        ("what", "CPU ms", "samples", "% of a core", "times ours"),
        [(what, spent, found, spent / INTERVAL_S / 10, spent / mine) for what, spent, found in rows],
    )


if __name__ == "__main__":
    main()
