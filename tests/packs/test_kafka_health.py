"""The health score of Kafka: what is not known lowers the confidence, and never counts as good."""

from __future__ import annotations

import math
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metricsmith.errors import ConfigError
from metricsmith.model.labels import encode_labels
from metricsmith.model.series import SeriesTable
from metricsmith.packs import rule_file
from metricsmith.promql.ast import VectorSelector
from metricsmith.promql.memory import GrowingSeries
from metricsmith.promql.parser import parse
from metricsmith.promql.walk import preorder
from metricsmith.rules.alerting import Alerting
from metricsmith.rules.files import read_rule_file
from metricsmith.rules.model import AlertingRule, AlertState, NoData, RecordingRule
from metricsmith.rules.round import RunningGroup
from metricsmith.rules.templates import Expander
from metricsmith.rules.unit_tests.files import read_test_file
from metricsmith.rules.unit_tests.run import run_tests
from metricsmith.runtime.packs import Recorded, evaluate_pack
from metricsmith.runtime.rule_bench import RuleBench
from metricsmith.runtime.rule_engine import RuleEngine
from metricsmith.sources.kafka.metrics import METRICS
from metricsmith.testing.clock import FakeClock

Cluster = Callable[..., list[Any]]
Extra = tuple[str, float, dict[str, Any]]
RULES = read_rule_file(str(rule_file("kafka")), RuleEngine(), 60_000)
NAMES = {"cluster": {}, "topic": {"topic": "t"}, "group": {"consumergroup": "g"}}


def of(found: Recorded, name: str, scope: str, **more: str) -> dict[str, float]:
    """Return values by component (`""` without one) of the only cluster, topic or group."""
    wanted = {"instance": "k", "scope": scope, **NAMES[scope], **more}
    return {
        labels.get("component", ""): value
        for labels, value in found.get(name, [])
        if {key: each for key, each in labels.items() if key != "component"} == wanted
    }


def health(samples: list[Any], scope: str) -> tuple[Any, Any]:
    found = evaluate_pack("kafka", samples, 0)
    score, confidence = (of(found, f"kafka_health_{what}", scope) for what in ("score", "confidence"))
    return score.get(""), confidence.get("")


