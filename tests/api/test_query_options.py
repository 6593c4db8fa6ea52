"""Limits, look-back and metadata of the query API, which Prometheus 2.42 does not have or has no data for."""

from __future__ import annotations

from typing import Any

import pytest

from metricsmith.model.metadata import Metadata, MetricType

TRUNCATED = ["results truncated due to limit"]


@pytest.fixture
def three(api: Any) -> Any:
    """An application with series x{i="0".."2"}, one sample each, 200 s old."""
    api.write({f"x|i={i}": [(200, float(i))] for i in range(3)})
    return api


@pytest.mark.parametrize(
    ("path", "parameters", "length"),
    [
        ("query", {"query": "x"}, lambda data: len(data["result"])),
        ("query", {"query": "x[5m]"}, lambda data: len(data["result"])),
        (
            "query_range",
            {"query": "x", "start": 1_699_999_900, "end": 1_700_000_000, "step": 50},
            lambda data: len(data["result"]),
        ),
        ("series", {"match[]": "x"}, len),
        ("label/i/values", {"match[]": "x"}, len),
    ],
)
async def test_limit_cuts_and_warns(three: Any, path: str, parameters: Any, length: Any) -> None:
    whole = (await three.get(f"/api/v1/{path}", **parameters)).json
    assert length(whole["data"]) == 3
    for limit, wanted, warnings in ((0, 3, None), (3, 3, None), (2, 2, TRUNCATED), (1, 1, TRUNCATED)):
        answer = (await three.get(f"/api/v1/{path}", limit=limit, **parameters)).json
        assert length(answer["data"]) == wanted
        assert answer.get("warnings") == warnings
    cut = (await three.get(f"/api/v1/{path}", limit=1, **parameters)).json["data"]
    kept = whole["data"] if isinstance(whole["data"], list) else whole["data"]["result"]
    assert (cut if isinstance(cut, list) else cut["result"]) == kept[:1]


async def test_lookback_delta(three: Any) -> None:
    assert len((await three.get("/api/v1/query", query="x")).data["result"]) == 3
    assert (await three.get("/api/v1/query", query="x", lookback_delta="3m")).data["result"] == []
    for wrong in ("0", "-1", "x"):
        assert (await three.get("/api/v1/query", query="x", lookback_delta=wrong)).status == 400


async def test_metadata_filters(api: Any) -> None:
    known = {name: Metadata(MetricType.COUNTER, "bytes", f"help of {name}") for name in "abc"}
    api.write({"a": [(10, 1)]}, known)
    entry = [{"type": "counter", "unit": "bytes", "help": "help of b"}]
    assert list((await api.get("/api/v1/metadata")).data) == ["a", "b", "c"]
    assert (await api.get("/api/v1/metadata", metric="b")).data == {"b": entry}
    assert len((await api.get("/api/v1/metadata", limit=2)).data) == 2
    assert (await api.get("/api/v1/metadata", limit=0)).data == {}
    assert len((await api.get("/api/v1/metadata", limit=-1)).data) == 3
    assert (await api.get("/api/v1/metadata", metric="b", limit_per_metric=1)).data == {"b": entry}


async def test_what_clients_ask_before_they_query(api: Any) -> None:
    assert (await api.get("/api/v1/status/buildinfo")).data["application"] == "metricsmith"
    assert (await api.get("/api/v1/status/runtimeinfo")).data["startTime"] == "2023-11-14T19:43:20Z"
    assert (await api.get("/api/v1/query_exemplars", query="x")).data == []


async def test_stats_say_what_a_query_took(three: Any) -> None:
    for path, more in (
        ("query", {}),
        ("query_range", {"start": 1_699_999_990, "end": 1_700_000_000, "step": 5}),
    ):
        plain = (await three.get(f"/api/v1/{path}", query="sum(x)", **more)).data
        assert "stats" not in plain
        for text in ("1", "all"):
            data = (await three.form(f"/api/v1/{path}", query="sum(x)", stats=text, **more)).data
            stats = data.pop("stats")
            assert data == plain
            assert stats["samples"]["totalQueryableSamples"] == 3
            assert stats["samples"]["peakSamples"] >= 3
            assert all(seconds >= 0 for seconds in stats["timings"].values())


async def test_trees_come_by_address_and_by_form(api: Any) -> None:
    by_address = await api.get("/api/v1/parse_query", query="-(x offset 5m)")
    assert by_address.data["expr"]["expr"]["offset"] == 300_000
    assert (await api.form("/api/v1/parse_query", query="-(x offset 5m)")).body == by_address.body
    refused = await api.form("/api/v1/parse_query", query="sum(")
    assert (refused.status, refused.json["errorType"]) == (400, "bad_data")
