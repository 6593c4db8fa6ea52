"""What a Prometheus that scrapes says of itself, and what we say: the same fields of the same kinds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.model.targets import LastScrape, PoolStatus, TargetStatus
from metricsmith.testing import services
from metricsmith.testing.programs import eventually
from metricsmith.testing.services import Server

CONFIG = """
global: {scrape_interval: 100ms, scrape_timeout: 100ms}
scrape_configs:
  - job_name: self
    static_configs: [{targets: ["ADDRESS"]}]
  - job_name: dead
    static_configs: [{targets: ["127.0.0.1:1"], labels: {zone: eu}}]
  - job_name: unwanted
    static_configs: [{targets: ["127.0.0.1:2"]}]
    relabel_configs: [{action: drop}]
"""
POOLS = [
    PoolStatus(
        "self",
        (
            TargetStatus(
                "self",
                "http://127.0.0.1:1/metrics",
                {"instance": "127.0.0.1:1", "job": "self"},
                100,
                100,
                LastScrape(1_699_999_999_900, 0.01, ""),
                {"__address__": "127.0.0.1:1"},
            ),
        ),
    ),
    PoolStatus("dead", ()),
    PoolStatus("unwanted", (), ({"__address__": "127.0.0.1:2"},), 1),
]

NEWER = {
    # Prometheus 3 has them, Debian's does not yet.
    "targets": {"droppedTargetCounts"},
    "droppedTargets": {"scrapePool"},
    "status/runtimeinfo": {"serverTime", "hostname", "GOMEMLIMIT"},
    "status/walreplay": {"state"},
    # Ours: what really runs, beside the version whose API it is.
    "status/buildinfo": {"application", "applicationVersion", "pythonVersion"},
}
PATHS: list[tuple[str, dict[str, Any]]] = [
    ("targets", {}),
    ("targets", {"state": "active"}),
    ("targets", {"state": "dropped"}),
    ("targets", {"state": "any", "scrapePool": "self"}),
    ("targets", {"state": "other"}),
    ("targets/metadata", {"limit": 1}),
    ("targets/metadata", {"match_target": '{job="self"}', "metric": "go_goroutines"}),
    ("targets/metadata", {"match_target": '{job="none"}'}),
    ("scrape_pools", {}),
    ("status/config", {}),
    ("status/flags", {}),
    ("status/runtimeinfo", {}),
    ("status/buildinfo", {}),
    ("status/tsdb", {}),
    ("status/walreplay", {}),
    ("metadata", {}),
    ("metadata", {"metric": "go_goroutines"}),
    ("query", {"query": "go_goroutines", "stats": "all"}),
    ("query_range", {"query": "go_goroutines", "stats": "1", "start": 1, "end": 2, "step": 1}),
]


@pytest.fixture(scope="module")
def scraping(tmp_path_factory: pytest.TempPathFactory, prometheus: Server, make_peer: Any) -> Iterator[Any]:
    """A Prometheus that scrapes another, after its first scrapes."""
    folder = tmp_path_factory.mktemp("scraping")
    address = prometheus.url.removeprefix("http://")
    with services.prometheus(folder, CONFIG.replace("ADDRESS", address)) as server:
        peer = make_peer(server.url)
        wait_for_scrapes(peer)
        yield peer


def wait_for_scrapes(peer: Any) -> None:
    def scraped() -> bool:
        _, document = peer.ask("targets", {"state": "active"})
        return {t["health"] for t in document["data"]["activeTargets"]} == {"up", "down"}

    eventually(scraped)


@pytest.fixture
def ours(make_api: Any) -> Any:
    settings = {"server": {"listen": "127.0.0.1:9480"}, "query": {"max_samples": 5}}
    api = make_api(pools=lambda: POOLS, settings=lambda: settings)
    known = {"go_goroutines": Metadata(MetricType.GAUGE, "", "Goroutines.")}
    api.write({"go_goroutines|job=self|instance=127.0.0.1:1": [(1, 7)]}, known)
    return api


MAPS = ("labels", "discoveredLabels", "target", "metric", "droppedTargetCounts")
"""Objects whose names are data."""


def differences(ours: Any, theirs: Any, name: str, where: str) -> list[str]:
    """Return where ours has not the kinds of values that theirs has; of a list, the first tells."""
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
        if name in MAPS or where in ("/status/flags", "/metadata"):
            ours, theirs = list(ours.values()), list(theirs.values())
        else:
            missing = [f"{where} lacks {n}" for n in theirs.keys() - ours.keys()]
            more = [f"{where} has {n}" for n in ours.keys() - theirs.keys() - NEWER.get(name, set())]
            both = theirs.keys() & ours.keys()
            return (
                missing + more + [d for n in both for d in differences(ours[n], theirs[n], n, f"{where}.{n}")]
            )
    if isinstance(theirs, list) and isinstance(ours, list):
        if bool(theirs) != bool(ours):
            return [f"{where}: {len(ours)} elements, and {len(theirs)}"]
        return differences(ours[0], theirs[0], name, f"{where}[]") if theirs else []
    kinds = {int: float}
    alike = kinds.get(type(ours), type(ours)) is kinds.get(type(theirs), type(theirs))
    return [] if alike else [f"{where}: {ours!r}, and {theirs!r}"]


@pytest.mark.parametrize(("path", "parameters"), PATHS, ids=[f"{p} {q}" for p, q in PATHS])
async def test_fields_are_the_same(ours: Any, scraping: Any, path: str, parameters: dict[str, Any]) -> None:
    status, theirs = scraping.ask(path, parameters)
    assert status == 200
    answer = await ours.get(f"/api/v1/{path}", **parameters)
    assert answer.status == 200, answer.body
    assert answer.json["status"] == theirs["status"]
    assert not differences(answer.data, theirs["data"], path, f"/{path}")
