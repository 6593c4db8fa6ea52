"""Requests that nobody should send: bounded, refused with a reason, never a traceback."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metricsmith.api.app import ApiLimits

PROMETHEUS = [
    "query",
    "query_range",
    "series",
    "labels",
    "label/x/values",
    "metadata",
    "format_query",
    "parse_query",
    "query_exemplars",
    "targets",
    "targets/metadata",
    "rules",
    "status/tsdb",
]
FORMS = {"query", "query_range", "series", "labels", "format_query", "parse_query", "query_exemplars"}
NAMES = ["query", "time", "start", "end", "step", "timeout", "limit", "match[]", "metric", "limit_per_metric"]
NAMES += ["match_target", "state", "scrapePool", "type", "exclude_alerts", "stats", "lookback_delta"]
VALUES = [
    *["", "0", "-1", "1e308", "-1e308", "1e-400", "NaN", "Inf", "0x10", "1_0", "9" * 400, "٣", " 1", "1 "],
    *["5m", "-5m", "1h1h", "1y" * 50, "9999999999y", "1.5.5", "1e", "2024-01-01T00:00:00Z"],
    *["9999-12-31T23:59:59Z", "0001-01-01T00:00:00+23:59", "0000-00-00T00:00:00Z", "2024-13-01T00:00:00Z"],
    *[
        "up",
        "{}",
        "{a=~'('}",
        "up[5m]",
        "sum(up",
        "\x00",
        "\ud800".encode("utf-8", "replace").decode(),
        "é世",
    ],
    *["(" * 500, "up" + "+up" * 300, "-292273086-05-16T16:47:06Z", "292277025-08-18T07:12:54.999999999Z"],
]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(PROMETHEUS),
    st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES) | st.text(max_size=20)), max_size=6),
    st.booleans(),
)
async def test_no_parameters_break_a_query(
    api: Any, path: str, pairs: list[tuple[str, str]], form: bool
) -> None:
    parameters: dict[str, list[str]] = {}
    for name, value in pairs:
        parameters.setdefault(name, []).append(value.encode("utf-8", "replace").decode())
    as_form = form and path in FORMS
    ask = api.form if as_form else api.get
    answer = await ask(f"/api/v1/{path}", **parameters)
    assert answer.status in (200, 400, 422), answer.body
    assert answer.json["status"] == ("success" if answer.status == 200 else "error")


CURSORS = ["!", "AAAA", "MTc=", "MTc6", "OTk5OTk5OTk5OTk5OTk5OTk6eA==", "LTk5OTk5OTk5OTk5OTk5OTk6/w==", "é"]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["", "/aggregate"]),
    st.dictionaries(
        st.sampled_from(["service", "metric", "start", "end", "limit", "cursor", "interval", "func"]),
        st.sampled_from([*VALUES, *CURSORS, "avg", "p99", "last", "cpu_usage", "50000", "1ms", "9y"]),
        max_size=5,
    ),
)
async def test_no_parameters_break_the_message_api(api: Any, path: str, parameters: dict[str, str]) -> None:
    answer = await api.get(f"/api/v1/metrics{path}", **parameters)
    assert answer.status in (200, 400), answer.body
    if answer.status == 400:
        assert answer.json["problems"][0]["field"] in parameters or path
    else:
        assert isinstance(answer.json["series" if path else "metrics"], list)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(PROMETHEUS), st.binary(max_size=40))
async def test_no_bytes_break_the_address(api: Any, path: str, query: bytes) -> None:
    answer = await api.call("GET", f"/api/v1/{path}", query=query)
    assert answer.status in (200, 400)


@pytest.mark.parametrize(
    ("query", "status", "reason"),
    [
        (b"&".join([b"match[]=up"] * 101), 400, "match[]"),
        (b"&".join([b"a=1"] * 1001), 400, "parameters"),
        (b"match[]=" + b"x" * (1 << 20), 413, "bytes of parameters"),
        (b"match[]=%ff%fe", 400, "UTF-8"),
        (b"match[]=\xff", 400, "UTF-8"),
    ],
)
async def test_limits_on_parameters(api: Any, query: bytes, status: int, reason: str) -> None:
    answer = await api.call("GET", "/api/v1/series", query=query)
    assert answer.status == status
    assert reason in answer.json["error"]
    form = {"content-type": "application/x-www-form-urlencoded"}
    answer = await api.call("POST", "/api/v1/series", query, form)
    assert answer.status == status


async def test_forms_are_read_whatever_the_case_of_their_type(api: Any) -> None:
    form = {"content-type": "Application/X-WWW-Form-Urlencoded; charset=utf-8"}
    answer = await api.call("POST", "/api/v1/query", b"query=1", form, query=b"query=2")
    assert answer.data["result"][1] == "1"  # the form wins, as in Prometheus


async def test_unknown_paths_and_methods(api: Any) -> None:
    answer = await api.get("/api/v1/nothing")
    assert (answer.status, answer.json["errorType"]) == (404, "not_found")
    answer = await api.call("DELETE", "/api/v1/query")
    assert (answer.status, answer.json["errorType"]) == (405, "method_not_allowed")
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}
    answer = await api.call("FROB" * 500, "/api/v1/query")
    assert answer.status == 405
    assert len(answer.body) < 300


async def test_defect_is_told_without_its_inside(api: Any, caplog: pytest.LogCaptureFixture) -> None:
    api.store.metadata = None  # type: ignore[method-assign]
    answer = await api.get("/api/v1/metadata")
    assert (answer.status, answer.json["errorType"]) == (500, "internal")
    assert b"Traceback" not in answer.body
    assert b"NoneType" not in answer.body
    assert "NoneType" in caplog.text


async def test_more_queries_than_can_wait_are_sent_away(make_api: Any) -> None:
    api = make_api(limits=ApiLimits(concurrent_queries=1, queued_queries=50))
    release, select = threading.Event(), api.store.select

    def held_up(*arguments: Any) -> Any:
        assert release.wait(30)
        return select(*arguments)

    api.store.select = held_up
    asked = [asyncio.create_task(api.get("/api/v1/query", query="x")) for _ in range(61)]
    early, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    assert (await api.get("/status")).status == 200  # meanwhile the agent says how it is
    release.set()
    assert {task.result().status for task in early} == {503}
    answers = [answer.status for answer in await asyncio.gather(*asked)]
    assert answers.count(200) == 51
    assert answers.count(503) == 10


@pytest.mark.parametrize("asked", ["1s", "0", "-1"])
async def test_time_out_is_503(api: Any, asked: str) -> None:
    api.write({f"x|i={i}": [(10, 1.0)] for i in range(3)})

    def late() -> float:
        late.now += 3600.0  # type: ignore[attr-defined]
        return late.now  # type: ignore[attr-defined,no-any-return]

    late.now = 0.0  # type: ignore[attr-defined]
    api.clock.monotonic = late
    answer = await api.get("/api/v1/query", query="sum(rate(x[5m])) + sum(x)", timeout=asked)
    assert (answer.status, answer.json["errorType"]) == (503, "timeout")
    assert answer.json["error"] == "query timed out: ran longer than 0 s"


async def test_requests_are_counted_by_route_not_by_path(api: Any) -> None:
    await api.get("/api/v1/label/a/values")
    await api.get("/api/v1/label/b/values")
    await api.get("/api/v1/query", query="sum(")
    await api.get("/nothing/1")
    await api.call("FROB", "/api/v1/query")
    value = api.context.telemetry.value
    total = "metricsmith_http_requests_total"
    assert value(total, route="/api/v1/label/{name}/values", method="GET", code="200") == 2
    assert value(total, route="/api/v1/query", method="GET", code="400") == 1
    assert value(total, route="/api/v1/query", method="other", code="405") == 1
    assert value(total, route="unknown", method="other", code="404") == 1
    assert value("metricsmith_http_refused_total", route="/api/v1/query", reason="bad_data") == 1
    assert value("metricsmith_query_failures_total", reason="parse") == 1


async def test_slow_body_is_not_awaited_for_ever(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metricsmith.api.body.READ_LIMIT_S", 0.01)
    sent: list[Any] = []

    async def never() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/v1/metrics",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json"), (b"content-length", b"100")],
    }
    await api.app(scope, never, send)
    assert sent[0]["status"] == 408
    assert b"0 bytes of the body" in sent[1]["body"]


async def test_bodies_together_are_bounded(make_api: Any) -> None:
    api = make_api(limits=ApiLimits(max_body_bytes=1000, max_bodies_bytes=1500))
    held, release = asyncio.Event(), asyncio.Event()

    first_parts = iter([b" " * 900])

    async def slowly() -> Any:
        if part := next(first_parts, b""):
            return {"type": "http.request", "body": part, "more_body": True}
        held.set()
        await release.wait()
        return {"type": "http.request", "body": b"{}", "more_body": False}

    statuses: list[int] = []

    async def send(message: Any) -> None:
        statuses.append(message.get("status", 0))

    headers = [(b"content-type", b"application/json"), (b"content-length", b"902")]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/v1/metrics",
        "query_string": b"",
        "headers": headers,
    }
    first = asyncio.create_task(api.app(scope, slowly, send))
    await held.wait()
    kind = {"content-type": "application/json"}
    second = await api.call("POST", "/api/v1/metrics", b" " * 700, kind)
    assert (second.status, int(second.headers["retry-after"]) > 0) == (503, True)
    assert (await api.call("POST", "/api/v1/metrics", b"{}" + b" " * 500, kind)).status == 422
    release.set()
    await first
    assert statuses[0] == 422
    assert (await api.call("POST", "/api/v1/metrics", b"{}" + b" " * 700, kind)).status == 422


async def test_announced_bodies_that_never_come_keep_nobody_out(make_api: Any) -> None:
    api = make_api(limits=ApiLimits(max_body_bytes=1000, max_bodies_bytes=1500))
    waiting = asyncio.Event()

    async def never() -> Any:
        waiting.set()
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        pass

    headers = [(b"content-type", b"application/json"), (b"content-length", b"1000")]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/v1/metrics",
        "query_string": b"",
        "headers": headers,
    }
    idle = [asyncio.create_task(api.app(scope, never, send)) for _ in range(8)]
    await waiting.wait()
    assert (await api.post("/api/v1/metrics", {"service": "s", "metrics": {"x": 1}})).status == 201
    for task in idle:
        task.cancel()
    await asyncio.gather(*idle, return_exceptions=True)
    assert (await api.post("/api/v1/metrics", {"service": "s", "metrics": {"x": 1}})).status == 201


async def ask(api: Any, path: str, query: bytes, sent: list[Any], reading: asyncio.Event) -> None:
    """Ask as a client that reads the body of a success only when `reading` is set."""

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)
        if message["type"] == "http.response.body" and sent[0]["status"] == 200:
            await reading.wait()

    scope = {"type": "http", "method": "GET", "path": path, "query_string": query, "headers": []}
    await api.app(scope, receive, send)


async def test_answers_that_nobody_reads_are_bounded(make_api: Any) -> None:
    api = make_api(limits=ApiLimits(max_answers_bytes=200_000))
    api.write({f"x|text={'y' * 1000}{i}": [(10, 1.0)] for i in range(120)})
    reading, sent = asyncio.Event(), [[] for _ in range(5)]  # type: ignore[var-annotated]
    asked = [asyncio.create_task(ask(api, "/api/v1/series", b"match[]=x", each, reading)) for each in sent]
    waiting = set(asked)
    while len(waiting) > 1:
        refused, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=10)
        assert refused
    assert sorted(each[0]["status"] for each in sent) == [200, 503, 503, 503, 503]
    assert (await api.get("/status")).status == 200  # small answers always go out
    reading.set()
    await asyncio.gather(*asked)
    assert (await api.get("/api/v1/series", **{"match[]": "x"})).status == 200


async def test_a_client_that_never_reads_is_given_up(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metricsmith.api.answers.SEND_LIMIT_S", 0.01)
    sent: list[Any] = []
    await ask(api, "/status", b"", sent, asyncio.Event())
    assert sent[0]["status"] == 200
    value = api.context.telemetry.value
    assert value("metricsmith_http_refused_total", route="/status", reason="slow_reader") == 1


async def test_large_answers_go_out_in_pieces(api: Any) -> None:
    """The server holds any part that it was given until it is read, and says so only at the next one."""
    tags = {"t": "y" * 1000}
    batch = [{"service": f"s{i}", "metrics": {"x": 1}, "tags": tags} for i in range(600)]
    assert (await api.post("/api/v1/metrics/batch", {"metrics": batch})).status == 201
    reading, sent = asyncio.Event(), []  # type: ignore[var-annotated]
    reading.set()
    await ask(api, "/api/v1/metrics", b"limit=1000", sent, reading)
    parts = [message["body"] for message in sent[1:]]
    assert len(orjson.loads(b"".join(parts))["metrics"]) == 600
    assert max(map(len, parts)) <= 256 << 10
    assert (parts[-1], sent[-1].get("more_body", False)) == (b"", False)
    assert all(message["more_body"] for message in sent[1:-1])


async def test_client_that_goes_away_is_no_defect(api: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def gone() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        pass

    headers = [(b"content-type", b"application/json")]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/v1/metrics",
        "query_string": b"",
        "headers": headers,
    }
    await api.app(scope, gone, send)
    labels = {"route": "/api/v1/metrics", "method": "POST", "code": "499"}
    assert api.context.telemetry.value("metricsmith_http_requests_total", **labels) == 1
    assert not caplog.records
