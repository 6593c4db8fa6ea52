"""The log says which alerts begin and end, and stays readable when thousands do."""

from __future__ import annotations

import logging

import pytest

from metricsmith.rules.alert_log import MOST_LINES, PERIOD_S, AlertLog
from metricsmith.rules.model import AlertingRule, Notification
from metricsmith.testing.clock import FakeClock

RULE = AlertingRule("Deep", "depth > 3", annotations={"token": "hunter2"})


def told(number: int = 0, resolved: bool = False, news: bool = True, **labels: str) -> Notification:
    labels = {"alertname": "Deep", "queue": f"q{number}"} | labels
    return Notification(RULE, labels, RULE.annotations, 3.25, resolved, 1, 2, 3, news=news)


@pytest.fixture
def written(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


def test_beginnings_are_warnings_ends_are_not(written: pytest.LogCaptureFixture) -> None:
    alert_log = AlertLog(FakeClock())
    alert_log.note([told()])
    alert_log.note([told(news=False)])
    alert_log.note([told(resolved=True)])
    assert [(r.levelname, r.getMessage()) for r in written.records] == [
        ("WARNING", 'alert Deep is firing: value 3.25, {queue="q0"}'),
        ("INFO", 'alert Deep is resolved: {queue="q0"}'),
    ]


def test_of_thousands_a_few_are_named_and_the_rest_is_counted(written: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    alert_log = AlertLog(clock)
    alert_log.note([told(n) for n in range(1000)])
    alert_log.note([told(n, resolved=True) for n in range(1000)])
    assert len(written.records) == MOST_LINES
    clock.advance(PERIOD_S)
    alert_log.note([])
    alert_log.note([])
    assert [r.getMessage() for r in written.records[MOST_LINES:]] == [
        f"alert Deep: {2000 - MOST_LINES} more began or ended"
    ]
    alert_log.note([told()])
    assert written.messages[-1].startswith("alert Deep is firing")


def test_long_labels_are_cut(written: pytest.LogCaptureFixture) -> None:
    AlertLog(FakeClock()).note([told(text="x" * 10_000)])
    assert len(written.messages[0]) < 600
