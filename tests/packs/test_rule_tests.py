"""Alerts on agents, costs and machines fire as their tests say, here and in promtool."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from metricsmith.packs import rule_file
from metricsmith.rules.files import read_rule_file
from metricsmith.rules.model import AlertingRule
from metricsmith.rules.unit_tests.files import read_test_file
from metricsmith.rules.unit_tests.run import run_tests
from metricsmith.runtime.rule_bench import RuleBench
from metricsmith.runtime.rule_engine import RuleEngine


@pytest.mark.parametrize("pack", ["agent", "cost", "host"])
def test_every_alert_of_a_pack_is_made_to_fire(pack: str, promtool: Path) -> None:
    file = rule_file(pack).parent / "tests" / "rules.yml"
    read = read_test_file(str(file), RuleEngine())
    tests = dict(run_tests(read, RuleBench))
    assert [failure for failures in tests.values() for failure in failures] == []
    fired = {a.alertname for test in read.config.tests for a in test.alert_rule_test if a.exp_alerts}
    groups = read_rule_file(str(rule_file(pack)), RuleEngine(), 60_000).groups
    assert fired == {rule.name for group in groups for rule in group.rules if isinstance(rule, AlertingRule)}
    said = subprocess.run([promtool, "test", "rules", file], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
