"""Objectives: the workbook's alerts fire when its table says so, and what is left of the budget is right."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from metricsmith.rules.files import RuleFile, read_rule_text
from metricsmith.rules.model import AlertingRule, NoData, RecordingRule
from metricsmith.rules.printer import format_groups
from metricsmith.runtime.rule_engine import RuleEngine

SHOP = {"slo": "shop", "objective": 99.9, "errors": 'requests_total{code="500"}', "total": "requests_total"}
WINDOWS = [
    "sum(rate(good_total[window])) # fast ones",
    "sum(rate(good_total[window])) + sum(rate(bad_total[window]))",
]


def written(interval: str = "10m", **fields: Any) -> str:
    rule = {key: value for key, value in {**SHOP, **fields}.items() if value is not None}
    return yaml.safe_dump({"groups": [{"name": "g", "interval": interval, "rules": [rule]}]})


def read(**fields: Any) -> RuleFile:
    return read_rule_text(written(**fields), "r.yml", RuleEngine(), 60_000)


class Traffic:
    """Requests that come evenly, of which a share fails; counters as services have them."""

    def __init__(self, simulation: Any, **fields: Any) -> None:
        self.site = simulation.of(written(**fields))
        self._counts = {"200": 0.0, "500": 0.0}

    def run(self, hours: float, failing: float, each_round: float = 6000) -> None:
        for _ in range(round(hours * 3_600_000 / self.site.group.interval_ms)):
            self._counts["500"] += each_round * failing
            self._counts["200"] += each_round * (1 - failing)
            # Every five minutes, so that the shortest window has two samples.
            for code, count in self._counts.items():
                key = f"requests_total\xffcode\xfe{code}".encode("latin-1")
                before = self.site.now_ms + self.site.group.interval_ms - 240_000
                self.site.data.append(key, before, count - self._step(code, each_round, failing) * 0.4)
                self.site.data.append(key, before + 240_000, count)
            self.site.round({})

    def _step(self, code: str, each_round: float, failing: float) -> float:
        return each_round * (failing if code == "500" else 1 - failing)

    def severities(self) -> set[str]:
        alerting = [rule for rule in self.site.running.rules if isinstance(rule.work.rule, AlertingRule)]
        return {
            alert.labels["severity"]
            for rule in alerting
            for alert in rule.work.alerts.values()
            if alert.state == "firing"
        }


@pytest.mark.parametrize(
    ("hours", "failing", "wanted"),
    [
        (80, 0.0009, set()),  # within the budget
        (80, 0.0011, {"ticket"}),  # one time the budget, over three days
        (1, 0.0035, set()),
        (30, 0.0035, {"ticket"}),
        (8, 0.007, {"page", "ticket"}),  # six times
        (1, 0.02, {"page"}),  # an outage: of a day's budget it is not yet much
    ],
)
def test_alerts_fire_as_the_workbook_has_it(
    simulation: Any, hours: float, failing: float, wanted: set[str]
) -> None:
    traffic = Traffic(simulation, interval="30m" if hours > 10 else "10m")
    traffic.run(24 if hours <= 30 else 1, 0)
    traffic.run(hours, failing)
    assert traffic.severities() == wanted


def test_an_alert_ends_soon_after_the_errors_end(simulation: Any) -> None:
    traffic = Traffic(simulation)
    traffic.run(24, 0)
    traffic.run(1, 0.5)
    assert "page" in traffic.severities()
    traffic.run(1, 0)
    assert "page" not in traffic.severities()


def test_the_budget_that_is_left_is_weighed_by_traffic(simulation: Any) -> None:
    traffic = Traffic(simulation, interval="30m")
    traffic.run(20, 0)
    assert traffic.site.value("slo:error_budget_remaining:ratio") == 1
    traffic.run(5, 0.02, each_round=60)  # a quiet night with many errors, hardly any requests
    traffic.run(5, 0.001)
    total, failed = 25 * 2 * 6000 + 5 * 2 * 60, 5 * 2 * 60 * 0.02 + 5 * 2 * 6000 * 0.001
    left = 1 - failed / total / 0.001
    assert traffic.site.value("slo:error_budget_remaining:ratio") == pytest.approx(left, rel=0.02)
    assert traffic.site.ask("slo:objective:ratio") == {"slo:objective:ratio,slo=shop": 0.999}
    traffic.run(5, 0.2)
    assert traffic.site.value("slo:error_budget_remaining:ratio") < 0  # used up, and more


def test_without_traffic_there_is_no_ratio_and_no_alert(simulation: Any) -> None:
    traffic = Traffic(simulation)
    traffic.run(2, 0.5, each_round=0)
    ratios = traffic.site.ask('{__name__=~"slo:sli_error:ratio.*"}')
    assert ratios == {} and traffic.severities() == set()
    traffic.run(2, 0.0)
    assert set(traffic.site.ask('{__name__=~"slo:sli_error:ratio.*"}').values()) == {0}


@pytest.mark.parametrize(
    ("fields", "values", "wanted"),
    [
        ({"errors": "bad_total", "total": "all_total"}, {"all_total": 100}, 0),  # no error has come to be yet
        ({"errors": "bad_total", "total": "all_total"}, {"all_total": 100, "bad_total": 25}, 0.25),
        ({"errors": None, "good": "good_total", "total": "all_total"}, {"all_total": 100}, 1),
        (
            {"errors": None, "good": "good_total", "total": "all_total"},
            {"all_total": 100, "good_total": 75},
            0.25,
        ),
        (
            {"errors": None, "good": "good_total", "total": "all_total"},
            {"all_total": 99, "good_total": 100},
            0,
        ),
        (
            {"errors": None, "good": WINDOWS[0], "total": WINDOWS[1]},
            {"good_total": 75, "bad_total": 25},
            0.25,
        ),
        (
            {"errors": "bad_total", "total": "all_total", "by": ["job"]},
            {"all_total": 100, "bad_total": 5},
            0.05,
        ),
    ],
)
def test_good_or_bad_events_as_counters_or_expressions(
    simulation: Any, fields: dict[str, Any], values: dict[str, float], wanted: float
) -> None:
    site = simulation.of(written("1m", **fields))
    for step in range(6):
        site.round({name: value * step for name, value in values.items()}, job="j")
    assert site.value("slo:sli_error:ratio_rate5m") == pytest.approx(wanted)
    assert site.value("slo:sli_error:ratio_rate30d") == pytest.approx(wanted)
    (labels,) = site.ask("slo:sli_error:ratio_rate1h")
    assert labels == "slo:sli_error:ratio_rate1h" + (",job=j" if "by" in fields else "") + ",slo=shop"


def test_what_is_written_out() -> None:
    (group,) = read(window="28d", labels={"team": "t"}, no_data="resolve").groups
    names = [rule.name for rule in group.rules if isinstance(rule, RecordingRule)]
    assert names[:7] == [f"slo:sli_error:ratio_rate{w}" for w in ("5m", "30m", "1h", "2h", "6h", "1d", "3d")]
    assert names[-1] == "slo:error_budget_remaining:ratio"
    page, ticket = (rule for rule in group.rules if isinstance(rule, AlertingRule))
    assert page.labels == {"team": "t", "slo": "shop", "severity": "page"}
    assert (ticket.labels["severity"], ticket.no_data) == ("ticket", NoData.RESOLVE)
    assert "(13.44 * 0.001)" in page.expr and "(5.6 * 0.001)" in page.expr
    assert all(RuleEngine().with_data(rule.expr) for rule in (page, ticket))


@pytest.mark.parametrize(
    ("window", "factors"), [("30d", "14.4 6 3 1"), ("28d", "13.44 5.6 2.8 1"), ("7d", "3.36 1.4 1 1")]
)
def test_factors_keep_the_shares_of_the_budget_and_are_never_below_one(window: str, factors: str) -> None:
    (group,) = read(window=window, objective="99.50").groups
    exprs = "".join(rule.expr for rule in group.rules if isinstance(rule, AlertingRule))
    assert re.findall(r"> \((.*) \* 0.005\)", exprs)[::2] == factors.split()


def test_burns_that_cannot_be_are_left_out_and_remarked_upon() -> None:
    found = read(objective=90)
    assert [note.message for note in found.notes] == [
        "shop: 14.4 times a budget of 10% is more than all events: 1h has no part in the page alert"
    ]
    page = next(rule for rule in found.groups[0].rules if rule.name == "ErrorBudgetBurn")
    assert "ratio_rate1h" not in page.expr and "ratio_rate6h" in page.expr


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"objective": 100}, "objective: got 100, wanted less: it leaves no error budget"),
        ({"objective": 101}, "objective: got 101, wanted a percentage above 1 and below 100"),
        ({"objective": 0.999}, "objective: got 0.999, wanted a percentage above 1 and below 100"),
        ({"objective": "nan"}, "objective: "),
        ({"objective": "high"}, "objective: "),
        ({"errors": "sum(rate(a[5m]))"}, 'errors: got "sum(rate(a[5m]))", wanted a counter such as'),
        ({"total": "a / b"}, 'total: got "a / b", wanted a counter such as'),
        ({"errors": None}, "slo: got neither errors nor good, wanted one of them"),
        ({"good": "a"}, "slo: got both errors and good, wanted one of them"),
        ({"labels": {"severity": "x"}}, "slo: got the label severity, wanted others"),
        ({"by": ["job"], "total": "sum(rate(a[window]))"}, "slo: got `by` and an expression with [window]"),
        ({"errors": "sum(rate(a[window])"}, "errors: "),
        ({"total": "foo(a[window])"}, "total: "),
        ({"good": None, "errors": "rate(a[window])[5m:]"}, "errors: "),
        ({"by": ["größe"]}, ""),
        ({"window": "1d"}, "window: "),
        ({"total": None}, "total: missing, wanted a value"),
    ],
)
def test_mistakes_are_told(fields: dict[str, Any], wanted: str) -> None:
    found = read(**fields)
    (first,) = found.problems
    assert first.line
    assert f"{first.path}: {first.message}".startswith(f"groups[0].rules[0].{wanted}".rstrip("."))
    assert found.groups[0].rules == ()


def test_names_with_quotes_are_taken(simulation: Any) -> None:
    site = simulation.of(written("1m", slo='the "shop"\\x'))
    for step in range(6):
        site.round({"requests_total": step * 100})
    assert site.value("slo:error_budget_remaining:ratio") == 1


def test_prometheus_takes_them_and_its_alert_fires(promtool: Path, tmp_path: Path) -> None:
    (group,) = read(interval="1m").groups
    (tmp_path / "r.yml").write_text(format_groups([group]))
    labels = {"slo": "shop", "severity": "page"}
    summary = "shop uses up its error budget: 10% of the events fail"
    case = {
        "interval": "1m",
        "input_series": [
            {"series": 'requests_total{code="200"}', "values": "0+90x90"},
            {"series": 'requests_total{code="500"}', "values": "0+10x90"},
        ],
        "alert_rule_test": [
            {
                "eval_time": "80m",
                "alertname": "ErrorBudgetBurn",
                "exp_alerts": [
                    {"exp_labels": {**labels, "severity": severity}, "exp_annotations": {"summary": summary}}
                    for severity in ("page", "ticket")
                ],
            }
        ],
    }
    tests = {"rule_files": ["r.yml"], "evaluation_interval": "1m", "tests": [case]}
    (tmp_path / "t.yml").write_text(yaml.safe_dump(tests))
    for command in (["check", "rules", "r.yml"], ["test", "rules", "t.yml"]):
        ended = subprocess.run([promtool, *command], capture_output=True, text=True, cwd=tmp_path)
        assert ended.returncode == 0, ended.stdout + ended.stderr
