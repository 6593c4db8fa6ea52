"""`metricsmith rules check` and `rules expand`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from metricsmith.packs import rule_file

Run = Callable[..., subprocess.CompletedProcess[str]]
BAD = """\
groups:
  - name: a
    rules:
      - record: b
        expr: sum(c
      - alert: d
        exp: up
      - record: e
        expr: e
"""


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.yml"
    path.write_text(BAD)
    return path


def test_good_files_are_counted(metricsmith: Run) -> None:
    file = rule_file("pipeline")
    ended = metricsmith("rules", "check", str(file), f"{file.parent}/*published.yml")
    assert (ended.returncode, ended.stderr) == (0, "")
    published = file.parent / "rules-as-published.yml"
    assert ended.stdout == f"{file}: SUCCESS: 10 rules found\n{published}: SUCCESS: 5 rules found\n"


def test_every_mistake_is_printed(here: Run, bad: Path) -> None:
    ended = here("rules", "check", str(bad), f"{bad.parent}/none.yml")
    assert (ended.returncode, ended.stdout) == (3, "")
    assert ended.stderr.splitlines() == [
        f"note: {bad}:8: e: reads what it records, so it sees its own last value "
        "(a recursion never forgets: record under another name)",
        f"note: {bad}:8: e: recorded names have colons, so that no exporter has the same "
        "(such as job:requests:rate5m)",
        f"error: {bad}:5: groups[0].rules[0].expr: 1:6: parse error: unclosed left parenthesis, "
        'opened at 1:4, expected "," or ")"',
        f"error: {bad}:6: groups[0].rules[1].expr: missing, wanted a value",
        f'error: {bad}:7: groups[0].rules[1].exp: unknown key (did you mean "expr"?)',
        f"error: {bad.parent}/none.yml: got no such file, wanted a rule file",
    ]


def test_json(here: Run, bad: Path) -> None:
    ended = here("rules", "check", "--json", str(bad), str(rule_file("pipeline")))
    said = json.loads(ended.stdout)
    assert ended.returncode == 3
    assert [(file["rules"], len(file["problems"])) for file in said["files"]] == [(1, 3), (10, 0)]
    assert said["files"][0]["problems"][2] == {
        "path": "groups[0].rules[1].exp",
        "message": "unknown key",
        "file": str(bad),
        "line": 7,
        "hint": 'did you mean "expr"?',
    }


def test_a_glob_without_files_is_no_success(here: Run, tmp_path: Path) -> None:
    ended = here("rules", "check", f"{tmp_path}/*.yml")
    assert (ended.returncode, ended.stderr) == (
        3,
        f"error: got no file that matches {tmp_path}/*.yml, wanted rule files\n",
    )


def test_expand_prints_what_prometheus_reads(here: Run, tmp_path: Path, bad: Path) -> None:
    file = tmp_path / "r.yml"
    file.write_text(
        "groups: [{name: a, labels: {team: x}, rules: [{alert: A, expr: up == 0, for: 300s, no_data: fire}]}]"
    )
    ended = here("rules", "expand", str(file))
    rule = {"alert": "A", "expr": "up == 0", "for": "5m", "labels": {"team": "x"}}
    assert yaml.safe_load(ended.stdout) == {"groups": [{"name": "a", "interval": "1m", "rules": [rule]}]}
    assert ended.stderr == f"note: {file}:1: A: no_data is left out, Prometheus has no such field\n"
    refused = here("rules", "expand", str(bad))
    assert (refused.returncode, refused.stdout, refused.stderr.count("error: /")) == (3, "", 3)


def test_expand_writes_out_for_the_interval_of_the_agent(here: Run, tmp_path: Path) -> None:
    file = tmp_path / "r.yml"
    file.write_text("groups: [{name: a, rules: [{anomaly: queue, expr: depth}]}]")
    ended = here("rules", "expand", "--interval", "15s", str(file))
    (group,) = yaml.safe_load(ended.stdout)["groups"]
    assert group["interval"] == "15s"
    assert ">= 1440" in ended.stdout, "a quarter of a day is 1440 values, not 360"
    wrong = here("rules", "expand", "--interval", "15", str(file))
    assert (wrong.returncode, wrong.stdout) == (2, "")
