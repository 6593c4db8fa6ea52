"""Claim: a steady scrape of 1,000 series costs half a millisecond of CPU, HTTP included.

The peer is the same page through the same HTTP client, parsed by prometheus_client. Both make one
request after another on one kept connection. Run: .venv/bin/python bench/bench_scrape_source.py
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import uvloop
from prometheus_client.parser import text_string_to_metric_families
from yarl import URL

from common import table, targets
from metricsmith.contracts import Context
from metricsmith.errors import ScrapeError
from metricsmith.model.batch import Batch
from metricsmith.model.clock import SystemClock
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.sources.client import HttpClient
from metricsmith.sources.endpoint import discovered, endpoint
from metricsmith.sources.settings import ScrapeConfig
from metricsmith.sources.target import Equipment, Target

SERIES, ROUNDS = 1000, 5


async def cpu_ms(action: Callable[[], Awaitable[object]], times: int) -> float:
    """Return the least CPU milliseconds of one action over some rounds."""
    spent = []
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(times):
            await action()
        spent.append((time.process_time() - started) / times * 1e3)
    return min(spent)


async def listening(fetch: Callable[[], Awaitable[object]]) -> None:
    """Return when the page server, which tells nobody when it is ready, answers."""
    while True:
        try:
            await fetch()
            return
        except ScrapeError:
            await asyncio.sleep(0.1)


async def measure(port: int) -> None:
    """Scrape, and print the table."""
    config = ScrapeConfig(targets=(f"127.0.0.1:{port}",))
    context = Context("bench", SeriesTable(), Telemetry(), SystemClock())
    emitted = 0

    async def emit(batch: Batch) -> None:
        nonlocal emitted
        emitted += len(batch)

    async with HttpClient(config) as client:
        named = endpoint(discovered(config.targets[0], {}), "bench", config)
        assert named is not None
        target = Target(named, "bench", Equipment(config, context, client, emit))
        url = URL(named.url)

        async def fetch() -> bytes:
            return (await client.get(url, {}, 10, 1 << 26)).body

        async def peer() -> None:
            for family in text_string_to_metric_families((await fetch()).decode()):
                len(family.samples)

        async def scrape() -> None:
            await target.scrape(context.clock.now_ms())

        await listening(fetch)
        for _ in range(10):
            await scrape()
        rows = {
            "scrape, to the emitted batch": await cpu_ms(scrape, 100),
            "of which the HTTP request": await cpu_ms(fetch, 100),
            "peer: request and prometheus_client.parser": await cpu_ms(peer, 5),
        }
    assert emitted >= SERIES * 500
    mine = rows["scrape, to the emitted batch"]
    table(
        f"One steady scrape of {SERIES} series",
        ("what", "CPU ms", "times ours"),
        [(what, spent, spent / mine) for what, spent in rows.items()],
    )


if __name__ == "__main__":
    with targets(SERIES) as port:
        uvloop.run(measure(port))
