"""From a scrape, an integration and a rule to New Relic: values, growth and events, over stops and kills."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from metricsmith.testing.newrelic_limits import Point
from metricsmith.testing.newrelic_server import NewRelicServer, newrelic_server
from metricsmith.testing.programs import AgentProgram, eventually
from metricsmith.testing.targets import Target

Make = Callable[..., AgentProgram]
PAGE = """# TYPE orders_total counter
orders_total{{zone="eu"}} {orders}
# TYPE heat gauge
heat {heat}
# TYPE seconds histogram
seconds_bucket{{le="1"}} {orders}
seconds_bucket{{le="+Inf"}} {orders}
seconds_sum {seconds}
seconds_count {orders}
"""


@pytest.fixture
def far() -> Iterator[NewRelicServer]:
    with newrelic_server() as server:
        yield server


def _sinks(far: NewRelicServer, more: str = "") -> str:
    return (
        "performance: {{flush_interval: 100ms}}\n"
        f"sinks:\n- {{{{type: newrelic, api_key: {far.key}, account_id: {far.account},"
        " attributes: {{env: test}},"
        f" endpoint: '{far.metrics_url}', event_endpoint: '{far.events_url}'}}}}\n{more}"
    )


def _grown(far: NewRelicServer) -> float:
    return sum(float(p.value) for p in far.named("orders_total"))  # type: ignore[arg-type]


def _distinct(far: NewRelicServer, name: str) -> list[Point]:
    """Return the points of a metric without those that came again."""
    return list({(p.timestamp, p.interval_ms): p for p in far.named(name)}.values())


def test_what_is_scraped_is_there_with_growth_over_stops_and_restarts_of_both(
    agent_program: Make, target: Target, far: NewRelicServer
) -> None:
    agent = agent_program(_sinks(far, f"sources:\n{target.source()}"))
    orders, seconds = 100, 7.0
    target.text = PAGE.format(orders=orders, heat=1, seconds=seconds)
    agent.start()
    eventually(lambda: far.named("heat"))
    target.wait_for_scrapes(2)
    for _ in range(3):
        orders, seconds = orders + 5, seconds + 2.5
        target.text = PAGE.format(orders=orders, heat=2.5, seconds=seconds)
        target.wait_for_scrapes(2)
    eventually(lambda: _grown(far) == 15)
    assert agent.stop() == 0
    orders, seconds = orders + 7, seconds + 1  # while the agent is away
    target.text = PAGE.format(orders=orders, heat=3, seconds=seconds)
    agent.start()
    eventually(lambda: _grown(far) == 22)
    target.text = PAGE.format(orders=4, heat=3, seconds=0.5)  # the shop was restarted
    eventually(lambda: _grown(far) == 26)
    agent.kill()  # what was sent within the last second may come again, and is the same then
    target.text = PAGE.format(orders=10, heat=-4, seconds=1.5)
    agent.start()
    eventually(lambda: far.named("heat")[-1].value == -4)
    eventually(lambda: sum(p.value for p in _distinct(far, "orders_total")) >= 32)  # type: ignore[misc]
    target.wait_for_scrapes(2)
    assert sum(p.value for p in _distinct(far, "orders_total")) == 32  # type: ignore[misc]
    summaries = [p.value for p in _distinct(far, "seconds") if isinstance(p.value, dict)]
    assert sum(value["count"] or 0 for value in summaries) == 32
    assert sum(value["sum"] or 0 for value in summaries) == 7.5 + 1 + 0.5 + 1
    assert far.named("seconds_bucket") == [] and far.dropped == []
    point = far.named("orders_total")[-1]
    assert point.attributes["zone"] == "eu" and point.attributes["env"] == "test"
    assert {p.type for p in far.named("heat")} == {"gauge"}
    spans = sorted({(p.timestamp, p.interval_ms or 0) for p in far.named("orders_total")})
    assert all(at + ms == then for (at, ms), (then, _) in pairwise(spans))
    assert far.key not in agent.log.text() and far.key not in json.dumps(agent.get("/api/v1/status/config"))
    assert agent.stop() == 0
    assert "Traceback" not in agent.log.text()


def test_events_of_integrations_and_alerts_arrive_with_their_attributes(
    agent_program: Make, far: NewRelicServer, tmp_path: Path
) -> None:
    document = {"protocol_version": "4", "integration": {"name": "shop", "version": "1"}, "data": [{
        "entity": {"name": "till-1", "type": "till", "displayName": "Till", "metadata": {}},
        "ignore_entity": True, "metrics": [],
        "events": [{"summary": "opened", "category": "shop",
                    "attributes": {"by": "Ann", "floor": 2, "on": True}}],
    }]}  # fmt: skip
    said, rules = tmp_path / "said", tmp_path / "rules.yml"
    said.write_text(json.dumps(document))
    rule = {"alert": "Hot", "expr": "heat > 10", "labels": {"severity": "page"}}
    rules.write_text(json.dumps({"groups": [{"name": "g", "interval": "200ms", "rules": [rule]}]}))
    entries = {
        "integrations": [
            {"name": "shop", "exec": ["cat", str(said)], "interval": "0", "labels": {"team": "a"}}
        ]
    }
    (tmp_path / "integrations.yml").write_text(json.dumps(entries))
    exec_source = f"- {{{{type: exec, min_interval: 100ms, files: '{tmp_path}/integrations.yml'}}}}\n"
    agent = agent_program(_sinks(far, f"rules: {{{{files: ['{rules}']}}}}\nsources:\n{exec_source}"))
    agent.start()
    agent.push({"heat": 50})

    def found(category: str, **wanted: object) -> list[dict[str, object]]:
        with far.lock:
            return [e for e in far.events if e["category"] == category and wanted.items() <= e.items()]

    (opened,) = eventually(lambda: found("shop"))
    assert opened["eventType"] == "MetricsmithEvent" and opened["env"] == "test"
    assert (opened["summary"], opened["by"], opened["floor"], opened["on"]) == ("opened", "Ann", 2, "true")
    assert (opened["label.team"], opened["entityName"], opened["integrationName"]) == ("a", "till-1", "shop")
    (firing,) = eventually(lambda: found("alert", state="firing"))
    assert (firing["alertname"], firing["label.severity"], firing["alert_value"]) == ("Hot", "page", 50)
    agent.push({"heat": 5})
    (resolved,) = eventually(lambda: found("alert", state="resolved"))
    assert resolved["summary"] == "Hot is resolved" and len(found("alert")) == 2
    eventually(lambda: agent.own("metricsmith_sink_events_total", sink="newrelic") == 3)
    assert far.dropped == []
    assert agent.stop() == 0
