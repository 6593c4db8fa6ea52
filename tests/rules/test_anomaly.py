"""Anomalies: with enough history there is a band; what lies outside of it fires, and nothing else."""

from __future__ import annotations

import math
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.promql import EngineConfig
from metricsmith.rules.files import read_rule_text
from metricsmith.rules.model import AlertingRule, NoData
from metricsmith.rules.printer import format_groups
from metricsmith.runtime.rule_engine import RuleEngine

METHODS = ["mad", "zscore", "ewma"]
ALL = [*METHODS, "seasonal"]


def anomaly(interval: str = "10m", **fields: Any) -> str:
    rule = {"anomaly": "a", "expr": "x", "window": "5h", "min_history": "2h", "for": "0s", **fields}
    return yaml.safe_dump({"groups": [{"name": "g", "interval": interval, "rules": [rule]}]})


def problems(**fields: Any) -> list[str]:
    found = read_rule_text(anomaly(**fields), "r.yml", RuleEngine(), 60_000)
    return [f"{problem.path}: {problem.message}" for problem in found.problems]


@pytest.mark.parametrize("method", METHODS)
def test_no_band_before_there_is_history_then_one_around_the_values(
    simulation: Any, noise: np.random.Generator, method: str
) -> None:
    site = simulation.of(anomaly(method=method))
    bands = []
    for value in noise.normal(100, 5, 40):
        site.round({"x": value})
        bands.append((site.value("a:anomaly_lower"), site.value("a:anomaly_upper")))
    start = next(i for i, (lower, _) in enumerate(bands) if not math.isnan(lower))
    assert 12 <= start <= 14  # two hours of values before it; the first deviation is that of the second value
    for lower, upper in bands[start + 4 :]:
        assert 60 < lower < 92 and 108 < upper < 140
    assert site.firing() == {}
    site.round({"x": 150})
    assert site.firing() == {"a": 150}
    assert site.value("a:anomaly_score") > 4
    site.round({"x": 100})
    assert site.firing() == {}
    site.round({"x": 50})
    assert site.firing() == {"a": 50} and site.value("a:anomaly_score") < -4


def test_what_lasts_one_round_is_told_only_when_asked_for(
    simulation: Any, noise: np.random.Generator
) -> None:
    for fields, at_once in (({"for": None}, {}), ({"for": "0s"}, {"a": 150})):
        site = simulation.of(anomaly(**fields))
        for value in noise.normal(100, 5, 30):
            site.round({"x": value})
        site.round({"x": 150})
        assert site.firing() == at_once
        site.round({"x": 150})
        assert site.firing() == {"a": 150}
        site.round({"x": 100})
        assert site.firing() == {}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("level", [0, 1e-3, 5e9, -20])
def test_constant_series_have_a_band_of_one_percent(simulation: Any, method: str, level: float) -> None:
    site = simulation.of(anomaly(method=method))
    for _ in range(20):
        site.round({"x": level})
    assert site.value("a:anomaly_score") == pytest.approx(0, abs=1e-9)
    site.round({"x": level * 1.009})
    assert site.firing() == {}
    value = level * 1.012 or 1e-3
    site.round({"x": value})
    assert site.firing() == {"a": value}
    assert math.isfinite(site.value("a:anomaly_score"))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("value", "fires"), [(2.9, False), (3.1, True)])
def test_changes_below_the_least_deviation_are_usual(
    simulation: Any, method: str, value: float, fires: bool
) -> None:
    site = simulation.of(anomaly(method=method, min_deviation=3))
    for each in [0] * 20 + [value]:
        assert site.firing() == {}
        site.round({"x": each})
    assert bool(site.firing()) == fires


def test_a_series_that_is_nearly_always_zero_still_has_a_spread(
    simulation: Any, noise: np.random.Generator
) -> None:
    site = simulation.of(anomaly(window="1d"))
    for value in np.where(noise.random(150) < 0.2, noise.random(150), 0):
        site.round({"x": value})
    assert site.value("a:anomaly_spread") > 0.05  # where half of the deviations are 0, their mean counts


@pytest.mark.parametrize("method", METHODS)
def test_what_is_no_number_or_missing_spoils_nothing(
    simulation: Any, noise: np.random.Generator, method: str
) -> None:
    site = simulation.of(anomaly(method=method))
    for step, value in enumerate(noise.normal(100, 5, 60)):
        odd = {31: math.nan, 32: math.inf, 33: -math.inf}.get(step, value)
        site.round({} if 36 <= step < 44 else {"x": odd})
        assert site.firing() == {}
    assert 60 < site.value("a:anomaly_lower") < 92
    assert site.value("count_over_time(a:anomaly_value[10h])") == 60 - 3 - 8


