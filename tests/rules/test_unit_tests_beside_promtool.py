# ruff: noqa: E501  a case is one line
"""Files of rule tests pass and fail as with `promtool test rules`, but for what is written down here."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from metricsmith.errors import ConfigError
from metricsmith.promql import EngineConfig
from metricsmith.rules.model import NoData
from metricsmith.rules.unit_tests.files import read_test_file
from metricsmith.rules.unit_tests.run import run_tests
from metricsmith.runtime.rule_bench import RuleBench
from metricsmith.runtime.rule_engine import RuleEngine

RULES = """\
groups:
- name: second
  rules:
  - {record: 'double:x', expr: 'sum_x * 2'}
- name: first
  rules:
  - {record: sum_x, expr: sum(x)}
  - {record: 'rate:c', expr: 'rate(c[5m])', labels: {kind: rate}}
  - {record: 'avg:x', expr: 'avg_over_time(x[5m:])'}
  - {record: 'self', expr: 'self + 1 or vector(0)'}
- name: alerts
  interval: 5m
  rules:
  - alert: High
    expr: x > 2
    for: 2m
    labels: {severity: '{{ if gt $value 10.0 }}page{{ else }}ticket{{ end }}'}
    annotations:
      text: '{{ $labels.i }} has {{ $value }} in {{ $externalLabels.dc }}, see {{ $externalURL }}'
      total: '{{ with query "sum_x" }}{{ . | first | value }}{{ end }}'
  - {alert: Kept, expr: x > 2, keep_firing_for: 3m}
  - {alert: Gone, expr: absent(x), for: 1m}
  - {alert: Twice, expr: x > 4, labels: {n: one}}
  - {alert: Twice, expr: x > 6, labels: {n: two}}
  - {alert: Fires, expr: 'ALERTS{alertname="High", alertstate="firing"}'}
"""
SERIES = """\
    input_series:
    - {series: 'x{i="a"}', values: '0 1 2 3 4 5 6 7 8 9'}
    - {series: 'x{i="b"}', values: '5x2 _x3 5 stale'}
    - {series: 'c{i="a"}', values: '0+0.1x6 0+60x10'}
