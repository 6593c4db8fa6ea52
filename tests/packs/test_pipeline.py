"""The alerts for data pipelines: those that were published load and run, the corrected ones also work."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from metricsmith.model.labels import decode_labels
from metricsmith.packs import pack_names, rule_file
from metricsmith.promql.memory import MemorySeries
from metricsmith.rules.files import read_rule_file
from metricsmith.rules.model import Group, RecordingRule
from metricsmith.rules.unit_tests.files import read_test_file
from metricsmith.rules.unit_tests.run import run_tests
from metricsmith.runtime.rule_bench import RuleBench
from metricsmith.runtime.rule_engine import RuleEngine

MINUTE_MS = 60_000
PUBLISHED = ["HighBatchFailureRate", "PipelineStuck", "HighRetryRate", "BatchTimeoutSpike", "HighMemoryUsage"]


def groups(name: str) -> tuple[Group, ...]:
    found = read_rule_file(str(rule_file("pipeline", name)), RuleEngine(), 15_000)
    assert (found.problems, found.notes) == ((), ())
    return found.groups


@pytest.mark.parametrize("name", ["rules.yml", "rules-as-published.yml"])
def test_both_files_load_here_and_in_promtool(name: str, promtool: Path) -> None:
    count = sum(len(group.rules) for group in groups(name))
    command = [promtool, "check", "rules", rule_file("pipeline", name)]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"SUCCESS: {count} rules found" in said.stdout


def test_each_alert_fires_and_does_not_as_its_tests_say(promtool: Path) -> None:
    file = rule_file("pipeline").parent / "tests" / "rules.yml"
    read = read_test_file(str(file), RuleEngine())
    tests = dict(run_tests(read, RuleBench))
    assert [failure for failures in tests.values() for failure in failures] == []
    named = {a.alertname for test in read.config.tests for a in test.alert_rule_test if a.exp_alerts}
    assert named == {rule.name for rule in groups("rules.yml")[1].rules}
    said = subprocess.run([promtool, "test", "rules", file], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr


def test_every_published_alert_has_its_corrected_one() -> None:
    assert [rule.name for rule in groups("rules-as-published.yml")[0].rules] == PUBLISHED
    assert set(PUBLISHED) <= {rule.name for rule in groups("rules.yml")[1].rules}


def test_an_unknown_pack_is_told_with_those_there_are() -> None:
    assert "pipeline" in pack_names()
    with pytest.raises(KeyError, match=r"got pipes/rules.yml, wanted one of agent/rules.yml, cost/"):
        rule_file("pipes")


def counter(name: str, per_minute: float, **labels: str) -> tuple[dict[str, str], list[int], list[float]]:
    times = [i * MINUTE_MS for i in range(31)]
    identity = {"__name__": name, "job": "flow", "instance": "h:1", **labels}
    return identity, times, [100 + i * per_minute for i in range(31)]


def alerts(series: list[tuple[dict[str, str], list[int], list[float]]], name: str = "rules.yml") -> set[str]:
    """Return the alerts that hold in the last minute; what is recorded is read by what follows it."""
    store, now = list(series), 30 * MINUTE_MS
    engine, true = RuleEngine(), set()
    for group in groups(name):
        for rule in group.rules:
            answer = engine.instant(rule.expr, now, MemorySeries(store))
            if isinstance(rule, RecordingRule):
                recorded = zip(answer.keys, answer.values.tolist(), strict=True)
                store += [(_named(key, rule.name), [now], [value]) for key, value in recorded]
            elif answer.keys:
                true.add(rule.name)
    return true


def _named(key: bytes, name: str) -> dict[str, str]:
    return decode_labels(key) | {"__name__": name}


def test_failures_count_by_their_share() -> None:
    failed = counter("dataflow_batches_failed_total", 8, pipeline_id="p", error_code="E")
    many = counter("dataflow_batches_processed_total", 6000, pipeline_id="p")
    few = counter("dataflow_batches_processed_total", 20, pipeline_id="p")
    assert alerts([failed, many]) == set()
    assert alerts([failed, many], "rules-as-published.yml") == {"HighBatchFailureRate"}  # the false alarm
    assert alerts([failed, few]) == alerts([failed]) == {"HighBatchFailureRate"}


def test_a_stuck_pipeline_is_seen() -> None:
    running = counter("dataflow_pipelines_running", 0)
    still = counter("dataflow_batches_processed_total", 0, pipeline_id="p")
    busy = counter("dataflow_batches_processed_total", 60, pipeline_id="q")
    assert alerts([running, still], "rules-as-published.yml") == set()  # the labels never match
    assert alerts([running, still, busy]) == {"PipelineStuck"}
    assert alerts([running, busy]) == set()
    assert alerts([running]) == {"PipelineNeverStarted"}


def test_retries_timeouts_and_memory() -> None:
    codes = [counter("dataflow_retries_scheduled_total", 40, pipeline_id="p", error_code=c) for c in "ab"]
    assert alerts(codes) == {"HighRetryRate"}
    assert alerts([counter("dataflow_batches_timeouts_total", 40, pipeline_id="p")]) == {"BatchTimeoutSpike"}
    used = counter("jvm_memory_heap_used_bytes", 0)
    assert alerts([used]) == {"HeapMaximumMissing"}
    small, large = (
        (used[0] | {"__name__": "jvm_memory_heap_max_bytes"}, used[1], [v] * 31) for v in (105, 200)
    )
    assert alerts([used, small]) == {"HighMemoryUsage"}
    assert alerts([used, large]) == set()
