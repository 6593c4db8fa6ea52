"""Explain answers with figures that agree with the query itself, and refuses what the query refuses."""

from __future__ import annotations

from typing import Any

import pytest

NOW_S = 1_700_000_000
RANGE = {"start": NOW_S - 30, "end": NOW_S, "step": "15s"}


@pytest.fixture
def filled(api: Any) -> Any:
    """Three series with a sample every 15 s."""
    api.write({f"x|i={i}": [(60.0 - 15 * j, float(j)) for j in range(5)] for i in range(3)})
    return api


@pytest.mark.parametrize(
    ("query", "times", "kind", "series", "points", "read"),
    [
        ("x", {}, "vector", 3, 3, 15),
        ("x[50s]", {"time": NOW_S}, "matrix", 3, 12, 12),
        ("sum(rate(x[31s]))", RANGE, "matrix", 1, 3, 15),
        ("x + on (i) x offset 15s", RANGE, "matrix", 3, 9, 15),
        ("1 + 1", {}, "scalar", 1, 1, 0),
        ('"text"', {}, "string", 0, 0, 0),
        ("nothing", RANGE, "matrix", 0, 0, 0),
    ],
)
async def test_figures_are_those_of_the_answer(
    filled: Any, query: str, times: Any, kind: str, series: int, points: int, read: int
) -> None:
    data = (await filled.get("/api/v1/explain", query=query, **times)).data
    assert (data["resultType"], data["series"], data["points"], data["samplesRead"]) == (
        kind,
        series,
        points,
        read,
    )
    assert sum(step["samplesRead"] for step in data["steps"]) == read
    assert sum(step["seconds"] for step in data["steps"]) <= data["runSeconds"]
    assert [step["step"] for step in data["steps"]] == list(range(len(data["steps"])))
    assert all(i < step["step"] for step in data["steps"] for i in step["inputs"])
    answer = await filled.get(f"/api/v1/query{'_range' if 'step' in times else ''}", query=query, **times)
    assert answer.data["resultType"] == kind
    assert (await filled.form("/api/v1/explain", query=query, **times)).data["points"] == points


@pytest.mark.parametrize(
    ("asked", "status", "words"),
    [
        ({"query": "sum("}, 400, "parse error"),
        ({"query": "x", "step": "15s"}, 400, "start"),
        ({"query": "x", "start": 1, "end": 2}, 400, "step"),
        ({"query": "x", "start": 2, "end": 1, "step": 1}, 400, "before start"),
        ({"query": "x", "start": 1, "end": 2, "step": 0}, 400, "zero or negative"),
        ({"query": "x", "start": 0, "end": 11_001, "step": 1}, 400, "maximum resolution of 11,000"),
        ({"query": "x", "timeout": "soon"}, 400, "timeout"),
        ({"query": "x[5m]", "start": 1, "end": 2, "step": 1}, 400, "range vector"),
        ({"query": "x", "time": 5, **RANGE}, 400, "no time"),
        ({"query": "x", "lookback_delta": "-1"}, 400, "lookback_delta"),
        ({"query": "x + on () x"}, 422, "many-to-many"),
    ],
)
async def test_refusals(filled: Any, asked: Any, status: int, words: str) -> None:
    answer = await filled.get("/api/v1/explain", **asked)
    assert answer.status == status, answer.body
    assert words in answer.json["error"]
