"""What rule tests say when something is not as expected, and what of them is ours alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from metricsmith.errors import ConfigError
from metricsmith.rules.model import NoData
from metricsmith.rules.unit_tests.files import read_test_file
from metricsmith.rules.unit_tests.run import Failure, run_tests
from metricsmith.runtime.rule_bench import RuleBench
from metricsmith.runtime.rule_engine import RuleEngine

RULES = """\
groups:
- name: g
  rules:
  - {record: total, expr: sum(x)}
  - {record: broken, expr: y + on () y}
  - {alert: Default, expr: x > 1, annotations: {text: "{{ $value }}\\nin two lines"}}
  - {alert: Fires, expr: x > 1, no_data: fire}
  - {alert: Resolves, expr: x > 1, no_data: resolve}
"""


def failures(folder: Path, tests: str, no_data: NoData = NoData.KEEP, head: str = "") -> list[Failure]:
    (folder / "rules.yml").write_text(RULES)
    file = folder / "tests.yml"
    file.write_text(f"rule_files: [rules.yml]\n{head}tests:\n{tests}")
    read = read_test_file(str(file), RuleEngine())
    return [failure for _, found in run_tests(read, RuleBench, no_data) for failure in found]


def test_both_sides_are_shown_with_the_line_of_the_expectation(tmp_path: Path) -> None:
    samples, alerts = failures(
        tmp_path,
        """\
- name: walk
  input_series:
  - series: x{i="a"}
    values: 1+1x5
  promql_expr_test:
  - expr: total
    eval_time: 2m
    exp_samples:
    - labels: total
      value: 4
  alert_rule_test:
  - eval_time: 90s
    alertname: Default
    exp_alerts:
    - exp_labels: {i: b}
""",
    )[::-1]
    assert (samples.line, samples.test, samples.what) == (8, "walk", "total at 2m")
    assert (samples.expected, samples.got) == (("total 4.0",), ("total 3.0",))
    assert (alerts.line, alerts.what) == (14, "alerts Default at 1m30s")
    assert alerts.expected == ('{alertname="Default", i="b"}',)
    assert alerts.got == ('{alertname="Default", i="a"}', "    text: 2", "in two lines")


def test_a_rule_that_fails_is_told_with_its_own_place(tmp_path: Path) -> None:
    (failure,) = failures(
        tmp_path,
        """\
- input_series: [{series: 'y{i="a"}', values: _ 1}, {series: 'y{i="b"}', values: _ 1}]
  promql_expr_test: [{expr: total, eval_time: 5m, exp_samples: [{value: 1}]}]
""",
    )
    assert (Path(failure.file).name, failure.line) == ("rules.yml", 5)
    assert failure.what.startswith("rule broken at 1m: ")


@pytest.mark.parametrize(
    ("alert", "firing", "no_data"),
    [
        ("Default", NoData.KEEP, NoData.KEEP),
        ("Default", NoData.KEEP, NoData.FIRE),
        ("Default", None, NoData.RESOLVE),
        ("Fires", NoData.FIRE, NoData.RESOLVE),
        ("Resolves", None, NoData.KEEP),
    ],
)
def test_alerts_without_data(tmp_path: Path, alert: str, firing: NoData | None, no_data: NoData) -> None:
    labels = 'exp_labels: {i: a}, exp_annotations: {text: "2\\nin two lines"}'
    if alert != "Default":
        labels = "exp_labels: {i: a}"
    expected = f"[{{{labels}, exp_no_data: true}}]" if firing else "[]"
    tests = f"""\
- input_series: [{{series: 'x{{i="a"}}', values: 2 2 stale}}]
  alert_rule_test:
  - {{eval_time: 1m, alertname: {alert}, exp_alerts: [{{{labels}, exp_no_data: false}}]}}
  - {{eval_time: 3m, alertname: {alert}, exp_alerts: {expected}}}
