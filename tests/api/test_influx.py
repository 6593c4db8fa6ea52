"""InfluxDB's write endpoints: what is acknowledged can be read, what is wrong is told in its words."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from metricsmith.errors import DiskFull

LINE = b"cpu,host=a usage_idle=98.5 1700000000000000000"
BOMB = gzip.compress(b" " * (33 << 20))
BOTH = [("/write", {"db": "telegraf"}), ("/api/v2/write", {"bucket": "telegraf", "org": "us"})]


async def write(
    api: Any, path: str, body: bytes, headers: dict[str, str] | None = None, **parameters: str
) -> Any:
    query = "&".join(f"{k}={v}" for k, v in parameters.items()).encode()
    return await api.call("POST", path, body, headers or {}, query)


async def values(api: Any, query: str) -> list[tuple[dict[str, str], str]]:
    found = (await api.get("/api/v1/query", query=query, time="1700000000")).data["result"]
    return [(each["metric"], each["value"][1]) for each in found]


@pytest.mark.parametrize(("path", "parameters"), BOTH)
async def test_what_is_acknowledged_can_be_read(api, path, parameters):
    answer = await write(api, path, LINE, **parameters)
    assert (answer.status, answer.body) == (204, b"")
    labels = {"__name__": "cpu_usage_idle", "host": "a", "db": "telegraf"}
    assert await values(api, "cpu_usage_idle") == [(labels, "98.5")]


@pytest.mark.parametrize(("path", "parameters"), BOTH)
async def test_gzip_is_read(api, path, parameters):
    answer = await write(api, path, gzip.compress(LINE), {"content-encoding": "gzip"}, **parameters)
    assert answer.status == 204
    assert await values(api, "cpu_usage_idle{host='a'}")


@pytest.mark.parametrize(("path", "parameters"), BOTH)
async def test_times_are_in_the_named_precision(api, path, parameters):
    assert (await write(api, path, b"m a=1 1699999999", precision="s", **parameters)).status == 204
    found = (await api.get("/api/v1/query", query="m_a[5m]", time="1700000000")).data["result"]
    assert found[0]["values"] == [[1_699_999_999, "1"]]


@pytest.mark.parametrize(("path", "parameters"), BOTH)
@pytest.mark.parametrize("time_s", [1_600_000_000, 1_700_001_000])
async def test_times_that_the_store_does_not_accept_are_told(api, path, parameters, time_s):
    body = f"m a=1,b=2 {time_s}\nm c=3 1700000000".encode()
    answer = await write(api, path, body, precision="s", **parameters)
    told = answer.json.get("error") or answer.json["message"]
    assert answer.status == 400
    assert told.startswith("partial write: points beyond retention policy dropped=2 ")
    assert [labels["__name__"] for labels, _ in await values(api, '{__name__=~"m_.*"}')] == ["m_c"]


@pytest.mark.parametrize(("path", "parameters"), BOTH)
async def test_new_series_beyond_limits_are_told(api, path, parameters):
    api.state["limited"] = 1
    answer = await write(api, path, b"m a=1,b=2", **parameters)
    told = answer.json.get("error") or answer.json["message"]
    assert (answer.status, told.split(" (")[0]) == (400, "partial write: series limit exceeded dropped=1")


async def test_malformed_lines_and_times_outside_are_told_together(api):
    answer = await write(api, "/write", b"bad\nm a=1 1", db="t")
    assert "(line 1)" in answer.json["error"] and "retention policy dropped=1" in answer.json["error"]


async def test_1_takes_good_lines_beside_malformed_ones(api):
    answer = await write(api, "/write", b"m a=1\nbad\nm b=2\nworse 1\n", db="t")
    assert answer.status == 400
    assert answer.json == {
        "error": "partial write: unable to parse 'bad': missing fields (line 2) and 1 more lines;"
        " 2 lines written dropped=2"
    }
    assert answer.headers["x-influxdb-error"] == answer.json["error"]
    assert len(await values(api, '{__name__=~"m_.*"}')) == 2
    dropped = "metricsmith_samples_dropped_total"
    telemetry = api.context.telemetry
    assert telemetry.value(dropped, component="line_protocol", reason="malformed") == 2
    assert telemetry.value("metricsmith_push_samples_total", protocol="line_protocol") == 2


async def test_1_says_when_nothing_was_taken(api):
    answer = await write(api, "/write", b"bad\n", db="t")
    assert (answer.status, answer.json) == (400, {"error": "unable to parse 'bad': missing fields (line 1)"})


async def test_2_takes_all_lines_or_none(api):
    answer = await write(api, "/api/v2/write", b"m a=1\nbad\n", bucket="t")
    assert answer.status == 400
    assert answer.json == {
        "code": "invalid",
        "message": "unable to parse 'bad': missing fields (line 2); nothing of the request is written",
    }
    assert await values(api, "m_a") == []
    dropped = "metricsmith_samples_dropped_total"
    assert api.context.telemetry.value(dropped, component="line_protocol", reason="request_refused") == 1


async def test_strings_are_skipped_and_counted(api):
    assert (await write(api, "/write", b'm a=1,s="text" 1700000000000000000', db="t")).status == 204
    dropped = "metricsmith_samples_dropped_total"
    assert api.context.telemetry.value(dropped, component="line_protocol", reason="string") == 1
    assert len(await values(api, "m_a")) == 1


@pytest.mark.parametrize(
    ("parameters", "headers", "body", "status", "words"),
    [
        ({}, {}, LINE, 400, "is required"),
        ({"db": "x", "bucket": "x", "precision": "days"}, {}, LINE, 400, "precision"),
        ({"db": "a%00b", "bucket": "a%00b"}, {}, LINE, 400, "control characters"),
        ({"db": "x" * 201, "bucket": "x" * 201}, {}, LINE, 400, "201 bytes"),
        ({"db": "x", "bucket": "x"}, {"content-encoding": "br"}, LINE, 415, "gzip"),
        ({"db": "x", "bucket": "x"}, {"content-encoding": "gzip"}, b"no gzip", 400, "not gzip"),
        ({"db": "x", "bucket": "x"}, {"content-encoding": "gzip"}, BOMB, 413, "32.0MB"),
        ({"db": "x", "bucket": "x"}, {"content-length": str(1 << 30)}, b"", 413, "1,073,741,824"),
        ({"db": "x", "bucket": "x"}, {"origin": "https://evil.example", "host": "here"}, LINE, 403, "evil"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/write", "/api/v2/write"])
async def test_what_is_refused(api, path, parameters, headers, body, status, words):
    answer = await write(api, path, body, headers, **parameters)
    assert answer.status == status
    assert words in answer.json["error" if path == "/write" else "message"]
    assert api.state["accepted"] == 0


async def test_a_page_of_our_own_may_push(api):
    headers = {"origin": "http://here:9480", "host": "here:9480"}
    assert (await write(api, "/write", LINE, headers, db="t")).status == 204


@pytest.mark.parametrize(("path", "parameters"), BOTH)
async def test_a_full_disk_asks_to_come_again(api, path, parameters):
    api.state["refuse"] = DiskFull("no space")
    answer = await write(api, path, LINE, **parameters)
    assert answer.status == 503
    assert answer.headers["retry-after"]


@pytest.mark.parametrize("body", [b"", b"\n", b"# only a comment\n"])
async def test_nothing_to_write_is_no_error(api, body):
    assert (await write(api, "/write", body, db="t")).status == 204


async def test_ping_and_the_statements_before_the_first_write(api):
    assert (await api.get("/ping")).status == 204
    assert (await api.call("HEAD", "/ping")).headers["x-influxdb-version"]
    for statement in ('CREATE DATABASE "telegraf"', "create database t WITH DURATION 1d;"):
        assert (await api.form("/query", q=statement)).json == {"results": [{"statement_id": 0}]}
    shown = (await api.get("/query", q="SHOW DATABASES")).json
    assert shown["results"][0]["series"][0]["columns"] == ["name"]
    refused = await api.get("/query", q="SELECT * FROM cpu")
    assert refused.status == 400
    assert "PromQL" in json.loads(refused.body)["error"]
    assert (await api.get("/query")).json == {"error": 'missing required parameter "q"'}
