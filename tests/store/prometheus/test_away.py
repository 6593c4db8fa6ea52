"""While the server is away rules fail with the reason, and their alerts stay as they are."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from metricsmith.errors import StoreUnavailable
from metricsmith.model.series import SeriesTable
from metricsmith.rules.alerting import Alerting
from metricsmith.rules.files import read_rule_text
from metricsmith.rules.model import NoData
from metricsmith.rules.round import RunningGroup
from metricsmith.rules.templates import Expander
from metricsmith.runtime.rule_engine import RuleEngine
from metricsmith.testing.clock import FakeClock

Make = Callable[..., Any]
NOW = 1_700_000_000_000
RULES = """
groups:
  - name: away
    interval: 10s
    rules:
      - {record: away_sum, expr: sum(x)}
      - {alert: Away, expr: x > 4, for: 10s}
      - {alert: AwayToo, expr: away_sum > 4, for: 10s}
"""
EMPTY = b'{"status":"success","data":{"resultType":"matrix","result":[]}}'


def states(group: RunningGroup) -> dict[str, str]:
    works = [rule.work for rule in group.rules if isinstance(rule.work, Alerting)]
    return {work.rule.name: alert.state.value for work in works for alert in work.alerts.values()}


def hang_up(handler: BaseHTTPRequestHandler, _closing: threading.Event) -> None:
    handler.close_connection = True


@pytest.mark.parametrize("no_data", list(NoData))
@pytest.mark.parametrize("how", ["hangs up", "fails", "login page"])
def test_alerts_stay_as_they_are(store_at: Make, scripted: Any, no_data: NoData, how: str) -> None:
    store, table = store_at(scripted.url), SeriesTable()
    engine = RuleEngine(store, clock=FakeClock())
    rules = read_rule_text(RULES, "r.yml", engine, 60_000).groups[0]
    group = RunningGroup(rules, engine, store, table, FakeClock(), Expander(), no_data)
    scripted.says({"resultType": "vector", "result": [{"metric": {"job": "a"}, "value": [NOW / 1000, "5"]}]})
    scripted.ranges = EMPTY
    for n in range(2):
        done = group.evaluate(NOW + n * 10_000)
        assert not done.failures
    assert states(group) == {"Away": "firing", "AwayToo": "firing"}
    assert [told.resolved for told in done.notifications] == [False, False]
    scripted.ranges = b""
    if how == "hangs up":
        scripted.target.behave = hang_up
    else:
        scripted.status, scripted.body = (503, b"gone") if how == "fails" else (200, b"<html>")
    for n in range(2, 5):
        done = group.evaluate(NOW + n * 10_000)
        assert [type(error) for _, error in done.failures] == [StoreUnavailable] * 3
        assert done.batch is None and not done.notifications
        assert states(group) == {"Away": "firing", "AwayToo": "firing"}
    for rule in group.rules:
        assert rule.status.health == "err"
        assert scripted.url in rule.status.last_error
