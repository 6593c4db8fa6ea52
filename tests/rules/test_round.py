"""One round: rules in order over one time, each seeing what those before it recorded."""

from __future__ import annotations

from typing import Any

import pytest

from metricsmith.model.labels import decode_labels, format_labels
from metricsmith.model.series import SeriesTable
from metricsmith.promql.memory import MemorySeries
from metricsmith.rules.model import AlertingRule, Group, RecordingRule, Rule
from metricsmith.rules.round import Round, RunningGroup
from metricsmith.rules.templates import Expander
from metricsmith.runtime.rule_engine import RuleEngine
from metricsmith.testing.clock import FakeClock

NOW_MS = 600_000
STORE = MemorySeries(
    [
        ({"__name__": "depth", "job": job, "zone": zone}, [NOW_MS - 60_000, NOW_MS], [value, value + 10])
        for job, zone, value in [("a", "x", 1.0), ("a", "y", 2.0), ("b", "x", 3.0)]
    ]
)


def running(*rules: Rule, **fields: Any) -> tuple[RunningGroup, SeriesTable]:
    series = SeriesTable()
    group = Group("g", "f.yml", 60_000, rules, **fields)
    return RunningGroup(group, RuleEngine(STORE), STORE, series, FakeClock(NOW_MS), Expander()), series


def recorded(*rules: Rule, **fields: Any) -> dict[str, float]:
    group, series = running(*rules, **fields)
    done = group.evaluate(NOW_MS)
    assert not done.failures
    return shown(done, series)


def shown(done: Round, series: SeriesTable) -> dict[str, float]:
    if done.batch is None:
        return {}
    keys = [series.key(int(number)) for number in done.batch.layout.ids]
    return {format_labels(decode_labels(k)): v for k, v in zip(keys, done.batch.value.tolist(), strict=True)}


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        (RecordingRule("x", "sum by (job) (depth)"), {'x{job="a"}': 23.0, 'x{job="b"}': 13.0}),
        (RecordingRule("x", "7"), {"x": 7.0}),
        (RecordingRule("x", "depth{job='b'}"), {'x{job="b", zone="x"}': 13.0}),
        (RecordingRule("x", "depth{job='b'}", {"zone": "", "team": "t"}), {'x{job="b", team="t"}': 13.0}),
        (RecordingRule("x", "nothing"), {}),
    ],
)
def test_what_a_rule_records(rule: RecordingRule, wanted: dict[str, float]) -> None:
    assert recorded(rule) == wanted


def test_labels_of_the_group_are_added_and_those_of_the_rule_win() -> None:
    rules = [RecordingRule("x", "1", {"team": "mine"}), RecordingRule("y", "1")]
    assert recorded(*rules, labels={"team": "all", "dc": "a"}) == {
        'x{dc="a", team="mine"}': 1.0,
        'y{dc="a", team="all"}': 1.0,
    }


def test_each_rule_sees_what_those_before_it_recorded() -> None:
    found = recorded(
        RecordingRule("late", "a + 1"),
        RecordingRule("a", "sum(depth)"),
        RecordingRule("b", "a * 2"),
        RecordingRule("b", "a * 3", {"n": "3"}),
        AlertingRule("High", "b > 100"),
        RecordingRule("alerts", 'count(ALERTS{alertstate="firing"})'),
        RecordingRule("all", 'count({__name__=~"a|b"})'),
    )
    assert {k: v for k, v in found.items() if not k.startswith("ALERTS")} == {
        "a": 36.0,
        "b": 72.0,
        'b{n="3"}': 108.0,
        "alerts": 1.0,
        "all": 3.0,
    }


def test_a_group_may_ask_about_the_past() -> None:
    group, series = running(RecordingRule("x", "sum(depth)"), query_offset_ms=30_000)
    done = group.evaluate(NOW_MS)
    assert done.batch is not None and done.batch.time_ms == NOW_MS - 30_000
    assert shown(done, series) == {"x": 6.0}


@pytest.mark.parametrize(
    ("rule", "fields", "message"),
    [
        (RecordingRule("x", "depth"), {"limit": 2}, "exceeded limit of 2 with 3 series"),
        (RecordingRule("x", "depth", {"zone": ""}), {}, 'x{job="a"} twice'),
        (RecordingRule("x", "depth / on (job) depth"), {}, "many"),
        (AlertingRule("X", "depth"), {"limit": 2}, "exceeded limit of 2 with 3 alerts"),
        (AlertingRule("X", "depth", labels={"zone": ""}), {}, 'alertname="X"'),
    ],
)
def test_a_rule_that_fails_records_nothing_and_says_why(
    rule: Rule, fields: dict[str, Any], message: str
) -> None:
    group, series = running(rule, RecordingRule("y", "1"), **fields)
    done = group.evaluate(NOW_MS)
    ((failed, error),) = done.failures
    assert message in str(error)
    assert failed.work.rule is rule and failed.status.health == "err"
    assert shown(done, series) == {"y": 1.0}


def test_steady_rounds_keep_their_layout() -> None:
    group, _ = running(RecordingRule("x", "depth"))
    first, second = group.evaluate(NOW_MS).batch, group.evaluate(NOW_MS + 1000).batch
    assert first is not None and second is not None and first.layout is second.layout


def test_samples_and_series_of_each_rule_are_known() -> None:
    group, _ = running(RecordingRule("x", "sum by (job) (sum_over_time(depth[5m]))"))
    group.evaluate(NOW_MS)
    status = group.rules[0].status
    assert (status.samples, status.series, status.last_evaluation_ms) == (6, 2, NOW_MS)
