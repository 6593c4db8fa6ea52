"""/metrics, health, status, reload, and the description of the API."""

from __future__ import annotations

import asyncio
import re
import threading
from typing import Any
from urllib.parse import urlencode

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from metricsmith.api.app import MetricsPage
from metricsmith.api.context import Snapshot
from metricsmith.errors import ConfigError, Problem
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.model.own_metrics import OWN_METRICS

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"


async def test_own_metrics_in_both_formats(api: Any) -> None:
    await api.get("/health")
    declared = {m.name for m in OWN_METRICS}
    text = await api.get("/metrics")
    assert text.headers["content-type"].startswith("text/plain; version=0.0.4")
    strict = await api.get("/metrics", {"Accept": OPENMETRICS})
    assert strict.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    for families in (parse_text(text.body.decode()), parse_openmetrics(strict.body.decode())):
        samples = {s.name: s for family in families for s in family.samples}
        names = {re.sub(r"_(bucket|sum|count)$", "", name) for name in samples}
        assert "metricsmith_http_requests_total" in names
        assert names <= declared


async def test_collected_metrics_by_setting(api: Any) -> None:
    api.write(
        {
            "cpu_usage_percent|service=system": [(10, 45.2)],
            "message_count|service=org.plantd.Broker": [(10, 1250)],
            "tagged|host=own": [(10, 1)],
            "old": [(400, 1)],
            "twice": [(10, 1)],
            "twice|host=server-01": [(10, 2)],
            "metricsmith_build_info|job=metricsmith": [(10, 1)],
        },
        {
            "cpu_usage_percent": Metadata(MetricType.GAUGE, help="CPU usage percentage"),
            "message_count": Metadata(MetricType.COUNTER, help="Total number of messages processed"),
        },
    )
    assert b"plantd" not in (await api.get("/metrics")).body
    api.state["page"] = MetricsPage(collected=True, prefix="plantd_", host_label="server-01")
    lines = (await api.get("/metrics")).body.decode().splitlines()
    for line in (
        "# HELP plantd_cpu_usage_percent CPU usage percentage",
        "# TYPE plantd_cpu_usage_percent gauge",
        'plantd_cpu_usage_percent{host="server-01",service="system"} 45.2',
        "# HELP plantd_message_count_total Total number of messages processed",
        "# TYPE plantd_message_count_total counter",
        'plantd_message_count_total{host="server-01",service="org.plantd.Broker"} 1250',
        'plantd_tagged{host="own"} 1',
    ):
        assert line in lines
    assert not [line for line in lines if "plantd_old" in line or "plantd_metricsmith" in line]
    assert len([line for line in lines if line.startswith("plantd_twice")]) == 1
    list(parse_openmetrics((await api.get("/metrics", {"Accept": OPENMETRICS})).body.decode()))


async def test_odd_names_and_repeated_series_do_not_spoil_the_page(api: Any) -> None:
    api.state["page"] = MetricsPage(collected=True)
    await api.post("/api/v1/metrics", {"service": "s", "metrics": {"my metric.x": 1}, "tags": {"a b": "c"}})
    await api.post(
        "/api/v1/metrics", {"service": "s", "metrics": {"message_count": 1, "message_count_total": 2}}
    )
    old = await api.get("/metrics")
    lines = old.body.decode().splitlines()
    assert 'my_metric_x{a_b="c",service="s"} 1' in lines
    assert [line for line in lines if line.startswith("message_count")] == [
        'message_count_total{service="s"} 2'
    ]
    value = api.context.telemetry.value
    assert value("metricsmith_samples_dropped_total", component="metrics_page", reason="same_labels") == 1
    new = await api.get("/metrics", {"Accept": "text/plain;version=1.0.0;escaping=allow-utf-8"})
    assert new.headers["content-type"] == "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8"
    assert '{"my metric.x","a b"="c",service="s"} 1' in new.body.decode().splitlines()


async def test_status_pages_have_the_documented_fields(api: Any) -> None:
    api.write({"x": [(20, 1)]})
    assert (await api.get("/health")).json == {"status": "healthy", "ready": True, "checks": []}
    status = (await api.get("/status")).json
    assert status["status"] == "healthy"
    assert (status["mode"], status["uptime"], status["uptime_seconds"]) == ("standalone", "2h30m", 9000)
    assert (status["metrics_processed"], status["storage_status"]) == (0, "connected")
    assert status["last_metric"] == "2023-11-14T22:13:00Z"
    storage = (await api.get("/storage/status")).json
    assert (storage["type"], storage["status"], storage["retention"]) == ("embedded", "connected", "30d")
    assert storage["database"]
    assert (storage["disk_usage"], storage["disk_usage_bytes"]) == ("2.0MB", 2 << 20)  # the journal's