def test_each_series_has_its_own_band(simulation: Any) -> None:
    site = simulation.of(anomaly())
    for step in range(30):
        site.data.append(b"x\xffjob\xfeb", site.now_ms + 600_000, 1000 + step % 3)
        site.round({"x": step % 3}, job="a")
    centers = site.ask("a:anomaly_center")
    assert centers == {"a:anomaly_center,job=a": 1, "a:anomaly_center,job=b": 1001}


@pytest.mark.parametrize(("direction", "high", "low"), [("up", True, False), ("down", False, True)])
def test_only_the_asked_direction_fires(simulation: Any, direction: str, high: bool, low: bool) -> None:
    site = simulation.of(anomaly(direction=direction))
    for step in range(20):
        site.round({"x": 100 + step % 3})
    site.round({"x": 130})
    assert bool(site.firing()) == high
    site.round({"x": 70})
    assert bool(site.firing()) == low


@pytest.mark.parametrize("season", ["day", "week"])
def test_a_value_is_held_against_the_same_hour(
    simulation: Any, noise: np.random.Generator, season: str
) -> None:
    site = simulation.of(anomaly("1h", method="seasonal", season=season, window="1d", min_history=None))
    hours = 24 * (4 if season == "day" else 16)

    def usual(hour: int) -> float:
        weekend = season == "week" and hour // 24 % 7 >= 5
        return 100 + (5 if weekend else 50) * math.sin(hour / 24 * 2 * math.pi) + noise.normal(0, 2)

    first = None
    for hour in range(hours):
        site.round({"x": usual(hour)})
        if first is None and site.ask("a:anomaly_score"):
            first = hour
    assert first is not None and first >= 24 * (3 if season == "day" else 14)
    for hour in range(hours, hours + 18):
        site.round({"x": usual(hour)})
        assert site.firing() == {}
    assert site.value("a:anomaly_center") < 70  # 17 h: the trough
    site.round({"x": 100})  # usual for a day, not for this hour
    assert site.firing() == {"a": 100}


def test_the_average_forgets_a_level_and_outlasts_a_gap(simulation: Any) -> None:
    site = simulation.of(anomaly(method="ewma", window="2h", min_history="1h"))
    for step in range(20):
        site.round({"x": 100 + step % 3})
    before = site.value("a:anomaly_ewma")
    for _ in range(6):
        site.round({})
    site.round({"x": 101})
    assert site.value("a:anomaly_center") == pytest.approx(before)
    site.round({"x": 200})
    assert site.firing() == {"a": 200}
    for _ in range(40):
        site.round({"x": 200})
    assert site.firing() == {} and site.value("a:anomaly_ewma") == pytest.approx(200, rel=0.02)


def test_labels_of_the_group_and_expressions_with_labels_go_together(simulation: Any) -> None:
    text = anomaly(expr="sum by (job) (x)", labels={"severity": "page"}, annotations={"runbook": "r"})
    site = simulation.of(text.replace("interval:", "labels: {team: t}\n  interval:"))
    told = [told for step in range(30) for told in site.round({"x": step % 3 if step < 29 else 50}, job="j")]
    assert [dict(one.labels) for one in told] == [
        {"alertname": "a", "job": "j", "team": "t", "severity": "page"}
    ]
    assert told[0].annotations == {"summary": "a is not as usual: 50", "runbook": "r"}


def test_fields_of_alerts_are_passed_on() -> None:
    fields = {"for": "30m", "keep_firing_for": "1h", "no_data": "fire"}
    (group,) = read_rule_text(anomaly(**fields), "r.yml", RuleEngine(), 60_000).groups
    alert = group.rules[-1]
    assert isinstance(alert, AlertingRule)
    assert (alert.for_ms, alert.keep_firing_for_ms, alert.no_data) == (1_800_000, 3_600_000, NoData.FIRE)
    assert RuleEngine().with_data(alert.expr) is not None


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"method": "magic"}, 'method: got "magic", wanted one of mad, zscore, ewma, seasonal'),
        ({"sensitivity": 0}, 'sensitivity: got "0", wanted greater than 0'),
        ({"sensitivity": -1}, 'sensitivity: got "-1", wanted greater than 0'),
        ({"anomaly": "too slow"}, 'anomaly: got "too slow", wanted letters, digits'),
        ({"anomaly": "too-slow"}, 'anomaly: got "too-slow", wanted letters, digits'),
        ({"expr": "sum(x"}, "expr: 1:6: parse error"),
        ({"expr": "x[5m]"}, "expr: got an expression that gives a range vector"),
        ({"expr": "5"}, "expr: 1:5: parse error: expected type instant vector"),
        ({"window": "30m"}, "anomaly: got a window of 30m, wanted at least 1h40m: 10 values"),
        ({"min_history": "6h"}, "anomaly: got a min_history of 6h, wanted at most the window, 5h"),
        ({"season": "day"}, 'anomaly: got a season, wanted none: method is "mad"'),
        ({"method": "seasonal", "min_history": "8d"}, "anomaly: got a min_history of 8 days, wanted at most"),
        ({"method": "seasonal", "season": "year"}, 'season: got "year", wanted one of day, week'),
        ({"min_deviation": -1}, 'min_deviation: got "-1", wanted at least 0'),
        ({"annotations": {"a": "{{ $x }}"}}, "annotations.a: "),
        ({"metric": "x"}, "metric: unknown key"),
    ],
)
def test_mistakes_are_told(fields: dict[str, Any], wanted: str) -> None:
    (found,) = problems(**fields)
    assert found.startswith(f"groups[0].rules[0].{wanted}")


