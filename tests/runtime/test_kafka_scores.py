"""Scores of readings: those of the pack over the same samples, whatever is read of them and when."""

from __future__ import annotations

import random

import pytest

from metricsmith.model.labels import encode_labels
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.promql.memory import MemorySeries
from metricsmith.promql.series_input import Series
from metricsmith.runtime.kafka_scores import balance_rows, health, health_json
from metricsmith.runtime.kafka_series import ReadingSeries
from metricsmith.runtime.kafka_session import Snapshot
from metricsmith.runtime.packs import Recorded, evaluate_pack, evaluate_pack_over
from metricsmith.sources.kafka.metrics import METRICS

TOPICS, PARTITIONS, GROUPS = 4, 3, 3
NOW_MS = 1_700_000_010_000


def reading(time_ms: int, written: float, seed: int = 0, missing: float = 0.1) -> Snapshot:
    """A cluster some of whose samples are not there."""
    chance = random.Random(seed)
    values: dict[tuple[str, ...], float] = {("kafka_up",): 1.0}
    values |= {("kafka_snapshot_age_seconds", part): 0.0 for part in ("metadata", "offsets")}
    values |= {("kafka_broker_leaders", str(broker)): 2.0 + broker for broker in range(3)}
    for topic in map("t-{}".format, range(TOPICS)):
        values["kafka_topic_partitions", topic] = PARTITIONS
        values["kafka_topic_tombstone_ratio_percent", topic] = chance.uniform(0, 60)
        for at in ((topic, str(number)) for number in range(PARTITIONS)):
            values["kafka_topic_partition_leader", *at] = float(chance.randrange(3))
            values["kafka_topic_partition_under_replicated_partition", *at] = float(chance.random() < 0.1)
            values["kafka_topic_partition_current_offset", *at] = 100 + written * (1 + int(at[1]))
            values["kafka_topic_partition_oldest_offset", *at] = 0.0
            values["kafka_log_dir_size_bytes", "0", "/data", *at] = chance.uniform(1, 100)
            for group in map("g-{}".format, range(GROUPS)):
                values["kafka_consumergroup_lag", group, *at] = 5.0
                values["kafka_consumergroup_lag_seconds", group, *at] = chance.uniform(0, 900)
                reason = chance.choice(["growing", "stalled", "caught_up"])
                values["kafka_consumergroup_lag_state", group, *at, reason] = 1.0
    kept = {key: value for key, value in values.items() if chance.random() >= missing}
    return Snapshot(time_ms, kept | {("kafka_up",): 1.0})


def as_series(before: Snapshot, now: Snapshot) -> list[Series]:
    found: list[Series] = []
    for key, value in now.values.items():
        labels = {"__name__": key[0], **dict(zip(METRICS[key[0]][1], key[1:], strict=True))}
        samples = [(now.time_ms, value)]
        if before is not now and key in before.values:
            samples.insert(0, (before.time_ms, before.values[key]))
        times, values = zip(*samples, strict=True)
        found.append((labels, list(times), list(values)))
    return found


def named(recorded: Recorded, name: str) -> dict[bytes, float]:
    return {encode_labels(labels): value for labels, value in recorded.get(name, [])}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("readings", [1, 2])
def test_the_scores_are_those_of_all_rules_over_all_series(readings: int, seed: int) -> None:
    now = reading(NOW_MS, 50, seed)
    before = reading(NOW_MS - 10_000, 0, seed + 100) if readings == 2 else now
    whole = evaluate_pack("kafka", as_series(before, now), NOW_MS)
    for name in ("kafka_topic_balance_score", "kafka_health_score", "kafka_health_confidence"):
        found = evaluate_pack_over("kafka", ReadingSeries(before, now), NOW_MS, {name})
        assert named(found, name) == named(whole, name) != {}


def test_rates_need_two_readings() -> None:
    now = reading(NOW_MS, 50, missing=0)
    for first, rated in ((now, 0), (reading(NOW_MS - 10_000, 0, missing=0), TOPICS)):
        assert sum(row.kind == "message_rate" for row in balance_rows([first, now])) == rated


@pytest.mark.parametrize(
    "matchers",
    [
        [("__name__", "=", "kafka_consumergroup_lag_state")],
        [("__name__", "=", "kafka_consumergroup_lag_state"), ("reason", "=~", "stalled|growing")],
        [
            ("__name__", "=", "kafka_consumergroup_lag_state"),
            ("reason", "!=", "stalled"),
            ("topic", "=", "t-1"),
        ],
        [("__name__", "=", "kafka_topic_partitions"), ("partition", "=", "")],
        [("__name__", "=", "kafka_topic_partitions"), ("partition", "!=", "")],
        [("__name__", "=", "kafka_nothing")],
        [("topic", "=", "t-0")],
        [("__name__", "=~", "kafka_topic_.*"), ("topic", "=", "t-0")],
    ],
)
@pytest.mark.parametrize("start_ms", [0, NOW_MS])
def test_series_are_selected_as_from_any_store(matchers: list[tuple[str, str, str]], start_ms: int) -> None:
    before, now = reading(NOW_MS - 10_000, 0, 1), reading(NOW_MS, 50, 2)
    asked = [Matcher(name, MatchOp(op), value) for name, op, value in matchers]
    ours = ReadingSeries(before, now).select(asked, start_ms, NOW_MS)
    peer = MemorySeries(as_series(before, now)).select(asked, start_ms, NOW_MS)
    assert ours.keys == peer.keys
    assert samples(ours) == samples(peer)


def samples(selection: object) -> dict[bytes, list[tuple[int, float]]]:
    found = {}
    for group in selection.matrices:  # type: ignore[attr-defined]
        for row, values in zip(group.rows.tolist(), group.values.tolist(), strict=True):
            found[selection.keys[row]] = list(zip(group.times.tolist(), values, strict=True))  # type: ignore[attr-defined]
    if (ragged := selection.ragged) is not None:  # type: ignore[attr-defined]
        bounds = ragged.offsets.tolist()
        for row, first, stop in zip(ragged.rows.tolist(), bounds, bounds[1:], strict=False):
            times, values = ragged.times[first:stop].tolist(), ragged.values[first:stop].tolist()
            found[selection.keys[row]] = list(zip(times, values, strict=True))  # type: ignore[attr-defined]
    return found


def test_a_component_of_which_nothing_is_known_is_shown_as_that() -> None:
    now = reading(NOW_MS, 0, missing=0)
    known = {key: value for key, value in now.values.items() if "tombstone" not in key[0]}
    shown = {each["name"]: each for each in health_json(health([Snapshot(NOW_MS, known)]))["components"]}
    assert set(shown) == {"offline", "lag", "under_replicated", "balance", "freshness", "stuck", "tombstones"}
    assert shown["tombstones"] == {"name": "tombstones", "score": None, "weight": 0.05, "input": None}
    assert all(each["score"] is not None for name, each in shown.items() if name != "tombstones")


def test_nothing_known_is_no_score_and_no_confidence() -> None:
    found = health([Snapshot(NOW_MS, {("kafka_up",): 1.0})])
    assert (found.score, found.confidence) == (None, 0.0)
    assert all(each.score is each.input is None and each.weight for each in found.components)
    assert len(found.components) == 7
