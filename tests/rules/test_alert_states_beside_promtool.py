"""Alerts over simulated hours: we say which are active at each minute, and promtool must find the same.

The series are random walks about the thresholds, with gaps and ends. What we find is written into a file of
tests, which promtool runs with its own rule engine.
"""

from __future__ import annotations

import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from metricsmith.promql import EngineConfig
from metricsmith.rules.model import NoData
from metricsmith.rules.unit_tests.files import read_test_file
from metricsmith.rules.unit_tests.run import run_tests
from metricsmith.runtime.rule_bench import RuleBench
from metricsmith.runtime.rule_engine import RuleEngine

RULES = """\
groups:
- name: alerts
  rules:
  - {alert: AtOnce, expr: x > 0}
  - {alert: For, expr: x > 0, for: 2m}
  - {alert: ForLong, expr: x > -1, for: 7m}
  - {alert: Kept, expr: x > 1, keep_firing_for: 3m}
  - {alert: Both, expr: x > 0, for: 1m30s, keep_firing_for: 4m, labels: {level: page}}
  - {alert: Turns, expr: x > 0, for: 1m, labels: {level: '{{ if gt $value 1.0 }}high{{ else }}low{{ end }}'}}
  - {alert: Grouped, expr: count by (job) (x > 0) > 2, for: 3m, keep_firing_for: 2m}
  - {alert: Absent, expr: 'absent(x{i="0"})', for: 1m}
  - {record: 'x:sum', expr: 'sum by (job) (sum_over_time(x[5m]))'}
  - {alert: Sum, expr: 'x:sum > 0', for: 5m}
- name: follows
  rules:
  - {alert: Follows, expr: 'count by (job) (ALERTS{alertstate="firing", alertname!="Follows"}) > 20', for: 2m}
"""
ASKED = ("ALERTS", "ALERTS_FOR_STATE", "x:sum")


@pytest.mark.parametrize(
    ("seed", "minutes", "series"),
    [
        (1, 90, 12),
        *(
            pytest.param(seed, 300, 40, marks=[pytest.mark.soak, pytest.mark.timeout(600)])
            for seed in range(2, 10)
        ),
    ],
)
def test_promtool_finds_the_same_alerts(
    seed: int, minutes: int, series: int, tmp_path: Path, promtool: Path
) -> None:
    chance = random.Random(seed)
    (tmp_path / "rules.yml").write_text(RULES)
    inputs = [
        {"series": f'x{{i="{i}", job="{"abc"[i % 3]}"}}', "values": _values(chance, minutes)}
        for i in range(series)
    ]
    asked = [{"expr": expr, "eval_time": f"{minute}m"} for minute in range(minutes) for expr in ASKED]
    ours = tmp_path / "ours.yml"
    ours.write_text(_file({"interval": "1m", "input_series": inputs, "promql_expr_test": asked}))
    expected = [
        {**case, "exp_samples": found} for case, found in zip(asked, _answers(ours, len(asked)), strict=True)
    ]
    assert sum(len(case["exp_samples"]) for case in expected) > minutes * series
    theirs = tmp_path / "theirs.yml"
    theirs.write_text(_file({"interval": "1m", "input_series": inputs, "promql_expr_test": expected}))
    said = subprocess.run(
        [promtool, "test", "rules", theirs], capture_output=True, text=True, check=False, timeout=500
    )
    assert said.returncode == 0, (said.stderr + said.stdout)[:4000]


def _answers(file: Path, count: int) -> list[list[dict[str, Any]]]:
    """Return what our rules give for each expression of a file that expects nothing."""
    read = read_test_file(str(file), RuleEngine())
    config = EngineConfig(closed_windows=True)
    ((_, failures),) = run_tests(read, lambda step_ms: RuleBench(step_ms, config), NoData.RESOLVE)
    by_line = {failure.line: failure for failure in failures}
    lines = [read.origins.line(("tests", 0, "promql_expr_test", index)) for index in range(count)]
    assert by_line.keys() <= set(lines), failures[:3]
    return [_samples(by_line[line].got) if line in by_line else [] for line in lines]


def _samples(got: tuple[str, ...]) -> list[dict[str, Any]]:
    pairs = [line.rsplit(" ", 1) for line in got]
    return [{"labels": labels, "value": float(value)} for labels, value in pairs]


def _file(test: dict[str, Any]) -> str:
    head = {"rule_files": ["rules.yml"], "group_eval_order": ["alerts", "follows"]}
    return yaml.dump({**head, "tests": [test]}, width=10**6)


def _values(chance: random.Random, minutes: int) -> str:
    """Return a walk about zero in the notation of tests; sums of such numbers are exact."""
    words, value = [], chance.uniform(-2, 2)
    while len(words) < minutes:
        value = value * 0.85 + chance.gauss(0, 0.9)
        kind = chance.random()
        if kind < 0.04:
            words += ["_"] * chance.randrange(1, 9)
        elif kind < 0.07:
            words += ["stale"] + ["_"] * chance.randrange(0, 4)
        elif kind < 0.15:
            words += [repr(round(value * 64) / 64)] * chance.randrange(2, 8)
        else:
            words.append(repr(round(value * 64) / 64))
    return " ".join(words[:minutes])