async def test_status_does_not_wait_for_the_metrics_page(api: Any) -> None:
    began, release = threading.Event(), threading.Event()
    instant = api.context.engine.instant

    def held_up(*arguments: Any) -> Any:
        began.set()
        assert release.wait(30)
        return instant(*arguments)

    api.context.engine.instant = held_up
    api.state["page"] = MetricsPage(collected=True)
    page = asyncio.create_task(api.get("/metrics"))
    await asyncio.to_thread(began.wait, 30)
    assert (await api.get("/status")).status == 200
    assert not page.done()
    release.set()
    assert (await page).status == 200


async def test_not_ready_says_why(api: Any) -> None:
    for path in ("/-/ready", "/ready"):
        assert (await api.get(path)).status == 200
    api.state["not_ready"] = "the journal is replayed"
    for path, status in (("/-/ready", 503), ("/ready", 503), ("/health", 200)):  # a restart would not help
        answer = await api.get(path)
        assert answer.status == status
        assert b"the journal is replayed" in answer.body
    assert (await api.get("/-/healthy")).status == 200
    assert (await api.get("/status")).json["reason"] == "the journal is replayed"


async def test_starting_agent_says_how_it_is_and_refuses_incomplete_answers(api: Any) -> None:
    api.state["serving"] = False
    document = (await api.get("/openapi.json")).json
    served = set()
    for path, methods in document["paths"].items():
        for method in methods:
            answer = await api.call(method.upper(), path.replace("{name}", "job"))
            if answer.status == 503:
                assert b"starting" in answer.body
                assert "retry-after" in answer.headers
            else:
                served.add(path)
    pages = {"/", "/health", "/ready", "/status", "/storage/status", "/-/healthy", "/-/ready", "/metrics"}
    assert pages <= served
    assert not {"/api/v1/query", "/api/v1/series", "/api/v1/write", "/api/v1/metrics", "/-/reload"} & served


async def test_reload_tells_every_mistake(api: Any) -> None:
    assert (await api.call("POST", "/-/reload")).status == 200
    assert (await api.get("/-/reload")).status == 405
    api.state["bad_config"] = ConfigError(
        [Problem("a.b", "is wrong", "m.yaml", 3, "try c"), Problem("d", "unknown key", "m.yaml", 9)]
    )
    answer = await api.call("POST", "/-/reload")
    assert answer.status == 400
    assert [(p["field"], p["line"], p["hint"]) for p in answer.json["problems"]] == [
        ("a.b", 3, "try c"),
        ("d", 9, ""),
    ]


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200),
        ("http://127.0.0.1:9480", 200),
        ("http://evil", 403),
        ("http://127.0.0.1:9481", 403),
        ("null", 403),
    ],
)
async def test_pages_of_other_servers_cannot_reload(api: Any, origin: str | None, status: int) -> None:
    headers = {"Host": "127.0.0.1:9480"} | ({"Origin": origin} if origin else {})
    assert (await api.call("POST", "/-/reload", headers=headers)).status == status


@pytest.mark.parametrize("host", ["evil.example:9480", "127.0.0.1.evil.example"])
async def test_a_page_whose_own_name_points_here_gets_nothing(
    api: Any, host: str, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"Host": host, "Origin": f"http://{host}"}
    for method, path in (("POST", "/-/reload"), ("GET", "/api/v1/status/config"), ("POST", "/metrics/job/x")):
        answer = await api.call(method, path, headers=headers)
        assert (answer.status, b"server.allowed_hosts" in answer.body) == (421, True)
    refused = api.context.telemetry.value(
        "metricsmith_http_refused_total", route="/-/reload", reason="misdirected"
    )
    assert refused == 1
    assert f'/-/reload: refused: got the host "{host}"' in caplog.text
    for path in ("/metrics", "/health", "/ready", "/-/healthy", "/-/ready"):
        assert (await api.call("GET", path, headers=headers)).status != 421, "scrapes and probes"


async def test_every_route_stands_in_the_description(api: Any) -> None:
    document = (await api.get("/openapi.json")).json
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {route.path.replace(":path}", "}") for route in api.app.routes}
    ids = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            ids.append(operation["operationId"])
            assert operation["summary"]
            assert operation["responses"]
            named = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path))
            url = path.replace("{name}", "job")
            assert (await api.call(method.upper(), url)).status != 405
        other = next(m for m in ("DELETE", "PUT", "PATCH") if m.lower() not in methods)
        assert (await api.call(other, path.replace("{name}", "job"))).status == 405
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[a-z][A-Za-z0-9_]*", each) for each in ids)


KINDS = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": int | float,
    "array": list,
    "object": dict,
    "null": type(None),
}


