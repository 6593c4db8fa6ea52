"""The API over a store that is a Prometheus: it answers as that does, and says why when that is away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from metricsmith.contracts import Context
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.store.prometheus.settings import PrometheusConfig
from metricsmith.store.prometheus.store import PrometheusStore
from metricsmith.testing.clock import FakeClock

NOW_S = 1_700_000_000
AWAY = "http://127.0.0.1:1"
RANGE = {"start": NOW_S, "end": NOW_S + 60, "step": 20}


@pytest.fixture
def api_over(make_api: Any) -> Iterator[Callable[[str], Any]]:
    """Make an application over a server."""
    made = []

    def make(url: str) -> Any:
        context = Context("store", SeriesTable(), Telemetry(), FakeClock())
        store = PrometheusStore(PrometheusConfig(url=url), context)
        made.append(store)
        limits = {"lookback_ms": 300_000, "timeout_s": 10.0, "max_series": 100, "max_points": 1000}
        return make_api(store=store, server=store.query_engine(**limits))

    yield make
    for store in made:
        store.close()


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("query", {"query": "up"}),
        ("query_range", {"query": "up", **RANGE}),
        ("series", {"match[]": "up"}),
        ("labels", {}),
        ("label/job/values", {}),
        ("metadata", {}),
        ("status/tsdb", {}),
    ],
)
async def test_a_server_that_is_away_is_503_with_the_reason(
    api_over: Any, path: str, parameters: dict[str, Any]
) -> None:
    answer = await api_over(AWAY).get(f"/api/v1/{path}", **parameters)
    assert (answer.status, answer.json["errorType"]) == (503, "unavailable")
    assert answer.json["error"] == (
        f"the server that keeps the samples, {AWAY}: cannot connect: Connection refused"
    )
    assert answer.headers["retry-after"] == "5"


async def test_the_status_page_says_that_it_is_away(api_over: Any) -> None:
    answer = await api_over(AWAY).get("/storage/status")
    assert (answer.json["type"], answer.json["status"]) == ("prometheus", "error")


@pytest.mark.parametrize(
    "query",
    [
        "vector(2)",
        "1 / 3",
        '"text"',
        "time()",
        'label_replace(vector(1), "a", "b\\"\\\\", "", "")',
        "absent(up_none)",
        "up_none[5m]",
        "sum(",
        "nope(up)",
        "vector(1) + on () group_left (le) (vector(1) or up)",
        "up_none offset 5",
    ],
)
async def test_answers_are_those_of_the_server(api_over: Any, peer: Any, query: str) -> None:
    api = api_over(peer.url)
    for path, parameters in (("query", {"time": NOW_S}), ("query_range", RANGE)):
        ours = await api.get(f"/api/v1/{path}", query=query, **parameters)
        assert (ours.status, ours.json) == peer.ask(path, {"query": query, **parameters})


async def test_statistics_are_the_server_s(api_over: Any, peer: Any) -> None:
    asked = {"query": "sum(vector(1))", "time": NOW_S, "stats": "1"}
    answer = await api_over(peer.url).get("/api/v1/query", **asked)
    _, theirs = peer.ask("query", asked)
    assert answer.data["stats"]["samples"] == theirs["data"]["stats"]["samples"]
