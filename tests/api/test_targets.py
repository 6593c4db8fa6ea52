"""What is told of targets: filtered, with times, and the metrics that each has."""

from __future__ import annotations

from typing import Any

import pytest

from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.model.targets import LastScrape, PoolStatus, TargetStatus

NOW_MS = 1_700_000_000_000


def target(pool: str, port: int, last: LastScrape | None = None) -> TargetStatus:
    address = f"127.0.0.1:{port}"
    labels = {"instance": address, "job": pool}
    return TargetStatus(pool, f"http://{address}/m", labels, 15_000, 10_000, last, {"__address__": address})


DOWN = LastScrape(NOW_MS - 1500, 0.25, "got HTTP status 503, wanted 200")
POOLS = [
    PoolStatus("shop", (target("shop", 1, LastScrape(NOW_MS, 0.5, "")), target("shop", 2, DOWN))),
    PoolStatus("new", (target("new", 3),), ({"__address__": "x:1"}, {"__address__": "x:2"}), 7),
    PoolStatus("empty", ()),
]


@pytest.fixture
def api(make_api: Any) -> Any:
    return make_api(pools=lambda: POOLS)


async def test_targets_are_described(api: Any) -> None:
    data = (await api.get("/api/v1/targets")).data
    assert data["activeTargets"][1] == {
        "discoveredLabels": {"__address__": "127.0.0.1:2"},
        "labels": {"instance": "127.0.0.1:2", "job": "shop"},
        "scrapePool": "shop",
        "scrapeUrl": "http://127.0.0.1:2/m",
        "globalUrl": "http://127.0.0.1:2/m",
        "lastError": "got HTTP status 503, wanted 200",
        "lastScrape": "2023-11-14T22:13:18.500Z",
        "lastScrapeDuration": 0.25,
        "health": "down",
        "scrapeInterval": "15s",
        "scrapeTimeout": "10s",
    }
    health = [(t["health"], t["lastScrape"][:4]) for t in data["activeTargets"]]
    assert health == [("up", "2023"), ("down", "2023"), ("unknown", "0001")]
    assert data["droppedTargets"][1] == {"discoveredLabels": {"__address__": "x:2"}, "scrapePool": "new"}
    assert data["droppedTargetCounts"] == {"shop": 0, "new": 7, "empty": 0}


async def test_a_list_of_targets_that_is_old_is_a_warning(make_api: Any) -> None:
    ages = {"files": 0.0, "hiccup": 599.0, "cluster": 7200.5}
    pools = [PoolStatus(name, (), list_age_s=age_s) for name, age_s in ages.items()]
    (told,) = (await make_api(pools=lambda: pools).get("/status")).json["warnings"]
    assert told.startswith("source cluster: its list of targets is 2h old, ")


@pytest.mark.parametrize(
    ("parameters", "active", "dropped"),
    [
        ({}, 3, 2),
        ({"state": "active"}, 3, 0),
        ({"state": "DROPPED"}, 0, 2),
        ({"state": "any"}, 3, 2),
        ({"state": "other"}, 0, 0),
        ({"scrapePool": "shop"}, 2, 0),
        ({"scrapePool": "new", "state": "dropped"}, 0, 2),
        ({"scrapePool": "none"}, 0, 0),
    ],
)
async def test_targets_are_filtered(api: Any, parameters: dict[str, str], active: int, dropped: int) -> None:
    data = (await api.get("/api/v1/targets", **parameters)).data
    assert (len(data["activeTargets"]), len(data["droppedTargets"])) == (active, dropped)


async def test_scrape_pools(api: Any) -> None:
    assert (await api.get("/api/v1/scrape_pools")).data == {"scrapePools": ["shop", "new", "empty"]}


async def test_metadata_of_targets(api: Any) -> None:
    known = {
        "requests_total": Metadata(MetricType.COUNTER, "", "Requests."),
        "size_bytes": Metadata(MetricType.HISTOGRAM, "bytes", "Sizes."),
        "gone": Metadata(MetricType.GAUGE, "", "Of a target that has gone."),
    }
    one, two = "job=shop|instance=127.0.0.1:1", "job=shop|instance=127.0.0.1:2"
    api.write(
        {
            f"requests_total|code=200|{one}": [(10, 1)],
            f"requests_total|{two}": [(10, 1)],
            f"size_bytes_bucket|le=1|{two}": [(10, 1)],
            f"unknown|{two}": [(10, 1)],
            "gone|job=old": [(10, 1)],
        },
        known,
    )

    async def found(**parameters: Any) -> list[tuple[str, str, str]]:
        data = (await api.get("/api/v1/targets/metadata", **parameters)).data
        return [(e["target"]["instance"][-1], e.get("metric", ""), e["type"]) for e in data]

    requests_1, requests_2 = ("1", "requests_total", "counter"), ("2", "requests_total", "counter")
    sizes = ("2", "size_bytes", "histogram")
    assert await found() == [requests_1, requests_2, sizes]
    assert await found(limit=1) == [requests_1]
    assert await found(limit=0) == []
    assert await found(match_target='{instance=~".*:2"}') == [requests_2, sizes]
    assert await found(match_target='{job!="shop"}', metric="size_bytes") == []
    assert await found(metric="size_bytes") == [("2", "", "histogram")]
    assert await found(metric="gone") == []
