"""Limits, queue and hang-ups of queries, over a real server: each refusal is counted, the agent lives on."""

from __future__ import annotations

import asyncio
import logging
import threading
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from metricsmith.api.app import ApiLimits, create_app
from metricsmith.model.selection import Selection
from metricsmith.promql.engine import Engine, EngineConfig

NOW_S = 1_700_000_000
SERIES = {f"x|i={i}": [(60.0 - 15 * j, float(j)) for j in range(4)] for i in range(5)}


class SlowStore:
    """A store whose `select` waits to be released, and says when it was entered."""

    def __init__(self, store: Any) -> None:
        self._store, self._loop = store, asyncio.get_running_loop()
        self.entered, self.release = asyncio.Semaphore(0), threading.Event()
        self.selects = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def select(self, *arguments: Any) -> Selection:
        self.selects += 1
        self._loop.call_soon_threadsafe(self.entered.release)
        assert self.release.wait(30)
        return self._store.select(*arguments)  # type: ignore[no-any-return]


@pytest.fixture
def slow(make_api: Callable[..., Any]) -> Any:
    """Return a function that makes an application over a slow store."""
    made: list[SlowStore] = []

    def make(**limits: Any) -> Any:
        api = make_api(limits=ApiLimits(**limits))
        api.write(SERIES)
        store = SlowStore(api.store)
        made.append(store)
        engine = Engine(store, EngineConfig(), api.clock)
        api.context = replace(api.context, store=store, engine=engine)
        api.app = create_app(api.context)
        return api, store

    yield make
    for store in made:
        store.release.set()


@asynccontextmanager
async def client(api: Any) -> AsyncIterator[aiohttp.ClientSession]:
    async with api.served() as url, aiohttp.ClientSession(url) as session:
        yield session


async def until(true: Callable[[], bool]) -> None:
    """Wait for what other tasks of this loop bring about."""
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 gauges tell nobody when they change
            await asyncio.sleep(0)


def failures(api: Any, reason: str) -> float:
    found: float = api.context.telemetry.value("metricsmith_query_failures_total", reason=reason)
    return found


def gauge(api: Any, name: str) -> float:
    for family in api.context.telemetry.registry.collect():
        for sample in family.samples:
            if sample.name == name:
                return float(sample.value)
    raise KeyError(name)


REQUESTS = [
    ("GET", "/api/v1/query?query=sum(x)", None),
    ("POST", "/api/v1/query", {"query": "sum(x)"}),
    ("GET", f"/api/v1/query_range?query=x&start={NOW_S - 60}&end={NOW_S}&step=15", None),
    ("GET", "/api/v1/explain?query=x", None),
    ("GET", "/api/v1/metrics/aggregate?metric=x", None),
]


@pytest.mark.parametrize(("method", "path", "form"), REQUESTS)
async def test_a_client_that_hangs_up_cancels_its_query(slow: Any, method: str, path: str, form: Any) -> None:
    api, store = slow(concurrent_queries=1)
    async with client(api) as session:
        asked = asyncio.create_task(session.request(method, path, data=form))
        await store.entered.acquire()
        asked.cancel()
        # The rest of the work ends at its first look: the query fails although the store gave its samples.
        async with client(api) as other:
            waiting = asyncio.create_task(other.get("/api/v1/query?query=1"))
            await until(lambda: gauge(api, "metricsmith_queries_waiting") == 1)
            await until(lambda: asked.done())
            store.release.set()
            async with await waiting as answer:
                assert answer.status == 200  # the thread is free again
        await until(lambda: failures(api, "canceled") == 1)
        await until(lambda: gauge(api, "metricsmith_queries_running") == 0)


async def test_who_hangs_up_in_the_queue_loses_the_place(slow: Any) -> None:
    api, store = slow(concurrent_queries=1, queued_queries=1)
    async with client(api) as session, client(api) as other:
        first = asyncio.create_task(session.get("/api/v1/query?query=x"))
        await store.entered.acquire()
        second = asyncio.create_task(other.get("/api/v1/query?query=x"))
        await until(lambda: gauge(api, "metricsmith_queries_waiting") == 1)
        async with session.get("/api/v1/query?query=x") as refused:
            assert (refused.status, (await refused.json())["errorType"]) == (503, "unavailable")
            assert refused.headers["retry-after"]
        assert failures(api, "unavailable") == 1
        second.cancel()
        await until(lambda: failures(api, "canceled") == 1)
        assert gauge(api, "metricsmith_queries_waiting") == 0
        store.release.set()
        async with await first as answer:
            assert len((await answer.json())["data"]["result"]) == 5
    assert store.selects == 1  # the second never began


async def test_time_in_the_queue_counts(slow: Any) -> None:
    api, store = slow(concurrent_queries=1)
    async with client(api) as session:
        first = asyncio.create_task(session.get("/api/v1/query?query=x"))
        await store.entered.acquire()
        async with session.get("/api/v1/query?query=x&timeout=10ms") as late:
            told = await late.json()
            assert (late.status, told["errorType"]) == (503, "timeout")
            assert told["error"] == "query timed out in query queue: waited 0.01 s"
        assert failures(api, "timeout") == 1
        store.release.set()
        async with await first as answer:
            assert answer.status == 200


