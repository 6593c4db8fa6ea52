"""Claim: to run 200 Python collectors each 10 s costs at most 1 % of a core.

The `python` source with 200 collectors that return one number, and then 200 that are asynchronous, to the
emitted batch, on its real schedule: CPU time of the whole process, the collectors' own work (next to
nothing) included. Beside it what such a schedule costs in bare asyncio, 200 tasks that sleep and call the
same function, without threads, time-outs, labels or batches.
Run: .venv/bin/python bench/bench_collectors.py [SECONDS]
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from common import table
from metricsmith.contracts import Context
from metricsmith.model.batch import Batch
from metricsmith.model.clock import SystemClock
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.sources.python.source import PythonSource

COLLECTORS, INTERVAL_S = 200, 10.0
HEAD = "from metricsmith.collector import collector\n"


async def ours(folder: Path, kind: str) -> Callable[[], Awaitable[int]]:
    """Start the source over a file of collectors; return what ends it and tells how many batches it gave."""
    lines = [f"@collector()\n{kind}def c{number}():\n    return {number}\n" for number in range(COLLECTORS)]
    (folder / "many.py").write_text(HEAD + "".join(lines))
    clock = SystemClock()
    context = Context("many", SeriesTable(), Telemetry(clock), clock)
    source = PythonSource(PythonSource.Config(directory=str(folder)), context)
    emitted, stop = [0], asyncio.Event()

    async def emit(batch: Batch) -> None:
        emitted[0] += 1

    task = asyncio.create_task(source.run(emit, stop))

    async def end() -> int:
        stop.set()
        await task
        return emitted[0]

    return end


async def bare() -> Callable[[], Awaitable[int]]:
    """Start tasks that sleep and call, and nothing else."""
    called = [0]

    def work() -> int:
        called[0] += 1
        return called[0]

    async def loop(phase: float) -> None:
        await asyncio.sleep(phase)
        while True:
            work()
            await asyncio.sleep(INTERVAL_S)

    tasks = [asyncio.create_task(loop(number % 10)) for number in range(COLLECTORS)]

    async def end() -> int:
        for task in tasks:
            task.cancel()
        return called[0]

    return end


async def measure(
    start: Callable[[], Awaitable[Callable[[], Awaitable[int]]]], seconds: float
) -> tuple[float, int]:
    """Return CPU seconds a second, once all have run for the first time, and collections in that time."""
    end = await start()
    await asyncio.sleep(1)
    began, since = time.process_time(), time.monotonic()
    await asyncio.sleep(seconds)
    share = (time.process_time() - began) / (time.monotonic() - since)
    return share, await end()


def main() -> None:
    """Measure all three and print the table."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 15.0
    rows = []
    for what, kind in (
        ("collectors", ""),
        ("collectors, asynchronous", "async "),
        ("bare asyncio tasks", None),
    ):
        with tempfile.TemporaryDirectory() as folder:
            start = bare if kind is None else lambda f=folder, k=kind: ours(Path(f), k)
            share, runs = uvloop.run(measure(start, seconds))
        rows.append((what, 100 * share, runs))
    least = rows[-1][1]
    table(
        f"{COLLECTORS} collectors, each {INTERVAL_S:g} s, for {seconds:g} s",
        ("what", "% of a core", "runs", "ms per run", "times bare"),
        [(w, s, n, s / 100 * (seconds + 1) / n * 1e3, s / least) for w, s, n in rows],
    )


if __name__ == "__main__":
    main()
