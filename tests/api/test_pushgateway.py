"""Groups that jobs push: what prometheus_client pushes can be read, is replaced, deleted, and expires."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    delete_from_gateway,
    push_to_gateway,
    pushadd_to_gateway,
)

from metricsmith.contracts import Context
from metricsmith.errors import DiskFull
from metricsmith.model.batch import Batch
from metricsmith.model.state import MemoryState
from metricsmith.sources.pushgateway.source import PushgatewayConfig, PushgatewaySource

PROTOBUF = {"content_type": "application/vnd.google.protobuf; encoding=delimited"}
TEXT = b'# TYPE rows_total counter\nrows_total 5\n# TYPE took gauge\ntook{step="a"} 1.5\n'


class Gateway:
    """The application with a `pushgateway` source that repeats when told."""

    def __init__(self, make_api: Callable[..., Any], state: MemoryState, **settings: Any) -> None:
        self.api = make_api(pushgateway=lambda: self.source)
        context = self.api.context
        self.source = PushgatewaySource(
            PushgatewayConfig(**settings),
            Context("pushgateway", context.series, context.telemetry, context.clock, state),
        )
        self._stop = asyncio.Event()
        self._running = asyncio.create_task(self.source.run(self._emit, self._stop))

    async def _emit(self, batch: Batch) -> None:
        await self.api.context.emit(batch)

    async def stop(self) -> None:
        self._stop.set()
        await self._running

    async def push(self, path: str, body: bytes = TEXT, method: str = "PUT", **headers: str) -> Any:
        found = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.api.call(method, f"/metrics/{path}", body, found)

    async def after(self, seconds: float) -> None:
        """Let time pass, and what is due happen."""
        self.api.clock.advance(seconds)
        await self.source.repeat(self.api.clock.now_ms())

    async def values(self, query: str) -> dict[str, float]:
        """Return value by labels, without the name."""
        now = self.api.clock.now_ms() / 1000
        found = (await self.api.get("/api/v1/query", query=query, time=str(now))).data["result"]
        return {
            ",".join(f"{k}={v}" for k, v in sorted(each["metric"].items()) if k != "__name__"): float(
                each["value"][1]
            )
            for each in found
        }


@pytest.fixture
async def make_gateway(make_api: Callable[..., Any]) -> AsyncIterator[Callable[..., Gateway]]:
    made: list[Gateway] = []

    def make(state: MemoryState | None = None, **settings: Any) -> Gateway:
        made.append(Gateway(make_api, state or MemoryState(), **settings))
        return made[-1]

    yield make
    for each in made:
        await each.stop()


@pytest.fixture
async def gateway(make_gateway: Callable[..., Gateway]) -> Gateway:
    gateway = make_gateway()
    await asyncio.sleep(0)  # the source begins to run
    return gateway


async def test_what_prometheus_client_pushes_adds_and_deletes(gateway):
    registry = CollectorRegistry()
    Gauge("last_success", "When.", registry=registry).set(7)
    histogram = Histogram("took_seconds", "How long.", registry=registry, buckets=(1, 5))
    histogram.observe(3)
    key = {"instance": "a/b", "zone": "größe", "empty": ""}
    async with gateway.api.served() as url:
        await asyncio.to_thread(push_to_gateway, url, "backup", registry, key)
        labels = "instance=a/b,job=backup,zone=größe"
        assert await gateway.values("last_success") == {labels: 7}
        assert await gateway.values("took_seconds_count") == {labels: 1}
        bucket = "instance=a/b,job=backup,le=1.0,zone=größe"
        assert await gateway.values('took_seconds_bucket{le="1.0"}') == {bucket: 0}

        other = CollectorRegistry()
        Counter("rows", "Rows.", registry=other).inc(2)
        await asyncio.to_thread(pushadd_to_gateway, url, "backup", other, key)
        assert await gateway.values("rows_total") == {labels: 2}
        assert await gateway.values("last_success") == {labels: 7}

        await asyncio.to_thread(push_to_gateway, url, "backup", other, key)
        assert await gateway.values("last_success") == {}

        await asyncio.to_thread(delete_from_gateway, url, "backup", key)
        assert await gateway.values('{job="backup"}') == {}


async def test_a_push_replaces_its_group_only(gateway):
    for group in ("job/a", "job/a/zone/x", "job/b"):
        assert (await gateway.push(group)).status == 200
    assert (await gateway.push("job/a", b"took 9\n")).status == 200
    assert await gateway.values("took") == {"job=a": 9, "job=a,step=a,zone=x": 1.5, "job=b,step=a": 1.5}
    assert await gateway.values("rows_total") == {"job=a,zone=x": 5, "job=b": 5}


async def test_post_replaces_families_of_the_same_name(gateway):
    histogram = b'# TYPE h histogram\nh_bucket{le="1"} 1\nh_bucket{le="+Inf"} 2\nh_sum 3\nh_count 2\n'
    await gateway.push("job/a", TEXT + histogram, "POST")
    smaller = b'# TYPE h histogram\nh_bucket{le="+Inf"} 4\nh_sum 3\nh_count 4\n'
    await gateway.push("job/a", smaller + b'# TYPE took gauge\ntook{step="b"} 2\n', "POST")
    assert await gateway.values("h_bucket") == {"job=a,le=+Inf": 4}
    assert await gateway.values("took") == {"job=a,step=b": 2}
    assert await gateway.values("rows_total") == {"job=a": 5}


async def test_grouping_labels_take_the_place_of_the_documents(gateway):
    await gateway.push("job/a/zone/x", b'm{job="own",zone="own",step="1"} 1\n')
    assert await gateway.values("m") == {"job=a,step=1,zone=x": 1}


async def test_times_of_pushes_are_told(gateway):
    await gateway.push("job/a")
    begun = gateway.api.clock.now_ms() / 1000
    assert await gateway.values("push_time_seconds") == {"job=a": begun}
    assert await gateway.values("push_failure_time_seconds") == {"job=a": 0}
    gateway.api.clock.advance(10)
    assert (await gateway.push("job/a", b"broken{\n")).status == 400
    assert await gateway.values("push_time_seconds") == {"job=a": begun}
    assert await gateway.values("push_failure_time_seconds") == {"job=a": begun + 10}
    assert await gateway.values("rows_total") == {"job=a": 5}


async def test_groups_stay_in_queries_until_they_expire(make_gateway):
    gateway = make_gateway(expiry="1h", interval="15s")
    await asyncio.sleep(0)
    await gateway.push("job/a")
    for _ in range(11):
        await gateway.after(299)
        assert await gateway.values("rows_total") == {"job=a": 5}
    await gateway.after(299)
    assert await gateway.values("rows_total") == {"job=a": 5}
    await gateway.after(299)
    assert await gateway.values('{job="a"}') == {}
    assert gateway.api.context.telemetry.value("metricsmith_push_groups_expired_total") == 1
    assert gateway.api.context.telemetry.value("metricsmith_push_groups") == 0


async def test_a_renewed_group_lives_on_and_0_never_expires(make_gateway):
    brief, forever = make_gateway(expiry="1m"), make_gateway(expiry=0)
    await asyncio.sleep(0)
    await brief.push("job/a")
    await forever.push("job/a")
    await brief.after(50)
    await brief.push("job/a")
    await brief.after(50)
    assert await brief.values("rows_total") == {"job=a": 5}
    await forever.after(10 * 86_400)
    assert await forever.values("rows_total") == {"job=a": 5}


async def test_groups_survive_a_restart_and_expire_while_the_agent_is_down(make_gateway):
    state = MemoryState()
    gateway = make_gateway(state, expiry="1h")
    await asyncio.sleep(0)
    await gateway.push("job/a", TEXT + b"low NaN\nhigh +Inf\n")
    await gateway.push("job/b/zone@base64/w6Q")
    await gateway.stop()
    again = make_gateway(state, expiry="1h")
    await asyncio.sleep(0)
    await again.after(60)
    assert await again.values("rows_total") == {"job=a": 5, "job=b,zone=ä": 5}
    assert await again.values("high") == {"job=a": float("inf")}
    await again.stop()
    late = make_gateway(state, expiry="1h")
    await asyncio.sleep(0)
    late.api.clock.advance(3600)
    await late.source.repeat(late.api.clock.now_ms())
    assert await late.values('{job=~"a|b"}') == {}
    assert late.api.state["accepted"] == 10  # markers only, of six series and four
    assert late.source.groups() == [] == state.items()


async def test_a_refused_push_changes_nothing(gateway):
    await gateway.push("job/a")
    gateway.api.state["refuse"] = DiskFull("no space")
    answer = await gateway.push("job/a", b"took 9\n")
    assert (answer.status, "retry-after" in answer.headers) == (503, True)
    assert (await gateway.push("job/a", method="DELETE")).status == 503
    del gateway.api.state["refuse"]
    await gateway.after(15)
    assert await gateway.values("took") == {"job=a,step=a": 1.5}


@pytest.mark.parametrize(
    ("path", "labels"),
    [
        ("job/a", "job=a"),
        ("job@base64/YQ", "job=a"),
        ("job@base64/YQ==", "job=a"),
        ("job/a/empty@base64/=", "job=a"),
        ("job/a%2Fb/c/d%20e", "c=d e,job=a/b"),
        ("job/a/path@base64/L3Zhci90bXA", "job=a,path=/var/tmp"),
    ],
)
async def test_addresses(gateway, path, labels):
    assert (await gateway.push(path, b"m 1\n")).status == 200
    assert await gateway.values("m") == {labels: 1}


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "words"),
    [
        ("job/", TEXT, {}, 400, "job name is required"),
        ("job@base64/=", TEXT, {}, 400, "job name is required"),
        ("job/a/zone", TEXT, {}, 400, "pairs"),
        ("job/a/b-c/d", TEXT, {}, 400, "label name"),
        ("job/a/__x/d", TEXT, {}, 400, "label name"),
        ("job/a/job/b", TEXT, {}, 400, "twice"),
        ("job/a/b@base64/**", TEXT, {}, 400, "base64"),
        ("job/a/b/%ff", TEXT, {}, 400, "UTF-8"),
        ("job/a/b/%0A", TEXT, {}, 400, "control"),
        ("job/a" + "/x/y" * 64, TEXT, {}, 400, "at most"),
        ("job/a", b"m{ 1\n", {}, 400, "line 1"),
        ("job/a", b"m 1 1700000000000\n", {}, 400, "timestamps"),
        ("job/a", b'm{job="x"} 1\nm{job="y"} 2\n', {}, 400, "twice"),
        ("job/a", b"push_time_seconds 1\n", {}, 400, "push_time_seconds"),
        ("job/a", b"m 1\n" * 3, {}, 400, "twice"),
        ("job/a", TEXT, PROTOBUF, 415, "text format"),
        ("job/a", TEXT, {"content_encoding": "br"}, 415, "gzip"),
        ("job/a", TEXT, {"origin": "https://evil.example", "host": "here"}, 403, "evil"),
    ],
)  # fmt: skip
async def test_what_is_refused(gateway, path, body, headers, status, words):
    answer = await gateway.push(path, body, **headers)
    assert answer.status == status
    assert words in answer.body.decode()
    assert gateway.source.groups() == []


async def test_curl_sends_a_form_and_means_text(gateway):
    answer = await gateway.push("job/a", b"m 1\n", content_type="application/x-www-form-urlencoded")
    assert answer.status == 200
    assert await gateway.values("m") == {"job=a": 1}


async def test_limits(make_gateway):
    gateway = make_gateway(max_groups=2, max_bytes="2KB", max_samples=10)
    await asyncio.sleep(0)
    for job in ("a", "b", "a"):
        assert (await gateway.push(f"job/{job}", b"m 1\n")).status == 200
    assert (await gateway.push("job/c", b"m 1\n")).status == 413
    too_many = b"".join(b"m%d 1\n" % i for i in range(11))
    assert (await gateway.push("job/a", too_many)).status == 413
    assert (await gateway.push("job/a", b'm{x="%s"} 1\n' % (b"x" * 2000))).status == 413
    assert await gateway.values("m") == {"job=a": 1, "job=b": 1}


async def test_deleting_what_is_not_there_is_no_error(gateway):
    assert (await gateway.push("job/nobody", method="DELETE")).status == 202


async def test_a_kept_group_that_cannot_be_read_is_told(make_gateway):
    state = MemoryState()
    state.commit({"group/x": b"{}\n"})
    gateway = make_gateway(state)
    await asyncio.sleep(0)
    problems = gateway.api.context.telemetry.value(
        "metricsmith_source_failures_total", source="pushgateway", reason="state"
    )
    assert problems == 1
    assert (await gateway.push("job/a")).status == 200