def fits(value: Any, schema: Any) -> bool:
    """Whether a value is as the few words of JSON Schema say that the description uses."""
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    fields = schema.get("properties", {})
    return (
        (not kinds or any(isinstance(value, KINDS[kind]) for kind in kinds))
        and ("const" not in schema or value == schema["const"])
        and ("enum" not in schema or value in schema["enum"])
        and ("oneOf" not in schema or sum(fits(value, each) for each in schema["oneOf"]) == 1)
        and ("items" not in schema or all(fits(each, schema["items"]) for each in value))
        and all(name in value for name in schema.get("required", []))
        and ("minimum" not in schema or value >= schema["minimum"])
        and (
            not isinstance(value, dict)
            or all(
                fits(each, fields[name] if name in fields else schema["additionalProperties"])
                if name in fields or schema.get("additionalProperties")
                else schema.get("additionalProperties", True)
                for name, each in value.items()
            )
        )
    )


class Admin:
    """An operator's doings that do nothing."""

    async def snapshot(self, skip_head: bool) -> Snapshot:
        return Snapshot("now", "/data/snapshots/now", 1, 2, 3)

    async def delete_series(self, *_: Any) -> int:
        return 1


async def test_answers_are_as_described(make_api: Any, desk: Any) -> None:
    api = make_api(sinks=desk, admin=Admin(), admin_allowed=True)
    message = {"service": "s", "metrics": {"x": 1, "y": "NaN"}, "tags": {"a": "b"}}
    given = {
        "query": "x",
        "start": "1699999990",
        "end": "1700000000",
        "step": "1",
        "match[]": "x",
        "metric": "x",
        "name": "far",
    }
    document = (await api.get("/openapi.json")).json
    bodies = {"/api/v1/metrics": message, "/api/v1/metrics/batch": {"metrics": [message]}}
    for path, body in bodies.items():
        answer = await api.post(path, body)
        described = document["paths"][path]["post"]["responses"]["201"]["content"]["application/json"]
        assert fits(answer.json, described["schema"]), path
    rules = {"rules": "groups: []", "group": "g", "start_ms": 1699999990000, "end_ms": 1700000000000}
    bodies = {"/api/v1/rules/backfill": rules}
    held = set()
    for path, methods in document["paths"].items():
        operation = methods.get("get") or methods["post"]
        schema = (
            operation["responses"].get("200", {}).get("content", {}).get("application/json", {}).get("schema")
        )
        if schema is None:
            continue
        names = {p["name"] for p in operation.get("parameters", []) if p["in"] == "query" and p["required"]}
        url = path.replace("{name}", "a")
        if "id" in names:
            given["id"] = desk.refusals()[0].id
        if path in bodies:
            answer = await api.post(path, bodies[path])
        elif "get" in methods:
            answer = await api.get(url, **{n: given[n] for n in names})
        else:
            answer = await api.call("POST", url, query=urlencode({n: given[n] for n in names}).encode())
        assert answer.status == 200, (path, answer.body)
        assert fits(answer.json, schema), (path, answer.body)
        assert not fits([answer.json], schema)
        held.add(path)
    assert {"/status", "/storage/status", "/health", "/api/v1/metrics", "/api/v1/query"} <= held


async def test_described_parameters_are_those_that_are_read(api: Any) -> None:
    """A value that each parameter cannot have is refused: so the handler does read it."""
    required = {
        "query": "up",
        "start": "1",
        "end": "2",
        "step": "1",
        "match[]": "up",
        "metric": "x",
        "id": "1",
        "q": "SHOW DATABASES",
    }
    free = {
        "service",
        "metric",
        "state",
        "scrapePool",
        "stats",
        "rule_name[]",
        "rule_group[]",
        "file[]",
        "id",
        "sink",
    }  # any text may be one
    document = (await api.get("/openapi.json")).json
    for path, methods in document["paths"].items():
        parameters = [p for p in methods.get("get", {}).get("parameters", []) if p["in"] == "query"]
        base = {p["name"]: required[p["name"]] for p in parameters if p["required"]}
        for name in {p["name"] for p in parameters} - free:
            answer = await api.get(path.replace("{name}", "job"), **(base | {name: "\x01{"}))
            assert answer.status == 400, (path, name, answer.body)


@pytest.mark.parametrize("path", ["/", "/status", "/metrics", "/api/v1/labels", "/api/v1/query"])
async def test_head_answers_as_get(api: Any, path: str) -> None:
    got, head = await api.get(path), await api.call("HEAD", path)
    assert head.status == got.status
    assert head.headers["content-type"] == got.headers["content-type"]


async def test_home_page_escapes_the_agent_s_name(make_api: Any) -> None:
    page = (await make_api().get("/")).body.decode()
    assert "/openapi.json" in page
    assert "&lt;demo&gt;" in page
    assert "<demo>" not in page