def test_scores_and_alerts_are_as_their_tests_say(promtool: Path) -> None:
    file = rule_file("kafka").parent / "tests" / "rules.yml"
    read = read_test_file(str(file), RuleEngine())
    tests = dict(run_tests(read, RuleBench))
    assert [failure for failures in tests.values() for failure in failures] == []
    fired = {a.alertname for test in read.config.tests for a in test.alert_rule_test if a.exp_alerts}
    rules = [rule for group in RULES.groups for rule in group.rules]
    assert fired == {rule.name for rule in rules if isinstance(rule, AlertingRule)}
    said = subprocess.run([promtool, "test", "rules", file], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr


def test_every_metric_that_is_read_is_published_or_recorded() -> None:
    rules = [rule for group in RULES.groups for rule in group.rules]
    recorded = {rule.name for rule in rules if isinstance(rule, RecordingRule)}
    overrides = {name.replace(":default", ":override") for name in recorded if name.endswith(":default")}
    trees = [parse(rule.expr) for rule in rules]
    read = {node.name for tree in trees for node in preorder(tree) if isinstance(node, VectorSelector)}
    assert read - recorded - overrides - METRICS.keys() == set()


T0, DISK = {"topic": "t", "partition": 0}, {"broker": 1, "log_dir": "/d"}
G0, G1 = ({"consumergroup": "g", "topic": "t", "partition": partition} for partition in (0, 1))
AROUND: list[Extra] = [
    ("kafka_topic_min_insync_replicas", 2, {"topic": "t"}),
    ("kafka_topic_retention_seconds", 86_400, {"topic": "t"}),
    ("kafka_log_dir_total_bytes", 100, DISK),
    ("kafka_health_alert_below", 0.5, {"of": "confidence"}),
    ("kafka_health_alert_below", 70, {"of": "score"}),
]
CAUSES: list[Extra] = [
    ("kafka_up", 0, {}),
    ("kafka_controller_id", -1, {}),
    ("kafka_snapshot_age_seconds", 400, {"part": "offsets"}),
    ("kafka_topic_partition_leader", -1, T0),
    ("kafka_topic_partition_in_sync_replica", 1, T0),
    ("kafka_topic_partition_under_replicated_partition", 1, T0),
    ("kafka_consumergroup_lag_state", 1, G0 | {"reason": "stalled"}),
    ("kafka_consumergroup_lag_state", 1, G1 | {"reason": "lost"}),
    ("kafka_consumergroup_until_deleted_seconds", 60, G0),
    ("kafka_consumergroup_until_deleted_by_size_seconds", 60, G0),
    ("kafka_consumergroup_lag_seconds", 900, G0),
    ("kafka_log_dir_usable_bytes", 1, DISK),
    ("kafka_health_score", 1, {"scope": "cluster"}),
    ("kafka_health_confidence", 0.1, {"scope": "cluster"}),
]
REMEDIES: list[Extra] = [
    ("kafka_controller_id", 1, {}),
    ("kafka_topic_partition_in_sync_replica", 2, T0),
    ("kafka_log_dir_usable_bytes", 50, DISK),
    ("kafka_health_score", 100, {"scope": "cluster"}),
    ("kafka_health_confidence", 1, {"scope": "cluster"}),
]


def test_alerts_end_when_their_cause_has(cluster: Cluster) -> None:
    """Here an alert whose series have no samples stays; what is well must have some, or be no comparison."""
    alerts = next(group for group in RULES.groups if group.name == "kafka-alerts")
    data = GrowingSeries()
    running = RunningGroup(
        alerts, RuleEngine(data), data, SeriesTable(), FakeClock(), Expander(), NoData.KEEP
    )
    shown: set[bytes] = set()
    for minute in range(41):
        now_ms = 1_700_000_000_000 + minute * 60_000
        samples = cluster(extra=[*AROUND, *(CAUSES if minute <= 20 else REMEDIES)])
        here = {encode_labels(labels): values[0] for labels, _, values in samples}
        for key in shown - here.keys():
            data.append(key, now_ms, math.nan, stale=True)
        for key, value in here.items():
            data.append(key, now_ms, value)
        shown = set(here)
        assert not running.evaluate(now_ms).failures
        if minute == 20:
            assert firing(running) == {rule.name for rule in alerts.rules} - {"KafkaNotWatched"}
    assert firing(running) == set()


def firing(running: RunningGroup) -> set[str]:
    works = [rule.work for rule in running.rules if isinstance(rule.work, Alerting)]
    alerts = [alert for work in works for alert in work.alerts.values()]
    return {alert.labels["alertname"] for alert in alerts if alert.state is AlertState.FIRING}


def test_weights_of_a_scope_add_up_to_one(cluster: Cluster) -> None:
    found = evaluate_pack("kafka", cluster(), 0)
    for scope in NAMES:
        weights = [v for labels, v in found["kafka_health_weight"] if labels["scope"] == scope]
        assert sum(weights) == pytest.approx(1)


@pytest.mark.parametrize("scope", NAMES)
def test_all_known_and_well(cluster: Cluster, scope: str) -> None:
    found = evaluate_pack("kafka", cluster(), 0)
    weights = {r["component"]: w for r, w in found["kafka_health_weight"] if r["scope"] == scope}
    assert of(found, "kafka_health_component_score", scope) == dict.fromkeys(weights, 100)
    assert of(found, "kafka_health_component_weight", scope) == pytest.approx(weights)
    assert of(found, "kafka_health_component_input", scope).keys() == weights.keys()
    assert health(cluster(), scope) == (pytest.approx(100), pytest.approx(1))


# What is not read, and then the components that are missing, and how much weight is left.
MISSING = [
    ("kafka_consumergroup_lag_seconds", {"cluster": 0.80, "topic": 0.75, "group": 0.60}),
    ("kafka_consumergroup_lag_state", {"cluster": 0.85, "topic": 1.0, "group": 0.55}),
    ("kafka_topic_partition_leader", {"cluster": 0.75, "topic": 0.70, "group": 1.0}),
    ("kafka_topic_partition_under_replicated_partition", {"cluster": 0.85, "topic": 0.85, "group": 1.0}),
    ("kafka_topic_tombstone_ratio_percent", {"cluster": 0.95, "topic": 0.90, "group": 0.95}),
    ("kafka_log_dir_size_bytes", {"cluster": 1.0, "topic": 1 - 0.1 / 3, "group": 1.0}),
    ("kafka_broker_leaders", {"cluster": 1.0, "topic": 1.0, "group": 1.0}),
    ("kafka_snapshot_age_seconds", {"cluster": 0.90, "topic": 1.0, "group": 1.0}),
    ("kafka_consumergroup_committed_partitions", {"cluster": 1.0, "topic": 1.0, "group": 0.85}),
    ("kafka_topic_partition_current_offset", {"cluster": 1.0, "topic": 0.9 - 0.2 / 3, "group": 1.0}),
]


@pytest.mark.parametrize("scope", NAMES)
@pytest.mark.parametrize(("metric", "confidence"), MISSING)
def test_a_missing_input_lowers_the_confidence_alone(
    cluster: Cluster, metric: str, confidence: dict[str, float], scope: str
) -> None:
    assert health(cluster(drop=[metric]), scope) == (pytest.approx(100), pytest.approx(confidence[scope]))


BAD = [
    (
        "lag",
        [("kafka_consumergroup_lag_seconds", 7200, {"consumergroup": "g", "topic": "t", "partition": 0})],
    ),
    ("offline", [("kafka_topic_partition_leader", -1, {"topic": "t", "partition": p}) for p in (0, 1)]),
    (
        "under_replicated",
        [
            ("kafka_topic_partition_under_replicated_partition", 1, {"topic": "t", "partition": p})
            for p in (0, 1)
        ],
    ),
    ("tombstones", [("kafka_topic_tombstone_ratio_percent", 99, {"topic": "t"})]),
    ("freshness", [("kafka_snapshot_age_seconds", 599, {"part": "offsets"})]),
]


@pytest.mark.parametrize(("component", "extra"), BAD)
def test_a_missing_input_counts_neither_as_good_nor_as_bad(
    cluster: Cluster, component: str, extra: list[tuple[str, float, dict[str, Any]]]
) -> None:
    """Beside a component that is bad, what is missing must not pull the score up or down by itself."""
    for drop in ("kafka_broker_leaders", "kafka_consumergroup_lag_state", "kafka_up"):
        found = evaluate_pack("kafka", cluster(drop=[drop], extra=extra), 0)
        for scope in NAMES:
            scores = of(found, "kafka_health_component_score", scope)
            weights = of(found, "kafka_health_component_weight", scope)
            expected = sum(scores[c] * weights[c] for c in scores) / sum(weights.values())
            assert of(found, "kafka_health_score", scope)[""] == pytest.approx(expected)
    cluster_scores = of(
        evaluate_pack("kafka", cluster(extra=extra), 0), "kafka_health_component_score", "cluster"
    )
    assert cluster_scores.pop(component) < 1
    assert set(cluster_scores.values()) == {100}


def test_with_nothing_known_there_is_no_score(cluster: Cluster) -> None:
    names = {labels["__name__"] for labels, _, _ in cluster()}
    assert health(cluster(drop=sorted(names - {"kafka_up"})), "cluster") == (None, 0)
    assert health(cluster(drop=sorted(names - {"kafka_consumergroup_info"})), "group") == (None, 0)
    assert health([], "cluster") == (None, None)


def pair(partition: int) -> dict[str, Any]:
    return {"consumergroup": "g", "topic": "t", "partition": partition}


def test_a_lower_bound_of_the_lag_counts_only_where_it_is_bad_already(cluster: Cluster) -> None:
    bound = ("kafka_consumergroup_lag_seconds_at_least", 1, pair(0))
    for seconds, scores in ((0, {}), (1799, {}), (1800, {"lag": 0}), (9000, {"lag": 0})):
        extra = [bound, ("kafka_consumergroup_lag_seconds", seconds, pair(0))]
        found = evaluate_pack("kafka", cluster(extra=extra), 0)
        for scope in NAMES:
            known = of(found, "kafka_health_component_score", scope)
            assert {c: v for c, v in known.items() if c == "lag"} == scores, scope


def test_one_unknown_partition_leaves_the_lag_of_its_group_unknown(cluster: Cluster) -> None:
    samples = [
        each
        for each in cluster()
        if (each[0]["__name__"], each[0].get("partition")) != ("kafka_consumergroup_lag_seconds", "1")
    ]
    assert health(samples, "group") == (pytest.approx(100), pytest.approx(0.6))


def test_the_lag_of_a_cluster_counts_by_the_groups_that_are_known(cluster: Cluster) -> None:
    other = {"consumergroup": "h", "topic": "t", "partition": 0}
    extra = [
        ("kafka_consumergroup_lag", 5, other),
        ("kafka_consumergroup_lag_state", 1, {**other, "reason": "stable"}),
    ]
    assert health(cluster(extra=extra), "cluster")[1] == pytest.approx(1 - 0.20 / 2)
    known = [*extra, ("kafka_consumergroup_lag_seconds", 10**6, other)]
    found = evaluate_pack("kafka", cluster(extra=known), 0)
    assert of(found, "kafka_health_component_input", "cluster")["lag"] == 900  # of 0 and, at most, 1800


@pytest.mark.parametrize("scope", NAMES)
def test_of_values_that_are_too_old_only_their_age_counts(cluster: Cluster, scope: str) -> None:
    age = {
        "cluster": ("kafka_snapshot_age_seconds", {"part": "metadata"}),
        "topic": ("kafka_topic_partition_snapshot_age_seconds", {"topic": "t", "partition": 1}),
        "group": ("kafka_consumergroup_snapshot_age_seconds", {"consumergroup": "g"}),
    }
    name, labels = age[scope]
    weight = {"cluster": 0.10, "topic": 0.10, "group": 0.15}[scope]
    half, old = (cluster(extra=[(name, seconds, labels)]) for seconds in (360, 600))
    assert health(half, scope) == (pytest.approx(100 - 50 * weight), pytest.approx(1))
    assert health(old, scope) == (0, pytest.approx(weight))


def test_a_share_of_stuck_partitions(cluster: Cluster) -> None:
    samples = [
        (
            labels | {"reason": "stalled"} if labels.get("reason") and labels["partition"] == "0" else labels,
            t,
            v,
        )
        for labels, t, v in cluster()
    ]
    found = evaluate_pack("kafka", samples, 0)
    assert of(found, "kafka_health_component_input", "group")["stuck"] == 50
    assert of(found, "kafka_health_component_score", "group")["stuck"] == 0


def test_stuck_groups_weigh_in_the_score_of_their_cluster(cluster: Cluster) -> None:
    idle = {"consumergroup": "h", "topic": "t", "partition": 0, "reason": "idle"}
    samples = cluster(extra=[("kafka_consumergroup_lag_state", 1, idle)])
    assert of(evaluate_pack("kafka", samples, 0), "kafka_health_component_input", "cluster")["stuck"] == 50
    assert health(samples, "cluster") == (pytest.approx(85), pytest.approx(1))


@pytest.mark.parametrize(
    ("since_minutes", "oldest", "stuck"), [(6, 0, 50), (1, 0, 0), (6, 100, 0)], ids=["", "new", "empty log"]
)
def test_who_never_commits_is_stuck_where_there_are_records(
    cluster: Cluster, since_minutes: int, oldest: int, stuck: float
) -> None:
    never = {"consumergroup": "h", "topic": "t", "reason": "no_commit"}
    extra: list[Extra] = [
        ("kafka_consumergroup_lag_state", 1, never | {"partition": 0}),
        ("kafka_consumergroup_lag_state", 1, never | {"partition": 1, "reason": "caught_up"}),
        ("kafka_topic_partition_oldest_offset", oldest, {"topic": "t", "partition": 0}),
    ]
    samples = [
        (labels, [-60_000 * since_minutes, 0], values * 2) if labels.get("reason") == "no_commit" else each
        for each in cluster(extra=extra)
        for labels, _, values in [each]
    ]
    found = evaluate_pack("kafka", samples, 0)
    [got] = [
        value
        for labels, value in found["kafka_health_component_input"]
        if (labels.get("consumergroup"), labels["component"]) == ("h", "stuck")
    ]
    assert got == stuck


@given(seed=st.integers(0, 2**32))
def test_whatever_is_read_scores_stay_within_bounds(cluster: Cluster, seed: int) -> None:
    chance = random.Random(seed)
    values = (0.0, 1.0, 50.0, 1e3, 1e12, math.inf)
    read = [(labels, times, [chance.choice(values)]) for labels, times, _ in cluster()]
    found = evaluate_pack("kafka", [each for each in read if chance.random() < 0.9], 0)
    for name, top in (("score", 100), ("component_score", 100), ("confidence", 1)):
        for labels, value in found.get(f"kafka_health_{name}", []):
            assert 0 <= value <= top, (name, labels, value)


@settings(max_examples=20)
@given(st.lists(st.sampled_from(sorted(METRICS)), min_size=1, max_size=6))
def test_knowing_less_is_never_surer(cluster: Cluster, drop: list[str]) -> None:
    more, less = (evaluate_pack("kafka", cluster(drop=names), 0) for names in (drop[1:], drop))
    for scope in NAMES:
        before, after = (of(found, "kafka_health_confidence", scope).get("", 0) for found in (more, less))
        assert after <= before + 1e-9, scope


def test_settings_are_overridden_by_a_file_of_ones_own(cluster: Cluster, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yml"
    mine.write_text(
        """
        groups:
        - name: my-kafka-health
          rules:
          - record: kafka_health_weight:override
            labels: {scope: group, component: tombstones}
            expr: vector(0)
          - {record: kafka_health_bad:override, labels: {component: lag}, expr: vector(160)}
        """
    )
    behind = cluster(extra=[("kafka_consumergroup_lag_seconds", 110, pair(0))])
    found = evaluate_pack("kafka", behind, 0, overrides=[mine])
    assert of(found, "kafka_health_component_score", "group")["lag"] == pytest.approx(50)
    assert of(found, "kafka_health_component_weight", "group")["tombstones"] == 0
    assert of(found, "kafka_health_component_weight", "topic")["tombstones"] == pytest.approx(0.1)
    assert of(found, "kafka_health_score", "group")[""] == pytest.approx((0.4 * 50 + 0.55 * 100) / 0.95)
    assert of(found, "kafka_health_confidence", "group")[""] == pytest.approx(1)


def test_good_and_bad_that_are_alike_leave_the_component_out(cluster: Cluster, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yml"
    rule = "{record: 'kafka_health_bad:override', labels: {component: offline}, expr: vector(0)}"
    mine.write_text(f"groups: [{{name: mine, rules: [{rule}]}}]")
    found = evaluate_pack("kafka", cluster(), 0, overrides=[mine])
    assert "offline" not in of(found, "kafka_health_component_score", "cluster")
    assert of(found, "kafka_health_confidence", "cluster")[""] == pytest.approx(0.75)


def test_an_override_with_mistakes_is_told(tmp_path: Path) -> None:
    (tmp_path / "mine.yml").write_text("groups: [{name: mine, rules: [{record: a, expr: 'vector('}]}]")
    with pytest.raises(ConfigError, match=r"mine.yml:1: .*parse error"):
        evaluate_pack("kafka", [], 0, overrides=[tmp_path / "mine.yml"])
