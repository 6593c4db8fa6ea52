"""Alerts go from pending to firing to their end as in Prometheus; without data as the rule says."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from metricsmith.errors import ExecutionError
from metricsmith.model.labels import encode_labels
from metricsmith.rules.alerting import Alerting
from metricsmith.rules.model import AlertingRule, AlertState, Answer, Group, NoData, Notification
from metricsmith.rules.templates import Expander

STEP_MS = 60_000
BEGIN_MS = 1_700_000_000_000
A, B = encode_labels({"__name__": "up", "job": "a"}), encode_labels({"__name__": "up", "job": "b"})


class Watched:
    """A rule that is given what its expression returns, minute by minute."""

    def __init__(self, no_data: NoData = NoData.KEEP, limit: int = 0, **fields: Any) -> None:
        rule = AlertingRule("Deep", "up > 0", **fields)
        self.work = Alerting(Group("g", "f", STEP_MS, (rule,), limit=limit), rule, no_data, Expander())
        self.now_ms = BEGIN_MS
        self.told: list[Notification] = []

    def minute(self, holds: dict[bytes, float], data: set[bytes] | None = None) -> None:
        """Evaluate; `data` are the series with data, by default those that hold, and A."""
        answer = Answer(list(holds), np.array(list(holds.values()), dtype=np.float64))
        with_data = None
        if self.work.asks_for_data(answer):
            with_data = self.work.sources(Answer(list({*holds, A} if data is None else data), np.empty(0)))
        try:
            self.work.evaluate(answer, with_data, self.now_ms)
            self.told += self.work.due(self.now_ms, STEP_MS, STEP_MS)
        finally:
            self.now_ms += STEP_MS

    def minutes(self, pattern: str) -> str:
        """Evaluate once per character: 1 holds, 0 has data and does not, - has no data; return the states."""
        shown = ""
        for character in pattern:
            self.minute({A: 1.0} if character == "1" else {}, {A} if character in "01" else set())
            shown += self.shown()
        return shown

    def shown(self) -> str:
        """p pending, F firing, K firing on after its end, i inactive and remembered, . nothing."""
        (alert,) = self.work.alerts.values() or (None,)
        if alert is None:
            return "."
        if alert.state is AlertState.FIRING:
            return "K" if alert.keep_firing_since_ms else "F"
        return "p" if alert.state is AlertState.PENDING else "i"


@pytest.mark.parametrize(
    ("fields", "pattern", "states"),
    [
        ({}, "01100", ".FFii"),
        ({"for_ms": 2 * STEP_MS}, "1111", "ppFF"),
        ({"for_ms": 2 * STEP_MS}, "110111", "pp.ppF"),
        ({"for_ms": 2 * STEP_MS + 1}, "1111", "pppF"),
        ({"keep_firing_for_ms": 2 * STEP_MS}, "100001", "FKKiiF"),
        ({"keep_firing_for_ms": 2 * STEP_MS}, "101000", "FKFKKi"),
        ({"keep_firing_for_ms": 1}, "100", "FKi"),
        ({"for_ms": STEP_MS, "keep_firing_for_ms": STEP_MS}, "1010011", "p.p.." + "pF"),
        ({"for_ms": STEP_MS, "keep_firing_for_ms": STEP_MS}, "110010", "pFKiip"[:3] + "ip."),
        ({}, "1" + "0" * 17, "F" + "i" * 16 + "."),
        ({}, "1001", "FiiF"),
    ],
)
def test_states(fields: dict[str, Any], pattern: str, states: str) -> None:
    assert Watched(**fields).minutes(pattern) == states


@pytest.mark.parametrize(
    ("no_data", "fields", "pattern", "states"),
    [
        (NoData.KEEP, {}, "1---0", "FFFFi"),
        (NoData.KEEP, {"for_ms": STEP_MS}, "1---11", "ppppFF"),
        (NoData.KEEP, {"for_ms": STEP_MS}, "1--0", "ppp."),
        (NoData.KEEP, {}, "0---", "...."),
        (NoData.KEEP, {"keep_firing_for_ms": 2 * STEP_MS}, "10---", "FKKii"),
        (NoData.RESOLVE, {}, "1-1", "FiF"),
        (NoData.RESOLVE, {"for_ms": STEP_MS}, "1-11", "p.pF"),
        (NoData.FIRE, {}, "--0--0", "...FFi"),
        (NoData.FIRE, {"for_ms": STEP_MS}, "0--0", ".pFi"),
        (NoData.FIRE, {"for_ms": STEP_MS}, "1-", "pF"),
        (NoData.FIRE, {}, "1-0", "FFi"),
    ],
)
def test_states_without_data(no_data: NoData, fields: dict[str, Any], pattern: str, states: str) -> None:
    assert Watched(no_data, **fields).minutes(pattern) == states


def test_what_is_gone_for_a_day_is_no_longer_kept() -> None:
    rule = Watched()
    assert rule.minutes("1" + "-" * (24 * 60 + 1)).endswith("FFF")
    assert rule.minutes("-") == "i"
    fire = Watched(NoData.FIRE)
    assert fire.minutes("0" + "-" * 24 * 60).endswith("FF")
    assert fire.minutes("-") == "i"


def test_an_alert_without_data_is_marked_and_keeps_its_value() -> None:
    rule = Watched()
    rule.minute({A: 7.0})
    (alert,) = rule.work.alerts.values()
    assert not alert.no_data
    rule.minutes("--")
    assert (alert.no_data, alert.value, alert.no_data_since_ms) == (True, 7.0, BEGIN_MS + STEP_MS)
    rule.minutes("1")
    assert not alert.no_data


def test_firing_is_told_again_and_again_and_its_end_for_a_while() -> None:
    rule = Watched(for_ms=STEP_MS)
    rule.minutes("11110")
    told = [(n.resolved, (n.sent_at_ms - BEGIN_MS) // STEP_MS) for n in rule.told]
    assert told == [(False, 1), (False, 2), (False, 3), (True, 4)]
    first, end = rule.told[0], rule.told[-1]
    assert (first.starts_at_ms, first.ends_at_ms) == (BEGIN_MS + STEP_MS, BEGIN_MS + 5 * STEP_MS)
    assert (end.starts_at_ms, end.ends_at_ms) == (BEGIN_MS + STEP_MS, BEGIN_MS + 4 * STEP_MS)
    rule.minutes("0" * 30)
    assert len(rule.told) == 4 + 15 and all(n.resolved for n in rule.told[4:])


def test_a_new_alert_after_the_end_is_told_at_once() -> None:
    rule = Watched()
    rule.minutes("101")
    assert [n.resolved for n in rule.told] == [False, True, False]
    assert rule.told[2].starts_at_ms == BEGIN_MS + 2 * STEP_MS


def test_resending_waits_for_the_delay() -> None:
    rule = Watched()
    for _ in range(7):
        rule.work.evaluate(Answer([A], np.ones(1)), None, rule.now_ms)
        rule.told += rule.work.due(rule.now_ms, 3 * STEP_MS, STEP_MS)
        rule.now_ms += STEP_MS
    assert [(n.sent_at_ms - BEGIN_MS) // STEP_MS for n in rule.told] == [0, 3, 6]
    assert rule.told[0].ends_at_ms == BEGIN_MS + 12 * STEP_MS


def test_labels_and_texts() -> None:
    rule = Watched(
        labels={"severity": "{{ if gt $value 5.0 }}page{{ else }}mail{{ end }}", "job": ""},
        annotations={"text": "{{ $labels.__name__ }} of {{ $labels.job }}: {{ $value }}"},
    )
    rule.minute({A: 9.0})
    (alert,) = rule.work.alerts.values()
    assert alert.labels == {"alertname": "Deep", "severity": "page"}
    assert alert.annotations == {"text": "up of a: 9"}
    rule.minute({A: 8.0})
    assert rule.work.alerts[encode_labels(alert.labels)].annotations == {"text": "up of a: 8"}
    rule.minute({A: 2.0})  # another label, so another alert
    states = {a.labels["severity"]: a.state.value for a in rule.work.alerts.values()}
    assert states == {"page": "inactive", "mail": "firing"}


def test_texts_that_look_around_are_made_anew_each_time() -> None:
    rule = Watched(annotations={"at": "{{ now }}"})
    rule.minute({A: 1.0})
    (alert,) = rule.work.alerts.values()
    before = alert.annotations["at"]
    rule.minute({A: 1.0})
    assert alert.annotations["at"] != before


def test_two_alerts_with_the_same_labels_fail_the_rule_and_change_nothing() -> None:
    rule = Watched(labels={"job": "all"})
    rule.minute({A: 1.0})
    with pytest.raises(ExecutionError, match=r'same labelset.*job="all"'):
        rule.minute({A: 2.0, B: 3.0})
    (alert,) = rule.work.alerts.values()
    assert (alert.state, alert.value) == (AlertState.FIRING, 1.0)
    unnamed = Watched()
    with pytest.raises(ExecutionError, match="same labelset"):
        unnamed.minute({A: 1.0, encode_labels({"__name__": "down", "job": "a"}): 1.0})


def test_more_alerts_than_the_limit_leave_none() -> None:
    rule = Watched(limit=1, for_ms=STEP_MS)
    rule.minute({A: 1.0})
    rule.work.take_changed()
    with pytest.raises(ExecutionError, match="exceeded limit of 1 with 2 alerts"):
        rule.minute({A: 1.0, B: 1.0})
    assert rule.work.alerts == {} and len(rule.work.take_changed()) == 2
    rule.minute({A: 1.0})
    assert rule.shown() == "p"


def test_series_of_active_alerts() -> None:
    rule = Watched(for_ms=STEP_MS)
    rule.minute({A: 1.0})
    rule.minute({A: 1.0, B: 1.0})
    keys, values = rule.work.series()
    own = {"alertname": "Deep"}
    assert dict(zip(keys, values.tolist(), strict=True)) == {
        encode_labels({"__name__": "ALERTS", "job": "a", "alertstate": "firing", **own}): 1.0,
        encode_labels({"__name__": "ALERTS", "job": "b", "alertstate": "pending", **own}): 1.0,
        encode_labels({"__name__": "ALERTS_FOR_STATE", "job": "a", **own}): BEGIN_MS // 1000,
        encode_labels({"__name__": "ALERTS_FOR_STATE", "job": "b", **own}): (BEGIN_MS + STEP_MS) // 1000,
    }
    rule.minute({}, {A, B})
    assert rule.work.series()[0] == []


def test_values_that_are_no_numbers_hold() -> None:
    rule = Watched()
    rule.minute({A: math.nan})
    assert rule.shown() == "F"
