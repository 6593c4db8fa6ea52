"""The load generator: the documented traffic, bounded in rate, time and concurrency."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp

from metricsmith.demo.shop import PRODUCTS

MAX_RATE = 5000.0
MAX_CONCURRENT = 64
TIMEOUT_S = 10.0

TRAFFIC: tuple[tuple[str, str], ...] = (
    ("GET", "/"),
    ("GET", "/health"),
    ("GET", "/metrics"),
    ("GET", "/api/products"),
    ("GET", "/api/orders"),
    ("GET", "/api/users"),
    ("GET", "/api/cart"),
    ("GET", "/api/status"),
    ("POST", "/api/orders"),
    ("POST", "/api/users"),
    ("GET", "/not-found"),
    ("GET", "/does/not/exist"),
    ("GET", "/.git/config"),
    ("GET", "/api/products/{id}"),
)


@dataclass(slots=True)
class LoadReport:
    """What was sent and what came back."""

    sent: int = 0
    skipped: int = 0
    """Requests not sent because MAX_CONCURRENT were still unanswered."""
    failed: int = 0
    seconds: float = 0.0
    by_status: Counter[int] = field(default_factory=Counter)


async def generate_load(
    url: str,
    rate: float,
    seconds: float,
    progress: Callable[[LoadReport], None] = lambda _report: None,
    stop: asyncio.Event | None = None,
) -> LoadReport:
    """Send the shop's traffic to `url` until the time is over or `stop` is set; return what happened.

    Requests start at fixed times; when the shop is slower than the rate, some
    are skipped and counted, so that a slow shop is never buried.

    Raises:
        ValueError: rate or time out of bounds.
    Units:
        rate: requests per second; seconds: how long, may be infinite.
    """
    if not 0 < rate <= MAX_RATE or not seconds > 0:
        raise ValueError(
            f"got rate {rate:g}/s for {seconds:g}s, wanted a rate up to {MAX_RATE:g}/s and a time"
        )
    stop = stop or asyncio.Event()
    report, running = LoadReport(), set[asyncio.Task[None]]()
    chance = random.Random()
    started = time.monotonic()
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    connector = aiohttp.TCPConnector(limit=MAX_CONCURRENT)
    async with aiohttp.ClientSession(url.rstrip("/") + "/", timeout=timeout, connector=connector) as session:
        for number in itertools.count():
            due = min(number / rate, seconds)
            await _wait(stop, due - (time.monotonic() - started))
            report.seconds = time.monotonic() - started
            progress(report)
            if stop.is_set() or report.seconds >= seconds:
                break
            if len(running) >= MAX_CONCURRENT:
                report.skipped += 1
                continue
            method, path = TRAFFIC[number % len(TRAFFIC)]
            task = asyncio.create_task(
                _send(session, method, path.replace("{id}", str(chance.randint(1, PRODUCTS))), report)
            )
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.gather(*running)
    progress(report)
    return report


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    if seconds > 0:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), seconds)


async def _send(session: aiohttp.ClientSession, method: str, path: str, report: LoadReport) -> None:
    report.sent += 1
    try:
        async with session.request(method, path.lstrip("/")) as answer:
            await answer.read()
            report.by_status[answer.status] += 1
    except (aiohttp.ClientError, TimeoutError):
        report.failed += 1
