"""An alert that begins or ends is one event, however often it is told; a reload or restart adds none."""

from __future__ import annotations

from itertools import chain
from typing import Any

import pytest

from metricsmith.rules.events import alert_events

RULES = """
groups:
- name: shop
  interval: 30s
  rules:
  - alert: Hot
    expr: heat > 10
    for: 30s
    labels: {severity: page}
    annotations: {summary: "{{ $labels.zone }} is at {{ $value }}"}
"""


def _events(group: Any, *heats: float) -> list[tuple[str, str]]:
    rounds = [group.round({"heat": heat}, zone="a") for heat in heats]
    found = alert_events(chain.from_iterable(rounds))
    return [(event.attributes["state"], event.summary) for event in found]


@pytest.mark.parametrize("restart", [None, True, False])
def test_each_beginning_and_end_is_one_event(simulation: Any, restart: bool | None) -> None:
    group = simulation.of(RULES)
    assert _events(group, 5, 11) == []  # it waits
    assert _events(group, 12) == [("firing", "a is at 12")]
    if restart is not None:
        group.change(RULES, restart=restart)
    assert _events(group, *[13] * 30) == [], "told again and again, and no news"
    assert _events(group, 5) == [("resolved", "a is at 13")]
    if restart is not None:
        group.change(RULES, restart=restart)
    assert _events(group, *[5] * 20) == []
    assert [state for state, _ in _events(group, *[20] * 8, 1)] == ["firing", "resolved"]


def test_an_event_says_what_its_alert_says(simulation: Any) -> None:
    group = simulation.of(RULES)
    rounds = [group.round({"heat": heat}, zone="a") for heat in (12, 13, 14, 4)]
    firing, resolved = alert_events(chain.from_iterable(rounds))
    assert firing.category == resolved.category == "alert"
    began_ms = group.now_ms - 2 * 30_000
    assert firing.time_ms == began_ms and resolved.time_ms == group.now_ms
    assert firing.attributes == {
        "alertname": "Hot",
        "state": "firing",
        "started_ms": began_ms,
        "no_data": False,
        "alert_value": 13.0,
        "label.severity": "page",
        "label.zone": "a",
        "annotation.summary": "a is at 13",
    }
    assert resolved.attributes["ended_ms"] == group.now_ms
