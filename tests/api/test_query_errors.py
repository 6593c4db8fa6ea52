"""What the query API says of a wrong expression, and beside an answer, as clients of Prometheus read it."""

from __future__ import annotations

from typing import Any

import pytest

NOW_S = 1_700_000_000
RANGE = {"start": NOW_S - 60, "end": NOW_S, "step": 30}


@pytest.mark.parametrize(
    ("path", "parameters"), [("query", {}), ("query_range", RANGE), ("format_query", {}), ("parse_query", {})]
)
@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("", "1:1: parse error: no expression found in input"),
        ("sum(x", '1:6: parse error: unclosed left parenthesis, opened at 1:4, expected "," or ")"'),
        ("rat(x[5m])", '1:1: parse error: unknown function with name "rat", did you mean `rate`?'),
        ("x +\n  * y", "2:3: parse error: unexpected <op:*>, expected expression"),
        ("\x00", "1:1: parse error: unexpected character: '\\x00', a NUL character, expected expression"),
    ],
)
async def test_a_wrong_expression_is_bad_data_with_its_place(
    api: Any, path: str, parameters: Any, query: str, error: str
) -> None:
    for ask in (api.get, api.form):
        answer = await ask(f"/api/v1/{path}", query=query, **parameters)
        assert answer.status == 400
        assert answer.json == {
            "status": "error",
            "errorType": "bad_data",
            "error": f'invalid parameter "query": {error}',
        }


async def test_a_wrong_selector_is_bad_data_with_its_place(api: Any) -> None:
    answer = await api.get("/api/v1/series", **{"match[]": "x{a=b}"})
    assert (answer.status, answer.json["errorType"]) == (400, "bad_data")
    assert answer.json["error"] == (
        'invalid parameter "match[]": 1:5: parse error: unexpected identifier "b" in label matching, '
        "expected string"
    )


@pytest.mark.parametrize("raw", [b"%ff", b"%ed%a0%80", b"x%7ba%3d%22%c3%22%7d"])
async def test_bytes_that_are_no_text_are_bad_data(api: Any, raw: bytes) -> None:
    answer = await api.call("GET", "/api/v1/query", query=b"query=" + raw)
    assert (answer.status, answer.json["errorType"]) == (400, "bad_data")
    assert "UTF-8" in answer.json["error"]


async def test_a_query_longer_than_any_is_refused(api: Any) -> None:
    answer = await api.form("/api/v1/query", query="x" * 1_000_001)
    assert answer.status == 400
    assert "got a query of 1000001 characters, wanted at most 1000000" in answer.json["error"]


async def test_remarks_come_with_their_place(api: Any) -> None:
    api.write({"gauge": [(90, 1.0), (60, 2.0), (30, 3.0)]})
    answer = (await api.get("/api/v1/query", query="quantile(2, rate(gauge[5m]))")).json
    assert answer["warnings"] == ["PromQL warning: quantile value should be between 0 and 1, got 2 (1:10)"]
    assert answer["infos"] == [
        "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "
        '"gauge" (1:18)'
    ]
    answer = (await api.get("/api/v1/query_range", query="sort(gauge)", **RANGE)).json
    assert [text.rpartition(" ")[2] for text in answer["warnings"]] == ["(1:1)"]
    answer = (await api.get("/api/v1/query", query="gauge")).json
    assert answer.keys() == {"status", "data"}


@pytest.mark.parametrize(
    "query",
    [
        "gauge @ 1e15 offset -290y",
        "gauge @ -4e15",
        "rate(gauge[290y])",
        "max_over_time(gauge[290y:290y] @ 4e15)",
        "gauge offset 292y",
        "gauge offset -292y",
        'gauge{a=~"(.*)*(.*)*b"}',
        "topk(1e18, gauge)",
    ],
)
@pytest.mark.parametrize("time", ["now", "-9007199254740.992", "9007199254740.992", "9223372036"])
async def test_the_store_answers_about_any_time(api: Any, query: str, time: str) -> None:
    api.write({"gauge": [(90, 1.0), (60, 2.0), (30, 3.0)]})
    at = NOW_S if time == "now" else time
    answer = await api.get("/api/v1/query", query=query, time=at)
    assert answer.status == 200, answer.body
    whole = {"start": "-9007199254740", "end": "9007199254740", "step": "8000000000"}
    answer = await api.get("/api/v1/query_range", query=query, **whole)
    assert answer.status in (200, 422), answer.body
