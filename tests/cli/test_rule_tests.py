"""`metricsmith rules test`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
RULES = "groups: [{name: g, rules: [{record: total, expr: sum(x)}, {alert: High, expr: x > 2}]}]"
TESTS = """\
rule_files: [rules.yml]
tests:
- name: good
  input_series: [{series: x, values: 1+1x5}]
  promql_expr_test:
  - {expr: total, eval_time: 1m, exp_samples: [{labels: total, value: 2}]}
- name: bad
  input_series: [{series: x, values: 1+1x5}]
  alert_rule_test:
  - {eval_time: 3m, alertname: High}
  promql_expr_test:
  - {expr: 'count_over_time(x[2m])', eval_time: 3m, exp_samples: [{value: 3}]}
"""


@pytest.fixture
def tests(tmp_path: Path) -> Path:
    (tmp_path / "rules.yml").write_text(RULES)
    path = tmp_path / "tests.yml"
    path.write_text(TESTS)
    return path


def test_failures_are_printed_with_their_lines(metricsmith: Run, tests: Path) -> None:
    ended = metricsmith("rules", "test", str(tests))
    assert (ended.returncode, ended.stdout) == (1, f"{tests}: FAILED: 2 not as expected, in 2 tests\n")
    assert ended.stderr.splitlines() == [
        f"{tests}:10: bad: alerts High at 3m",
        "  expected",
        "    nothing",
        "  got",
        '    {alertname="High"}',
        f"{tests}:12: bad: count_over_time(x[2m]) at 3m",
        "  expected",
        "    {} 3.0",
        "  got",
        "    {} 2.0",
    ]


def test_windows_may_be_closed(here: Run, tests: Path) -> None:
    ended = here("rules", "test", "--closed-windows", str(tests))
    assert "1 not as expected" in ended.stdout


@pytest.mark.parametrize(("pattern", "code"), [("^good$", 0), ("oo", 0), ("b.d", 1)])
def test_tests_are_chosen_by_name(here: Run, tests: Path, pattern: str, code: int) -> None:
    ended = here("rules", "test", "--run", pattern, str(tests))
    assert ended.returncode == code
    assert ended.stdout.rstrip().endswith("1 test")


def test_no_test_that_is_chosen_is_no_success(here: Run, tests: Path) -> None:
    ended = here("rules", "test", "--run", "none", str(tests))
    assert (ended.returncode, ended.stdout) == (1, f"{tests}: no tests run\n")
    assert ended.stderr == "error: got no test whose name matches none, wanted one\n"
    assert here("rules", "test", "--run", "none", "--run", "good", str(tests)).returncode == 0


def test_values_that_cannot_be_read_are_a_mistake_of_the_file(here: Run, tests: Path) -> None:
    tests.write_text(TESTS.replace("1+1x5", "1 two"))
    ended = here("rules", "test", str(tests))
    assert (ended.returncode, ended.stdout) == (3, f"{tests}: FAILED: cannot be run\n")
    assert [line.split(": ")[1] for line in ended.stderr.splitlines()] == [f"{tests}:4", f"{tests}:8"]


def test_a_wrong_pattern_is_refused(here: Run, tests: Path) -> None:
    ended = here("rules", "test", "--run", "(", str(tests))
    assert ended.returncode == 2
    assert "RE2" in ended.stderr
    assert "got regular expression '('," in ended.stderr


def test_files_are_named_by_globs_too(here: Run, tests: Path) -> None:
    for name in ("b.test.yml", "a.test.yml"):
        (tests.parent / name).write_text(TESTS.split("- name: bad")[0])
    ended = here("rules", "test", f"{tests.parent}/*.test.yml", f"{tests.parent}/a.test.yml")
    assert ended.returncode == 0
    assert ended.stdout.splitlines() == [f"{tests.parent}/{x}.test.yml: SUCCESS: 1 test" for x in "ab"]
    nothing = here("rules", "test", f"{tests.parent}/none/*.yml")
    assert nothing.returncode == 3
    assert nothing.stderr == f"error: {tests.parent}/none/*.yml: cannot be read: not a file\n"


def test_differences_line_by_line(here: Run, tests: Path) -> None:
    ended = here("rules", "test", "--diff", str(tests))
    assert "  -{} 3.0\n  +{} 2.0\n" in ended.stderr


def test_a_file_that_cannot_be_read_exits_3_unless_a_test_fails(here: Run, tests: Path) -> None:
    missing = f"{tests}.none"
    assert here("rules", "test", missing).returncode == 3
    assert here("rules", "test", "--run", "^good$", str(tests), missing).returncode == 3
    assert here("rules", "test", str(tests), missing).returncode == 1


def test_json(here: Run, tests: Path) -> None:
    ended = here("rules", "test", "--json", str(tests), f"{tests}.none")
    assert (ended.returncode, ended.stderr) == (1, "")
    first, second = json.loads(ended.stdout)["files"]
    assert (first["file"], first["tests"], len(first["failures"])) == (str(tests), 2, 2)
    assert first["failures"][1]["line"] == 12
    assert first["failures"][1]["got"] == ["{} 2.0"]
    assert second["problems"][0]["message"] == "cannot be read: not a file"
