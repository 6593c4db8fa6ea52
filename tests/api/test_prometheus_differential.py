"""The same requests to the real Prometheus and to us: the same answers, and the same refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

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
    ("query_range", {"query": "1", "start": 0, "end": 11000, "step": 1}),
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
    ("query_exemplars", {"query": "diff_values", "start": NOW_S - 5, "end": NOW_S}),
    ("query_exemplars", {"query": "diff_values"}),
    ("series", {"match[]": "diff_values", "start": 2, "end": 1}),
    ("labels", {"start": 2, "end": 1}),
    ("label/job/values", {"start": 2, "end": 1}),
    ("label/job/values", {"match[]": ['{job="shop"}', "nothing"]}),
    ("metadata", {"limit": 0}),
    ("metadata", {"metric": "nothing", "limit": -5}),
    ("targets/metadata", {}),
    ("targets/metadata", {"match_target": '{job="x"}', "limit": 3, "metric": "up"}),
    ("scrape_pools", {}),
    ("alertmanagers", {}),
    ("alerts", {}),
    ("rules", {}),
    ("rules", {"type": "alert"}),
    ("rules", {"type": "RECORD"}),
]

# Left out: label names beyond letters, digits and _, which Prometheus refuses before 3.0 and takes since.
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
    ("metadata", {"limit": "1.5"}),
    ("format_query", {"query": "sum("}),
    ("format_query", {}),
    ("query_exemplars", {}),
    ("query_exemplars", {"query": "sum("}),
    ("query_exemplars", {"query": "up", "start": "x"}),
    ("query_exemplars", {"query": "up", "end": "x"}),
    ("query_exemplars", {"query": "up", "start": 2, "end": 1}),
    ("targets/metadata", {"limit": "x"}),
    ("targets/metadata", {"match_target": "x{"}),
    ("rules", {"type": "other"}),
]

# Prometheus names the parameter in some errors and not in others; we always do.
PREFIXED = {
    "query_exemplars": 'invalid parameter "query": ',
    "query_range": 'invalid parameter "query": ',
    "labels": 'invalid parameter "match[]": ',
    "label/job/values": 'invalid parameter "match[]": ',
}


@pytest.fixture
def both(api: Any, peer: Any) -> Callable[..., Any]:
    """Both servers hold SAMPLES; ask the real one by `both(path, parameters)`."""
    api.write(SAMPLES)
    peer.write(SAMPLES)
    return peer.ask  # type: ignore[no-any-return]


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
    # Of a syntax error we say more: what was opened where, and what was expected.
    assert ours.json["error"].removeprefix(PREFIXED.get(path, "")).startswith(theirs["error"])


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
async def test_times_are_read_alike(api: Any, peer: Any, time: str) -> None:
    if not time:  # means now: only that both take it
        assert (await api.get("/api/v1/query", query="1", time=time)).status == 200
        return
    for name in ("query", "series"):
        parameters = {"query": {"query": "time()", "time": time}, "series": {"match[]": "no", "start": time}}[
            name
        ]
        theirs = peer.ask(name, parameters)
        ours = await api.get(f"/api/v1/{name}", **parameters)
        assert outcome(ours.status, ours.json) == outcome(*theirs)


@pytest.mark.parametrize("step", STEPS)
async def test_durations_are_read_alike(api: Any, peer: Any, step: str) -> None:
    parameters = {"query": "time()", "start": 5, "end": 9, "step": step}
    ours = await api.get("/api/v1/query_range", **parameters)
    assert outcome(ours.status, ours.json) == outcome(*peer.ask("query_range", parameters))
    parameters = {"query": "5", "time": 1, "timeout": step}
    theirs = peer.ask("query", parameters)
    if theirs[0] == 200:
        ours = await api.get("/api/v1/query", **parameters)
        assert outcome(ours.status, ours.json) == outcome(*theirs)
