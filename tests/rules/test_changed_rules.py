"""A rule that is edited goes on with its alerts, and misses only what it still looks at."""

from __future__ import annotations

from typing import Any

import pytest

from metricsmith.rules.model import AlertingRule, Group
from metricsmith.rules.remembered import changes

RULE = """
groups:
  - name: g
    rules:
      - {{alert: Low, expr: '{expr}', no_data: {no_data}}}
"""
BOTH_WAYS = pytest.mark.parametrize("restart", [False, True], ids=["reload", "restart"])


@BOTH_WAYS
@pytest.mark.parametrize("no_data", ["keep", "fire", "resolve"])
def test_series_that_it_does_not_look_at_any_more_are_not_missed(
    simulation: Any, no_data: str, restart: bool
) -> None:
    site = simulation.of(RULE.format(expr="depth < 5", no_data=no_data))
    site.round({"depth": 3}, job="a")
    assert site.firing() == {"Low": 3}
    site.change(RULE.format(expr='depth{job="b"} < 5', no_data=no_data), restart=restart)
    (told,) = site.round({"depth": 9}, job="b")
    assert told.resolved and site.firing() == {}
    site.round({"depth": 9}, job="b")
    assert site.firing() == {}
    (rule,) = site.running.rules
    _, forgotten = changes(rule.identity, rule.work, site.now_ms)
    assert any(key.startswith("seen/") for key in forgotten) == (no_data == "fire")


@BOTH_WAYS
@pytest.mark.parametrize("no_data", ["keep", "fire"])
def test_series_without_data_are_missed_on_when_only_the_threshold_changes(
    simulation: Any, no_data: str, restart: bool
) -> None:
    site = simulation.of(RULE.format(expr="depth < 5", no_data=no_data))
    site.round({"depth": 3}, job="a")
    site.change(RULE.format(expr="depth < 6", no_data=no_data), restart=restart)
    for _ in range(6):  # longer than the look-back
        site.round({})
    assert site.firing().keys() == {"Low"}


def above(threshold: int) -> Group:
    """Return a group as a threshold rule gives it."""
    rule = AlertingRule(
        "Deep", f"depth > {threshold}", annotations={"message": f"above {threshold}"}, threshold=threshold
    )
    return Group("g", "m.yaml", 60_000, (rule,))


@BOTH_WAYS
@pytest.mark.parametrize(("threshold", "told_of"), [(7, 7), (20, 5)], ids=["still holds", "ends"])
def test_message_and_threshold_are_told_of_one_rule(
    simulation: Any, restart: bool, threshold: int, told_of: int
) -> None:
    site = simulation(above(5))
    (told,) = site.round({"depth": 9})
    assert (told.annotations["message"], told.threshold) == ("above 5", 5)
    site.change(above(threshold), restart=restart)
    (told,) = site.round({"depth": 9})
    assert told.resolved == (threshold == 20)
    assert (told.annotations["message"], told.threshold) == (f"above {told_of}", told_of)


@BOTH_WAYS
def test_annotations_that_are_edited_are_told_although_the_value_is_the_same(
    simulation: Any, restart: bool
) -> None:
    rules = "groups: [{{name: g, rules: [{{alert: A, expr: x > 1, annotations: {{summary: {}}}}}]}}]"
    site = simulation.of(rules.format("old"))
    site.round({"x": 2})
    site.change(rules.format("new"), restart=restart)
    (told,) = site.round({"x": 2})
    assert told.annotations == {"summary": "new"}
