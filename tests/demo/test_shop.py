"""The shop serves its documented routes and exposes exactly its documented metrics."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from metricsmith.demo.load import MAX_RATE, TRAFFIC, LoadReport, generate_load
from metricsmith.demo.shop import Shop
from metricsmith.runtime.http import HttpServer

DOCUMENTED = {
    "http_requests",
    "http_request_duration_seconds",
    "external_call_latency_ms",
    "orders_created",
    "orders_success",
    "orders_failed",
    "payments_processed",
    "chaos_events",
    "service_restarts",
    "simulated_latency_ms",
}


@pytest.fixture
async def shop_url() -> AsyncIterator[str]:
    server = HttpServer(Shop(chaos=True, seed=4).app(), "127.0.0.1", 0)
    server.start()
    yield f"http://127.0.0.1:{server.port}"
    await server.stop()


def until_sent(count: int) -> dict[str, Any]:
    """Return the end of a load that is over when so many requests were sent, however long that takes."""
    stop = asyncio.Event()

    def look(report: LoadReport) -> None:
        if report.sent >= count:
            stop.set()

    return {"seconds": math.inf, "progress": look, "stop": stop}


async def test_load_reaches_every_route_and_is_counted(shop_url: str) -> None:
    report = await generate_load(shop_url, MAX_RATE, **until_sent(len(TRAFFIC) * 20))
    assert report.sent == report.failed + sum(report.by_status.values())
    assert report.failed == 0
    assert {200, 201, 404} <= set(report.by_status)
    async with aiohttp.ClientSession() as session, session.get(f"{shop_url}/metrics") as answer:
        families = {f.name: f for f in text_string_to_metric_families(await answer.text())}
    assert set(families) == DOCUMENTED
    requests = families["http_requests"].samples
    assert sum(s.value for s in requests) == report.sent
    assert {s.labels["route"] for s in requests} <= {
        "/", "/health", "/metrics", "/api/products", "/api/products/:id", "/api/orders", "/api/users",
        "/api/cart", "/api/status", "unmatched",
    }  # fmt: skip


async def test_load_is_bounded() -> None:
    with pytest.raises(ValueError, match="wanted a rate up to"):
        await generate_load("http://127.0.0.1:1", rate=MAX_RATE + 1, seconds=1)


async def test_load_ends_when_it_is_told_and_counts_what_it_sent(shop_url: str) -> None:
    report = await generate_load(shop_url, 200, **until_sent(10))
    assert 10 <= report.sent == sum(report.by_status.values()) + report.failed
    assert 0 < report.seconds < 60


async def test_nobody_answering_is_counted_not_raised() -> None:
    report = await generate_load("http://127.0.0.1:1", 1000, **until_sent(1))
    assert report.failed == report.sent > 0
