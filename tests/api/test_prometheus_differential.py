"""The same requests to the real Prometheus and to us: the same answers, and the same refusals."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest

from metricsmith.model.labels import encode_labels
from metricsmith.testing.services import Server
from metricsmith.wire.remote_write_encode import encode_series_labels, encode_write_request

NOW_S = 1_700_000_000
SAMPLES: dict[str, list[tuple[float, float]]] = {
    "diff_requests_total|job=shop|code=200": [(300 - 15 * i, 7.0 * i) for i in range(20)],
    "diff_requests_total|job=shop|code=500": [(300 - 15 * i, float(i // 3)) for i in range(0, 20, 2)],
    "diff_values|kind=tiny": [(40, 1e-7), (25, 123456e-12), (10, 5e-324)],
    "diff_values|kind=huge": [(40, 1e21), (25, 1e20), (10, 1.7976931348623157e308)],
    "diff_values|kind=odd": [(40, float("nan")), (25, float("-inf")), (10, float("inf"))],
    "diff_values|kind=plain": [(40, 0.1), (25, -0.0), (10, 123456789.123)],
    "diff_values|kind=steps": [(40.25, 1e-6), (25.5, 99999999999999990.0), (10.125, -1e15)],
    'diff_text|text=quote" back\\ new\nline <&> é 世': [(10, 1)],
}

EQUAL: list[tuple[str, dict[str, Any]]] = [
    ("query", {"query": "diff_requests_total", "time": NOW_S}),
    ("query", {"query": "diff_values", "time": f"{NOW_S}.123"}),
    ("query", {"query": "diff_values[1m]", "time": "2023-11-14T22:13:20.5Z"}),
    ("query", {"query": "diff_text", "time": "2023-11-14T23:13:20+01:00"}),
    ("query", {"query": "1e-7", "time": "-1.5"}),
    ("query", {"query": "1/0", "time": NOW_S}),
    ("query", {"query": '"a text\\n"', "time": NOW_S}),
    ("query", {"query": "nothing", "time": NOW_S, "timeout": "5s"}),
    (
        "query",
        {"query": "sum by (code) (increase(diff_requests_total[2m])) > 0 < bool 1e9", "time": NOW_S + 1},
    ),
    ("query_range", {"query": "diff_requests_total", "start": NOW_S - 301, "end": NOW_S, "step": "17s"}),
    ("query_range", {"query": "diff_values", "start": NOW_S - 61, "end": NOW_S + 400, "step": 7.5}),
    ("query_range", {"query": "sum(diff_requests_total)/7", "start": NOW_S - 301, "end": NOW_S, "step": 11}),
    ("query_range", {"query": "time()", "start": NOW_S, "end": NOW_S, "step": "1h30m"}),
    ("query_range", {"query": "nothing", "start": NOW_S, "end": NOW_S, "step": "1"}),
    ("query_range", {"query": "1", "start": 0, "end": 10999, "step": 1}),
    ("series", {"match[]": ['diff_values{kind=~"t.*|h.*"}', "diff_text"]}),
    ("series", {"match[]": "diff_values", "start": NOW_S - 100, "end": NOW_S}),
    ("series", {"match[]": "nothing"}),
    ("labels", {"match[]": ["diff_values", "diff_requests_total"]}),
    ("labels", {"match[]": "nothing"}),
    ("label/kind/values", {"match[]": "diff_values"}),
    ("label/__name__/values", {"match[]": '{job="shop"}'}),
    ("label/nothing/values", {}),
    ("metadata", {"metric": "nothing"}),
    ("format_query", {"query": "sum  by(a)(x) "}),
    ("alerts", {}),
    ("rules", {}),
]

REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("query", {}),
    ("query", {"query": "sum("}),
    ("query", {"query": "diff_values + on(kind) group_left diff_requests_total{", "time": 5}),
    ("query", {"query": "up", "time": "yesterday"}),
    ("query", {"query": "up", "timeout": "soon"}),
    ("query", {"query": "up", "timeout": "1e30"}),
    ("query", {"query": 'label_replace(diff_values, "kind", "", "", "")', "time": NOW_S}),
    ("query", {"query": "diff_requests_total + on(job) diff_requests_total", "time": NOW_S}),
    ("query_range", {"query": "up"}),
    ("query_range", {"query": "up", "start": 1}),
    ("query_range", {"query": "up", "start": 2, "end": 1, "step": 1}),
    ("query_range", {"query": "up", "start": 1, "end": 2}),
    ("query_range", {"query": "up", "start": 1, "end": 2, "step": 0}),
    ("query_range", {"query": "up", "start": 1, "end": 2, "step": "-1"}),
    ("query_range", {"query": "up", "start": 1, "end": 2, "step": "x"}),
    ("query_range", {"query": "up", "start": 0, "end": 11001, "step": 1}),
    ("query_range", {"query": "up[5m]", "start": 1, "end": 2, "step": 1}),
    ("query_range", {"query": '"text"', "start": 1, "end": 2, "step": 1}),
    ("series", {}),
    ("series", {"match[]": "{}"}),
    ("series", {"match[]": '{x=~".*"}'}),
    ("series", {"match[]": "up{"}),
    ("series", {"match[]": "up", "start": "x"}),
    ("series", {"match[]": "up", "end": "x"}),
    ("labels", {"start": "x"}),
    ("labels", {"match[]": "sum(up)"}),
    ("label/job/values", {"end": "x"}),
    ("label/job/values", {"match[]": "up["}),
    ("metadata", {"limit": "x"}),
    ("format_query", {"query": "sum("}),
    ("format_query", {}),
]

# Prometheus names the parameter in some errors and not in others; we always do.
PREFIXED = {
    "query_range": 'invalid parameter "query": ',
    "labels": 'invalid parameter "match[]": ',
    "label/job/values": 'invalid parameter "match[]": ',
}


@pytest.fixture
def both(api: Any, prometheus: Server) -> Callable[..., Any]:
    """Both servers hold SAMPLES; ask the real one by `both(path, parameters)`."""
    api.write(SAMPLES)
    keys = [api_key(text) for text in SAMPLES]
    samples = [sample for series in SAMPLES.values() for sample in series]
    body = encode_write_request(
        [encode_series_labels(key) for key in keys],
        [len(series) for series in SAMPLES.values()],
        np.array([round((NOW_S - ago) * 1000) for ago, _ in samples], dtype=np.int64),
        np.array([value for _, value in samples]),
    )
    headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
    status, text = send(prometheus, "POST", "write", body, headers)
    assert status in (204, 400), text  # 400: another test of this file has sent them before
    return lambda path, parameters: ask(prometheus, path, parameters)


def api_key(text: str) -> bytes:
    name, *pairs = text.split("|")
    return encode_labels({"__name__": name} | dict(pair.split("=", 1) for pair in pairs))


def send(
    server: Server,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, bytes]:
    request = urllib.request.Request(f"{server.url}/api/v1/{path}", body, dict(headers or {}), method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def ask(server: Server, path: str, parameters: Mapping[str, Any]) -> tuple[int, Any]:
    status, body = send(server, "GET", f"{path}?{urlencode(parameters, doseq=True)}")
    return status, json.loads(body)


def normal(document: Any) -> Any:
    """Series in the order of their labels: an instant query promises none."""
    result = document.get("data", {})
    result = result.get("result") if isinstance(result, dict) else None
    if isinstance(result, list) and result and isinstance(result[0], dict):
        result.sort(key=lambda series: sorted(series["metric"].items()))
    return document


@pytest.mark.parametrize(("path", "parameters"), EQUAL, ids=[f"{p} {q}" for p, q in EQUAL])
async def test_answers_equal(api: Any, both: Any, path: str, parameters: dict[str, Any]) -> None:
    status, theirs = both(path, parameters)
    assert status == 200, theirs
    ours = await api.get(f"/api/v1/{path}", **parameters)
    assert ours.status == 200, ours.body
    assert normal(ours.json) == normal(theirs)
    if path in ("query", "query_range", "series", "labels", "format_query"):
        assert (await api.form(f"/api/v1/{path}", **parameters)).json == ours.json


@pytest.mark.parametrize(("path", "parameters"), REFUSED, ids=[f"{p} {q}" for p, q in REFUSED])
async def test_refusals_equal(api: Any, both: Any, path: str, parameters: dict[str, Any]) -> None:
    status, theirs = both(path, parameters)
    ours = await api.get(f"/api/v1/{path}", **parameters)
    assert (ours.status, ours.json["status"], ours.json["errorType"]) == (
        status,
        "error",
        theirs["errorType"],
    )
    assert ours.json["error"].removeprefix(PREFIXED.get(path, "")) == theirs["error"]


# Left out: NaN, Inf and hexadecimal, which Go reads as numbers and makes arbitrary times of; times beyond
# 2^53 ms, which we refuse; dates without a zone, which are UTC here and refused there; lower case and a
# blank for T, which RFC 3339 permits; zones beyond 24 hours; years whose nanoseconds overflow in Go; steps
# below half a millisecond, by which Prometheus divides as by zero; blanks around durations.
TIMES = [
    *["0", "-1.5", "+3", ".5", "5.", "1e3", "1E-2", "1.7e9", "1700000000.0004", "1700000000.9996", "-0.0006"],
    *["1,5", "1 ", " 1", "--1", "e5", "1e", "٣", "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.123456789Z"],
    *["1969-12-31T23:59:59.5Z", "1970-01-01T00:00:00,5Z", "1970-01-01T01:00:00+01:00", "", "now", "5m"],
    *["1970-1-1T00:00:00Z", "1970-02-30T00:00:00Z", "1970-01-01T24:00:00Z", "1970-01-01T00:00:60Z"],
    *["1970-01-01", "1970-01-01T00:00Z", "19700101T000000Z", "1970-01-01T00:00:00+0100"],
]
STEPS = [
    *["1", "0.5", "0.001", "1e2", ".5", "-5", "+5", "5s", "1h30m", "90m", "1d", "1w2d", "1y", "15ms"],
    *["0", "0s", "1m1h", "1h1h", "5 s", "5S", "s", "1.5h", "-5m", "+5m", "1e", "9223372036", "1e10"],
    *["292y", "293y", "99999999999999999999s", "", "٣s", "0x10s", "1µs", "1ns", "1us", "5mm"],
]


def outcome(status: int, document: Any) -> Any:
    return (status, document.get("errorType"), document.get("data"), document.get("error"))


@pytest.mark.parametrize("time", TIMES)
async def test_times_are_read_alike(api: Any, prometheus: Server, time: str) -> None:
    if not time:  # means now: only that both take it
        assert (await api.get("/api/v1/query", query="1", time=time)).status == 200
        return
    for name in ("query", "series"):
        parameters = {"query": {"query": "time()", "time": time}, "series": {"match[]": "no", "start": time}}[
            name
        ]
        theirs = ask(prometheus, name, parameters)
        ours = await api.get(f"/api/v1/{name}", **parameters)
        assert outcome(ours.status, ours.json) == outcome(*theirs)


@pytest.mark.parametrize("step", STEPS)
async def test_durations_are_read_alike(api: Any, prometheus: Server, step: str) -> None:
    parameters = {"query": "time()", "start": 5, "end": 9, "step": step}
    ours = await api.get("/api/v1/query_range", **parameters)
    assert outcome(ours.status, ours.json) == outcome(*ask(prometheus, "query_range", parameters))
    parameters = {"query": "5", "time": 1, "timeout": step}
    theirs = ask(prometheus, "query", parameters)
    if theirs[0] == 200:
        ours = await api.get("/api/v1/query", **parameters)
        assert outcome(ours.status, ours.json) == outcome(*theirs)
