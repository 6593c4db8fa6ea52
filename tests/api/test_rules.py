"""Rules and alerts over HTTP: Prometheus' fields, its filters, its pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metricsmith.model.rules import AlertingView, AlertView, GroupView, RuleView
from metricsmith.testing.programs import eventually
from metricsmith.testing.services import prometheus as run_prometheus

AT_MS = 1_700_000_000_500
FIRING = AlertView({"alertname": "Deep", "job": "a"}, {"summary": "7 deep"}, "firing", 7.0, AT_MS)
PENDING = replace(
    FIRING, state="pending", value=float("inf"), no_data=True, labels={"alertname": "Deep", "job": "b"}
)


def rule(
    name: str, labels: Mapping[str, str] | None = None, alerting: AlertingView | None = None
) -> RuleView:
    return RuleView(name, "x > 1", labels or {}, "ok", "", 0.002, AT_MS, 5, 1, alerting)


DEEP = rule(
    "Deep",
    {"severity": "page"},
    AlertingView(60_000, 0, {"summary": "{{ $value }} deep"}, "keep", (FIRING, PENDING)),
)
GROUPS = [
    GroupView("g1", "/a.yml", 15_000, 0, (rule("x:sum", {"team": "shop"}), DEEP), 0.01, AT_MS),
    GroupView("g2", "/a.yml", 60_000, 5, (rule("y:sum"),), 0.0, 0),
    GroupView("g1", "/b.yml", 60_000, 0, (replace(rule("z"), health="err", last_error="too much"),), 0.0, 0),
]


@pytest.fixture
def api(make_api: Any) -> Any:
    return make_api(rule_groups=lambda: GROUPS)


async def found(api: Any, **parameters: Any) -> list[str]:
    data = (await api.get("/api/v1/rules", **parameters)).data
    return [
        f"{group['file']} {group['name']} {r['name']}" for group in data["groups"] for r in group["rules"]
    ]


async def test_all_fields(api: Any) -> None:
    first, second, third = (await api.get("/api/v1/rules")).data["groups"]
    recording, alerting = first.pop("rules")
    assert first == {
        "name": "g1",
        "file": "/a.yml",
        "interval": 15.0,
        "limit": 0,
        "evaluationTime": 0.01,
        "lastEvaluation": "2023-11-14T22:13:20.500Z",
    }
    assert second["lastEvaluation"] == "0001-01-01T00:00:00Z"
    assert third["rules"][0]["lastError"] == "too much"
    assert recording == {
        "name": "x:sum",
        "query": "x > 1",
        "labels": {"team": "shop"},
        "health": "ok",
        "evaluationTime": 0.002,
        "lastEvaluation": "2023-11-14T22:13:20.500Z",
        "lastSamples": 5,
        "lastSeries": 1,
        "type": "recording",
    }
    alerts = alerting.pop("alerts")
    assert alerting == recording | {
        "name": "Deep",
        "labels": {"severity": "page"},
        "state": "firing",
        "duration": 60.0,
        "keepFiringFor": 0.0,
        "annotations": {"summary": "{{ $value }} deep"},
        "noData": "keep",
        "type": "alerting",
    }
    assert alerts == (await api.get("/api/v1/alerts")).data["alerts"]
    assert alerts[0] == {
        "labels": {"alertname": "Deep", "job": "a"},
        "annotations": {"summary": "7 deep"},
        "state": "firing",
        "activeAt": "2023-11-14T22:13:20.500Z",
        "value": "7e+00",
    }
    assert (alerts[1]["value"], alerts[1]["noData"]) == ("+Inf", True)


@pytest.mark.parametrize(
    ("parameters", "wanted"),
    [
        ({"type": "alert"}, ["/a.yml g1 Deep"]),
        ({"type": "record", "file[]": "/a.yml"}, ["/a.yml g1 x:sum", "/a.yml g2 y:sum"]),
        ({"rule_name[]": ["Deep", "z"]}, ["/a.yml g1 Deep", "/b.yml g1 z"]),
        ({"rule_group[]": "g1"}, ["/a.yml g1 x:sum", "/a.yml g1 Deep", "/b.yml g1 z"]),
        ({"rule_group[]": "g1", "file[]": "/b.yml"}, ["/b.yml g1 z"]),
        ({"match[]": '{team="shop"}'}, ["/a.yml g1 x:sum"]),
        ({"match[]": ['{severity=~"p.*"}', '{team="shop"}']}, ["/a.yml g1 x:sum", "/a.yml g1 Deep"]),
        ({"rule_name[]": "nope"}, []),
    ],
)
async def test_filters(api: Any, parameters: dict[str, Any], wanted: list[str]) -> None:
    assert await found(api, **parameters) == wanted


async def test_alerts_can_be_left_out(api: Any) -> None:
    (group,) = (await api.get("/api/v1/rules", type="alert", exclude_alerts="true")).data["groups"]
    assert group["rules"][0]["alerts"] == []
    assert group["rules"][0]["state"] == "firing"


async def test_pages_of_groups(api: Any) -> None:
    seen, token = [], ""
    for _ in range(3):
        data = (await api.get("/api/v1/rules", group_limit=1, group_next_token=token)).data
        seen += [f"{group['file']} {group['name']}" for group in data["groups"]]
        token = data.get("groupNextToken", "")
    assert seen == ["/a.yml g1", "/a.yml g2", "/b.yml g1"] and token == ""


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"type": "other"}, "not supported value"),
        ({"exclude_alerts": "perhaps"}, "wanted true or false"),
        ({"group_limit": "0"}, "wanted a whole number from 1"),
        ({"group_next_token": "x"}, "group_limit needs to be set"),
        ({"group_limit": "1", "group_next_token": "x"}, "were rule groups changed"),
        ({"match[]": "{"}, "parse error"),
    ],
)
async def test_mistakes(api: Any, parameters: dict[str, Any], message: str) -> None:
    answer = await api.get("/api/v1/rules", **parameters)
    assert answer.status == 400
    assert message in answer.json["error"]


RULES = """
groups:
  - name: g
    interval: 1s
    rules:
      - {record: "x:sum", expr: vector(1), labels: {team: shop}}
      - alert: Deep
        expr: vector(7) > 5
        for: 100ms
        labels: {severity: page}
        annotations: {summary: "{{ $value }} deep"}
      - {alert: Late, expr: vector(1), for: 1h}
"""


async def test_every_field_that_prometheus_has(api: Any, make_peer: Any, tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(RULES)
    config = f"rule_files: ['{tmp_path}/rules.yml']\n"
    with run_prometheus(tmp_path / "prometheus", config) as server:
        peer = make_peer(server.url)

        def alerts() -> Any:
            found = peer.ask("alerts", {})[1]["data"]["alerts"]
            return found if {alert["state"] for alert in found} == {"firing", "pending"} else None

        eventually(alerts)
        theirs = peer.ask("rules", {})[1]["data"]["groups"][0]
        their_alert = alerts()[0]
    ours = (await api.get("/api/v1/rules")).data["groups"][0]
    assert kinds(theirs) == kinds(ours)
    for number in (0, 1):
        missing = kinds(theirs["rules"][number]).items() - kinds(ours["rules"][number]).items()
        assert not missing
    assert kinds(their_alert) == kinds(ours["rules"][1]["alerts"][0])


def kinds(document: dict[str, Any]) -> dict[str, str]:
    """Field names with their JSON types."""
    named = {dict: "object", list: "array", str: "string", int: "number", float: "number"}
    return {name: named[type(value)] for name, value in document.items()}
