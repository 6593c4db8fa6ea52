"""What clients of Prometheus ask about the server: settings, recent series, replay, remarks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from metricsmith.api.context import AgentStatus, Replay
from metricsmith.testing import services

NOW_MS = 1_700_000_000_000
SETTINGS = {
    "service": {"name": "ä", "interval": "10s"},
    "server": {"listen": "127.0.0.1:9480", "metrics": {"collected": False}},
    "query": {"max_samples": 5, "slow": None},
    "sources": [{"type": "scrape", "targets": ["a:1", "b:2"]}, {"type": "self", "labels": {}}],
}


def status(**changes: Any) -> Any:
    return lambda: AgentStatus("standalone", "here", 60_000, 0, config_ms=NOW_MS - 60_000, **changes)


async def test_settings_as_yaml_and_by_path(make_api: Any) -> None:
    api = make_api(settings=lambda: SETTINGS)
    assert yaml.safe_load((await api.get("/api/v1/status/config")).data["yaml"]) == SETTINGS
    assert (await api.get("/api/v1/status/flags")).data == {
        "service.name": "ä",
        "service.interval": "10s",
        "server.listen": "127.0.0.1:9480",
        "server.metrics.collected": "false",
        "query.max_samples": "5",
        "query.slow": "",
        "sources[0].type": "scrape",
        "sources[0].targets[0]": "a:1",
        "sources[0].targets[1]": "b:2",
        "sources[1].type": "self",
    }


async def test_recent_series_by_their_origin(api: Any) -> None:
    api.write({f"x|job=a|i={i}": [(10, 1)] for i in range(12)} | {"y|job=b": [(20, 1)]})
    data = (await api.get("/api/v1/status/tsdb")).data
    assert data["headStats"] == {
        "numSeries": 13,
        "numLabelPairs": 16,
        "chunkCount": 0,
        "minTime": NOW_MS - 20_000,
        "maxTime": NOW_MS - 10_000,
    }
    assert data["seriesCountByMetricName"] == [{"name": "x", "value": 12}, {"name": "y", "value": 1}]
    assert len(data["seriesCountByLabelValuePair"]) == 10
    assert data["labelValueCountByLabelName"][0] == {"name": "i", "value": 12}
    assert data["memoryInBytesByLabelName"][0] == {"name": "i", "value": 14}
    two = (await api.get("/api/v1/status/tsdb", limit=2)).data
    assert two["seriesCountByLabelValuePair"] == [
        {"name": "__name__=x", "value": 12},
        {"name": "job=a", "value": 12},
    ]


@pytest.mark.parametrize("limit", ["0", "-1", "x", "1.5", "10001", "9" * 30, "٣"])
async def test_limits_of_the_lists(api: Any, limit: str) -> None:
    answer = await api.get("/api/v1/status/tsdb", limit=limit)
    assert (answer.status, answer.json["errorType"]) == (400, "bad_data")
    assert answer.json["error"].startswith("limit must")


async def test_replay_is_told_while_it_runs(make_api: Any) -> None:
    running = Replay(5, 90, 17, "in progress")
    api = make_api(status=status(serving=False, replay=running))
    assert (await api.get("/api/v1/status/walreplay")).data == {
        "min": 5,
        "max": 90,
        "current": 17,
        "state": "in progress",
    }
    assert (await api.get("/api/v1/query", query="1")).status == 503


async def test_what_somebody_should_look_at(make_api: Any) -> None:
    api = make_api(status=status())
    assert (await api.get("/api/v1/notifications")).data == []
    api = make_api(status=status(reload_failed_ms=NOW_MS - 5000), not_ready=lambda: "the disk is full")
    assert (await api.get("/api/v1/notifications")).data == [
        {"text": "Configuration reload has failed.", "date": "2023-11-14T22:13:15Z", "active": True},
        {"text": "Not ready: the disk is full", "date": "2023-11-14T22:13:20Z", "active": True},
    ]
    info = (await api.get("/api/v1/status/runtimeinfo")).data
    assert (info["reloadConfigSuccess"], info["hostname"]) == (False, "here")
    assert info["startTime"] == info["lastConfigTime"] == "2023-11-14T22:12:20Z"


LABEL_SETS = {
    **{f"requests_total|job=shop|path=/{i}|code={code}": 0 for i in range(30) for code in (200, 500)},
    **{f"load|job={job}|zone=ü": 0 for job in ("shop", "bar", "x" * 40)},
    "lone": 0,
}


@pytest.fixture(scope="module")
def empty_peer(tmp_path_factory: pytest.TempPathFactory, prometheus: Any, make_peer: Any) -> Iterator[Any]:
    """A Prometheus that holds nothing yet."""
    with services.prometheus(tmp_path_factory.mktemp("empty")) as server:
        yield make_peer(server.url)


async def test_counts_are_those_of_prometheus(api: Any, empty_peer: Any) -> None:
    series = {text: [(20.0, 1.0), (10.0, 2.0)] for text in LABEL_SETS}
    api.write(series)
    empty_peer.write(series)
    _, theirs = empty_peer.ask("status/tsdb", {})
    ours, wanted = (await api.get("/api/v1/status/tsdb")).data, theirs["data"]
    for name in ("numSeries", "numLabelPairs", "minTime", "maxTime"):
        assert ours["headStats"][name] == wanted["headStats"][name], name
    for name in wanted.keys() - {"headStats"}:
        counts = [each["value"] for each in wanted[name]]
        assert [each["value"] for each in ours[name]] == counts, name
        # Of those with equal counts, Prometheus takes and orders any.
        sure = {tuple(each.items()) for each in wanted[name] if each["value"] > min(counts)}
        assert sure <= {tuple(each.items()) for each in ours[name]}, name