"""
    assert failures(tmp_path, tests, no_data) == []
    (failure,) = failures(tmp_path, tests.replace("exp_no_data: false", "exp_no_data: true"), no_data)
    assert failure.expected[0].endswith(", without data")
    assert failure.got[0].endswith(", with data")


@pytest.mark.parametrize("fuzzy", [False, True])
def test_the_last_bit_may_differ_where_asked(tmp_path: Path, fuzzy: bool) -> None:
    tests = """\
- input_series: [{series: x, values: 0.1+0.1x2}]
  promql_expr_test: [{expr: total, eval_time: 2m, exp_samples: [{labels: total, value: 0.3}]}]
"""
    assert bool(failures(tmp_path, tests, head=f"fuzzy_compare: {fuzzy}\n".lower())) is not fuzzy
    assert failures(tmp_path, tests.replace("value: 0.3", "value: 0.3001"), head="fuzzy_compare: true\n")


@pytest.mark.parametrize("start", ["1609459200", "2021-01-01T00:00:00Z", "2021-01-01T01:00:00+01:00"])
def test_a_test_may_begin_at_any_time(tmp_path: Path, start: str) -> None:
    tests = f"""\
- start_timestamp: {start}
  input_series: [{{series: x, values: 0+1x5}}]
  promql_expr_test:
  - {{expr: total, eval_time: 3m, exp_samples: [{{labels: total, value: 3}}]}}
  - {{expr: time() - 1609459200, eval_time: 3m, exp_samples: [{{value: 180}}]}}
  - {{expr: 'year()', eval_time: 3m, exp_samples: [{{value: 2021}}]}}
"""
    assert failures(tmp_path, tests) == []


def test_nan_is_as_expected_where_nan_is_expected(tmp_path: Path) -> None:
    tests = """\
- promql_expr_test: [{expr: 0 / 0, exp_samples: [{value: NaN}]}, {expr: 1 / 0, exp_samples: [{value: +Inf}]}]
"""
    assert failures(tmp_path, tests) == []


@pytest.mark.parametrize(
    ("tests", "wanted"),
    [
        ("- {input_series: [{series: 'x{i=~\"a\"}', values: 1}]}", "wanted labels with their values"),
        ("- {alert_rule_test: [{alertname: A, eval_time: 5y}]}", "wanted at most 1000000"),
    ],
)
def test_what_a_test_cannot_be_run_with(tmp_path: Path, tests: str, wanted: str) -> None:
    (failure,) = failures(tmp_path, tests)
    assert wanted in f"{Path(failure.file).name}:{failure.line}: {failure.what}"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("tests: [{alert_rule_test: [{eval_time: 5}]}]", 'tests[0].alert_rule_test[0].eval_time: got "5"'),
        ("tests: [{alert_rule_tests: []}]", 'unknown key (did you mean "alert_rule_test"?)'),
        ("tests: [{promql_expr_test: [{expr: x, exp_samples: [{histogram: x}]}]}]", "native histograms"),
        (
            "tests: [{input_series: [{series: x, values: '{{schema:1}}'}]}]",
            "native histograms are not supported",
        ),
        (
            "tests: [{input_series: [{series: x, values: 1 two}]}]",
            "tests[0].input_series[0].values: got `two`, wanted a value such as",
        ),
        ("tests: [{start_timestamp: soon}]", "Unix seconds, or a time such as 2026-11-21T10:00:00Z"),
        ("rule_files: [none.yml]", "none.yml: got no such file, wanted a rule file"),
        ("- tests", "got a list, wanted a mapping with one of rule_files,"),
        ("group_eval_order: [a, b, a]", 'got "a" twice, wanted each group once'),
        ("fuzzy_compare: perhaps", "wanted true or false"),
    ],
)
def test_mistakes_in_a_file_of_tests(tmp_path: Path, text: str, wanted: str) -> None:
    file = tmp_path / "tests.yml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_test_file(str(file), RuleEngine())
    assert wanted in str(caught.value)
    assert str(tmp_path) in str(caught.value)