"""
ALERTS = """\
{eval_time: 4m, alertname: High, exp_alerts: []}
{eval_time: 4m, alertname: High}
{eval_time: 5m, alertname: High}
{eval_time: 5m59s, alertname: High}
{eval_time: 6m, alertname: High, exp_alerts: [{exp_labels: {i: a, severity: ticket}}]}
{eval_time: 2m, alertname: High, exp_alerts: [{exp_labels: {i: b, severity: ticket}, exp_annotations: {text: "b has 5 in lab, see http://h/", total: "7"}}]}
{eval_time: 2m, alertname: High, exp_alerts: [{exp_labels: {i: b, severity: ticket}, exp_annotations: {text: "b has 5 in , see http://h/", total: "7"}}]}
{eval_time: 3m, alertname: Kept, exp_alerts: [{exp_labels: {i: a}}, {exp_labels: {i: b}}]}
{eval_time: 9m, alertname: Kept, exp_alerts: [{exp_labels: {i: a}}, {exp_labels: {i: b}}]}
{eval_time: 10m, alertname: Kept, exp_alerts: [{exp_labels: {i: a}}]}
{eval_time: 11m, alertname: Kept, exp_alerts: [{exp_labels: {i: a}}]}
{eval_time: 12m, alertname: Kept, exp_alerts: [{exp_labels: {i: a}}]}
{eval_time: 14m, alertname: Gone}
{eval_time: 15m, alertname: Gone}
{eval_time: 16m, alertname: Gone, exp_alerts: [{}]}
{eval_time: 8m, alertname: Twice, exp_alerts: [{exp_labels: {i: a, n: one}}, {exp_labels: {i: a, n: two}}]}
{eval_time: 8m, alertname: Twice, exp_alerts: [{exp_labels: {i: a, n: two}}, {exp_labels: {i: a, n: one}}]}
{eval_time: 8m, alertname: Twice, exp_alerts: [{exp_labels: {i: a, n: one}}]}
{eval_time: 8m, alertname: Nothing}
{eval_time: 8m, alertname: Nothing, exp_alerts: [{exp_labels: {i: a}}]}
{eval_time: 8m, alertname: Fires, exp_alerts: [{exp_labels: {i: a, severity: ticket, alertstate: firing}}]}
{eval_time: 8m}
{eval_time: 8m, alertname: ''}
{alertname: High}
{eval_time: 8, alertname: High}
{eval_time: 8m, alertname: High, unknown: x}
{eval_time: 8m, alertname: Twice, exp_alerts: [{exp_labels: {i: [a]}}]}
""".splitlines()
EXPRESSIONS = """\
{expr: sum_x, eval_time: 2m, exp_samples: [{labels: sum_x, value: 7}]}
{expr: sum_x, eval_time: 2m, exp_samples: [{labels: 'sum_x{}', value: 7.0}]}
{expr: sum_x, eval_time: 2m, exp_samples: [{labels: '{__name__="sum_x"}', value: 7e0}]}
{expr: sum_x, eval_time: 2m, exp_samples: [{labels: '{}', value: 7}]}
{expr: sum(sum_x), eval_time: 2m, exp_samples: [{labels: '{}', value: 7}]}
{expr: sum(sum_x), eval_time: 2m, exp_samples: [{value: 7}]}
{expr: sum(sum_x), eval_time: 2m, exp_samples: [{labels: '{', value: 7}]}
{expr: 'double:x', eval_time: 2m, exp_samples: [{labels: 'double:x', value: 14}]}
{expr: 'double:x', eval_time: 2m, exp_samples: [{labels: 'double:x', value: 12}]}
{expr: 'rate:c', eval_time: 4m, exp_samples: [{labels: 'rate:c{i="a", kind="rate"}', value: 0.0013333333333333335}]}
{expr: 'rate:c', eval_time: 4m, exp_samples: [{labels: 'rate:c{i="a", kind="rate"}', value: 0.0013333333333333337}]}
{expr: 'rate:c', eval_time: 9m, exp_samples: [{labels: 'rate:c{i="a", kind="rate"}', value: 0.40066666666666667}]}
{expr: c, eval_time: 3m, exp_samples: [{labels: 'c{i="a"}', value: 0.30000000000000004}]}
{expr: c, eval_time: 3m, exp_samples: [{labels: 'c{i="a"}', value: 0.3}]}
{expr: 'avg:x', eval_time: 5m, exp_samples: [{labels: 'avg:x{i="a"}', value: 2.5}, {labels: 'avg:x{i="b"}', value: 5}]}
{expr: 'avg:x', eval_time: 5m, exp_samples: [{labels: 'avg:x{i="b"}', value: 5}, {labels: 'avg:x{i="a"}', value: 2.5}]}
{expr: self, eval_time: 5m, exp_samples: [{labels: self, value: 5}]}
{expr: self, eval_time: 5m, exp_samples: [{labels: self, value: 4}]}
{expr: 'self', eval_time: 0s, exp_samples: [{labels: self, value: 0}]}
{expr: 'self', exp_samples: [{labels: self, value: 0}]}
{expr: x, eval_time: 3m, exp_samples: [{labels: 'x{i="a"}', value: 3}, {labels: 'x{i="b"}', value: 5}]}
{expr: x, eval_time: 6m, exp_samples: [{labels: 'x{i="a"}', value: 6}]}
{expr: x, eval_time: 6m, exp_samples: [{labels: 'x{i="a"}', value: 6}, {labels: 'x{i="a"}', value: 6}]}
{expr: x, eval_time: 14m, exp_samples: [{labels: 'x{i="a"}', value: 9}]}
{expr: x, eval_time: 14m1s}
{expr: x, eval_time: 14m1s, exp_samples: }
{expr: 'x offset -2m', eval_time: 6m}
{expr: 'x offset -2m', eval_time: 6m, exp_samples: [{labels: 'x{i="a"}', value: 8}]}
{expr: time(), eval_time: 6m30s, exp_samples: [{value: 390}]}
{expr: '1', eval_time: 6m, exp_samples: [{value: 1}]}
{expr: 'x / 0 > 0', eval_time: 1m, exp_samples: [{labels: '{i="a"}', value: .inf}, {labels: '{i="b"}', value: .inf}]}
{expr: 'ALERTS{alertname="High"}', eval_time: 4m, exp_samples: [{labels: 'ALERTS{alertname="High", alertstate="pending", i="a", severity="ticket"}', value: 1}, {labels: 'ALERTS{alertname="High", alertstate="firing", i="b", severity="ticket"}', value: 1}]}
{expr: 'ALERTS_FOR_STATE{alertname="High", i="a"}', eval_time: 4m, exp_samples: [{labels: 'ALERTS_FOR_STATE{alertname="High", i="a", severity="ticket"}', value: 180}]}
{expr: 'x[5m]', eval_time: 4m}
{expr: '"text"', eval_time: 4m}
{expr: 'x +', eval_time: 4m}
{expr: 'nothing', eval_time: 4m}
{expr: '', eval_time: 4m}
{eval_time: 4m}
{expr: 'x + on (j) x', eval_time: 4m}
{expr: sum_x, eval_time: 2m, exp_samples: [{labels: sum_x, value: seven}]}
{expr: sum_x, eval_time: 2m, exp_samples: [{labels: 'sum_x{a=~"b"}', value: 7}]}
""".splitlines()
VALUES = {
    "1x3": 4, "1 2 _ 3": 3, "1+1": 0, "1-1x": 0, "_x": 0, "_x2": 0, "stale": 0, "1.5e1-1e-1x3": 4, "-1-1x2": 3,
    "+1+1x2": 3, "Inf": 1, "-Inf": 1, "NaN": 1, "x": 0, "1,2": 0, "0x5": 6, "1+_x3": 0, "_+1x3": 0, "nan 1": 2,
    "": 0, "1  2\t3": 3, "1x3x3": 0, "0x10": 11, ".5+.5x3": 4, "1.2.3": 0, "stale 1 stale 2": 2,
}  # fmt: skip
"""Values of a series, and how many samples they give."""
WHOLE = [
    "",
    "tests: []",
    "tests: {}",
    "tests: [{interval: 1m}]",
    "tests: [{interval: 1m, unknown: x}]",
    "unknown: x",
    "[]",
    "rule_files: [r.yml, r.yml]\ntests: [{interval: 1m}]",
    "rule_files: [bad.yml]\ntests: [{interval: 1m}]",
    "rule_files: [bad.yml]",
    "rule_files: [none.yml]\ntests: [{interval: 1m}]",
    "rule_files: ['none*.yml']\ntests: [{interval: 1m}]",
    "rule_files: [fails.yml]\ntests: [{interval: 1m, input_series: [{series: 'x{a=\"b\"}', values: 1}, {series: 'x{a=\"c\"}', values: 1}]}]",
    "group_eval_order: [a, a]\ntests: [{interval: 1m}]",
    "group_eval_order: [a, b]\ntests: [{interval: 1m}]",
    "evaluation_interval: 0\ntests: [{interval: 1m}]",
    "evaluation_interval: x\ntests: [{interval: 1m}]",
    "tests: [{interval: 1m, input_series: [{series: '{', values: 1}]}]",
    "tests: [{interval: 1m, input_series: [{series: 'x{a=\"b\"', values: 1}]}]",
    "tests: [{interval: 1m, input_series: [{series: 'x{a=~\"b\"}', values: 1}]}]",
]
OTHERWISE = {
    "rule_files: [none.yml]\ntests: [{interval: 1m}]": "they warn: tests of rules that are not there",
    "rule_files: [bad.yml]": "they read rules only where there is a test",
}
"""Files of which we think otherwise, each with the reason."""


def test_the_same_files_pass(tmp_path: Path, promtool: Path) -> None:
    (tmp_path / "r.yml").write_text(RULES)
    (tmp_path / "bad.yml").write_text("groups: [{name: a, rules: [{record: a, expr: 'b +'}]}]")
    (tmp_path / "fails.yml").write_text("groups: [{name: a, rules: [{record: a, expr: 'x + on () x'}]}]")
    texts = dict(_files())
    paths = {name: tmp_path / f"{index}.yml" for index, name in enumerate(texts)}
    for name, path in paths.items():
        path.write_text(texts[name])
    command = [promtool, "test", "rules", *paths.values()]
    said = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    ).stdout
    theirs = dict(zip(*[iter(re.split(r"Unit Testing:  (\S+)\n", said)[1:])] * 2, strict=True))
    different, passed = [], 0
    for name, path in paths.items():
        ours, text = _passes(path)
        passed += ours
        if (ours == ("SUCCESS" in theirs[str(path)])) == (name in OTHERWISE):
            different.append(f"{name}:\nours {'passes' if ours else text}\ntheirs {theirs[str(path)]}")
    assert not different, "\n".join(different)
    assert len(paths) * 0.3 < passed < len(paths) * 0.7


def _files() -> list[tuple[str, str]]:
    head = "rule_files: [r.yml]\ngroup_eval_order: [first, second, alerts]\ntests:\n  - interval: 1m\n"
    head += "    name: t\n    external_labels: {dc: lab}\n    external_url: http://h/\n" + SERIES
    alerts = [(case, f"{head}    alert_rule_test:\n    - {case}\n") for case in ALERTS]
    expressions = [(case, f"{head}    promql_expr_test:\n    - {case}\n") for case in EXPRESSIONS]
    values = [
        (
            f"{count} of {text!r}",
            f"tests: [{{interval: 1m, input_series: [{{series: x, values: {text!r}}}], promql_expr_test:"
            f" [{{expr: 'count_over_time(x[10m]) or vector(0)', eval_time: 10m,"
            f" exp_samples: [{{value: {count}}}]}}]}}]",
        )
        for text, right in VALUES.items()
        for count in (right, right + 1)
    ]
    return [*alerts, *expressions, *values, *((text, text) for text in WHOLE)]


def _passes(path: Path) -> tuple[bool, str]:
    try:
        file = read_test_file(str(path), RuleEngine())
    except ConfigError as error:
        return False, str(error)
    config = EngineConfig(closed_windows=True)
    tests = run_tests(file, lambda step_ms: RuleBench(step_ms, config), NoData.RESOLVE)
    failures = [failure for _, found in tests for failure in found]
    return not failures, "\n".join(map(str, failures))