@pytest.mark.parametrize("kind", ["anomaly: a, expr: x", "slo: a, objective: 99, errors: x, total: y"])
def test_names_are_not_given_twice_in_a_file(kind: str) -> None:
    groups = "".join(f"- name: g{i}\n  rules:\n  - {{{kind}}}\n" for i in (1, 2))
    found = read_rule_text(f"groups:\n{groups}", "r.yml", RuleEngine(), 60_000)
    key = kind.partition(":")[0]
    assert [str(problem) for problem in found.problems] == [
        f'r.yml:7: groups[1].rules[0].{key}: a second {key} is called "a", wanted distinct names'
        " (the first is on line 4)"
    ]
    assert [bool(group.rules) for group in found.groups] == [True, False]


@given(
    method=st.sampled_from(ALL),
    sensitivity=st.floats(1e-6, 1000),
    min_deviation=st.floats(0, 1e12),
    window_s=st.integers(600, 90 * 86_400),
    direction=st.sampled_from(["both", "up", "down"]),
    expr=st.sampled_from(["x", "a + b", "a or b", "-a", "sum by (i) (rate(c[5m])) / 5", "x{a='b'} # ends"]),
)
def test_whatever_the_fields_are_the_rules_are_good_ones(expr: str, window_s: int, **fields: Any) -> None:
    text = anomaly("1m", expr=expr, window=f"{window_s}s", min_history=None, **fields)
    found = read_rule_text(text, "r.yml", RuleEngine(), 60_000)
    assert found.problems == ()
    written = format_groups(found.groups)
    again = read_rule_text(written, "r.yml", RuleEngine(), 60_000)
    assert (again.problems, again.notes) == ((), ()) and len(again.groups[0].rules) > 5


@pytest.mark.parametrize("expr", ["requests_total", 'requests_count{job="a"}', "rate(requests_total[5m])"])
def test_bare_counters_are_remarked_upon(expr: str) -> None:
    notes = read_rule_text(anomaly(expr=expr), "r.yml", RuleEngine(), 60_000).notes
    assert ["looks like a counter" in str(note) for note in notes] == ([] if "rate" in expr else [True])


@pytest.mark.parametrize("method", ALL)
def test_promtool_takes_the_rules_and_finds_the_same_band(
    simulation: Any, noise: np.random.Generator, promtool: Path, tmp_path: Path, method: str
) -> None:
    """What `rules expand` prints. Debian's Prometheus is an older one, whose windows include their start."""
    interval, rounds = ("1h", 100) if method == "seasonal" else ("10m", 60)
    text = anomaly(interval, method=method, window="1d" if method == "seasonal" else "5h", min_history=None)
    values = np.round(noise.normal(100, 5, rounds), 3)
    values[-1] = 160
    site = simulation.of(text, EngineConfig(closed_windows=True))
    site.now_ms = -site.group.interval_ms
    for value in values:
        site.round({"x": value})
    assert site.firing() == {"a": 160}
    (tmp_path / "r.yml").write_text(format_groups([site.group]))
    wanted = {what: site.value(f"a:anomaly_{what}") for what in ("lower", "upper", "center", "score")}
    ours = [
        {
            "expr": f"abs(a:anomaly_{what} - {value!r}) < bool 1e-6",
            "eval_time": f"{site.now_ms // 1000}s",
            "exp_samples": [{"labels": "{}", "value": 1}],
        }
        for what, value in wanted.items()
    ]
    alert = {"exp_annotations": {"summary": "a is not as usual: 160"}}
    case = {
        "interval": interval,
        "input_series": [{"series": "x", "values": " ".join(map(repr, values.tolist()))}],
        "promql_expr_test": ours,
        "alert_rule_test": [
            {"eval_time": f"{site.now_ms // 1000}s", "alertname": "a", "exp_alerts": [alert]}
        ],
    }
    tests = {"rule_files": ["r.yml"], "evaluation_interval": interval, "tests": [case]}
    (tmp_path / "t.yml").write_text(yaml.safe_dump(tests))
    for command in (["check", "rules", "r.yml"], ["test", "rules", "t.yml"]):
        ended = subprocess.run([promtool, *command], capture_output=True, text=True, cwd=tmp_path)
        assert ended.returncode == 0, ended.stdout + ended.stderr