async def test_how_the_agent_is_can_be_asked_while_all_threads_are_busy(slow: Any) -> None:
    api, store = slow(concurrent_queries=2, queued_queries=1)
    async with client(api) as session:
        asked = [asyncio.create_task(session.get("/api/v1/query?query=x")) for _ in range(3)]
        await store.entered.acquire()
        await store.entered.acquire()
        await until(lambda: gauge(api, "metricsmith_queries_waiting") == 1)
        for path in ("/health", "/status", "/metrics", "/-/ready"):
            async with session.get(path) as answer:
                assert answer.status == 200
                text = await answer.text()
            if path == "/metrics":
                assert "\nmetricsmith_queries_running 2\n" in text
                assert "\nmetricsmith_queries_waiting 1\n" in text
                assert "\nmetricsmith_queries_concurrent_max 2\n" in text
        store.release.set()
        assert [(await task).status for task in asked] == [200] * 3


@pytest.mark.parametrize(
    ("config", "query", "reason", "message"),
    [
        ({"max_samples": 10}, "x[5m]", "max_samples", "too many samples into memory"),
        ({"max_samples": 24}, "count_over_time(x[5m])", "max_samples", "too many samples into memory"),
        ({"max_series": 4}, "sum(x)", "max_series", "got 5, wanted at most 4"),
        ({"max_points": 19}, "x[5m]", "max_points", "got 20, wanted at most 19"),
        ({"max_points": 4}, "x", "max_points", "got 5, wanted at most 4"),
        ({"max_subquery_steps": 4}, "max_over_time(x[5m:1m])", "max_steps", "5 steps, wanted at most 4"),
    ],
)
async def test_over_a_limit(make_api: Any, config: Any, query: str, reason: str, message: str) -> None:
    api = make_api()
    api.write(SERIES)
    refusing = Engine(api.store, EngineConfig(**config), api.clock)
    api.context = replace(api.context, engine=refusing)
    api.app = create_app(api.context)
    answer = await api.get("/api/v1/query", query=query)
    assert (answer.status, answer.json["errorType"]) == (422, "execution")
    assert message in answer.json["error"]
    assert failures(api, reason) == 1
    assert (await api.get("/api/v1/query", query="count(up)")).status == 200


async def test_what_is_refused_is_not_computed(make_api: Any) -> None:
    api = make_api()
    api.write({f"y|i={i}": [(10.0, 1.0)] for i in range(200)})
    api.context = replace(api.context, engine=Engine(api.store, EngineConfig(max_samples=10**6), api.clock))
    api.app = create_app(api.context)
    bounds = {"start": NOW_S - 600, "end": NOW_S, "step": "55ms"}
    await api.get("/api/v1/query_range", query="count(y)", **bounds | {"step": "5s"})
    tracemalloc.start()
    answer = await api.get("/api/v1/query_range", query="y", **bounds)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer.status == 422
    assert most < 2 << 20  # its values would take 17 MB


async def test_slow_queries_are_logged_in_one_line(make_api: Any, caplog: pytest.LogCaptureFixture) -> None:
    api = make_api(limits=ApiLimits(log_slower_than_s=0))
    api.write(SERIES)
    with caplog.at_level(logging.WARNING):
        await api.get("/api/v1/query", query="sum(\n  x\x1b[31m)")
        await api.get("/api/v1/query", query="sum(\n  x) #" + "a" * 9000)
    refused, long = (record.getMessage() for record in caplog.records)
    assert refused.startswith("slow query: instant, ")
    assert "parse" in refused
    assert refused.endswith(": sum( x?[31m)")
    assert "success, 5 series and 20 samples read" in long
    assert len(long) < 2300
    assert long.endswith("(9011 characters)")


@pytest.mark.parametrize(("slower", "lines"), [(None, 0), (3600.0, 0), (0.0, 1)])
async def test_what_is_logged_is_a_setting(
    make_api: Any, caplog: pytest.LogCaptureFixture, slower: float | None, lines: int
) -> None:
    api = make_api(limits=ApiLimits(log_slower_than_s=slower))
    await api.get("/api/v1/query", query="1")
    assert len(caplog.records) == lines


async def test_queries_are_measured_by_kind_and_outcome(make_api: Any) -> None:
    api = make_api()
    api.write(SERIES)
    await api.get("/api/v1/query", query="x[5m]")
    await api.get("/api/v1/query_range", query="x", start=NOW_S, end=NOW_S, step=1)
    await api.get("/api/v1/query", query="x +")
    await api.get("/api/v1/explain", query="x")
    page = (await api.get("/metrics")).body.decode()
    for kind, outcome, count in (
        ("instant", "success", 1),
        ("instant", "failure", 1),
        ("range", "success", 1),
        ("explain", "success", 1),
    ):
        line = f'metricsmith_query_seconds_count{{kind="{kind}",outcome="{outcome}"}} {count}'
        assert line in page
    assert "metricsmith_query_queue_seconds_count 4\n" in page
    assert "metricsmith_query_samples_total 60\n" in page


async def test_a_body_that_goes_on_does_not_hold_the_query_up(api: Any) -> None:
    api.write(SERIES)
    headers = {"content-type": "text/plain"}
    answer = await api.call("POST", "/api/v1/query", b"not read", headers, query=b"query=x")
    assert len(answer.data["result"]) == 5
