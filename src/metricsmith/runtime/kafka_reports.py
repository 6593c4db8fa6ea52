"""Readings of a Kafka cluster as rows: what one-shot commands print, and their JSON.

In JSON a time that never ends is null, and one that is not known is left out.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from metricsmith.runtime.kafka_session import Snapshot
from metricsmith.sources.kafka.lag import Reason
from metricsmith.sources.kafka.tombstone_counts import TombstoneCount

WORST_FIRST = (
    Reason.LOST,
    Reason.STALLED,
    Reason.IDLE,
    Reason.GROWING,
    Reason.REWOUND,
    Reason.STABLE,
    Reason.INSUFFICIENT_HISTORY,
    Reason.SHRINKING,
    Reason.NO_COMMIT,
    Reason.TXN_TAIL,
    Reason.CAUGHT_UP,
)
"""A topic's reason is the worst of its partitions."""


@dataclass(frozen=True, slots=True)
class TopicRow:
    """One topic; None is not known, and `retention_*` are infinite without limit.

    Units:
        records between begin and end of the logs; bytes of all replicas on disk.
    """

    topic: str
    partitions: int
    replicas: int
    under_replicated: int
    offline: int
    records: int | None
    bytes: int | None
    records_per_second: float | None
    retention_seconds: float | None
    retention_bytes: float | None
    cleanup_policy: str | None


@dataclass(frozen=True, slots=True)
class LagRow:
    """A group on a partition, or with `partition` None on a topic.

    None is not known; `catch_up_seconds` is infinite for never. `at_least` marks
    `lag_seconds` as a lower bound.
    """

    group: str
    topic: str
    partition: int | None
    lag: int | None
    lag_seconds: float | None
    at_least: bool
    catch_up_seconds: float | None
    reason: Reason


def topic_rows(now: Snapshot, before: Snapshot | None = None) -> list[TopicRow]:
    """Return a row per topic; rates are those since `before`."""
    sizes = _by_topic((labels[2], value) for labels, value in now.of("kafka_log_dir_size_bytes"))
    policies = {topic: policy for (topic, policy), _ in now.of("kafka_topic_cleanup_policy")}
    replicas = _topic_values(now, "kafka_topic_partition_replicas")
    under = _topic_values(now, "kafka_topic_partition_under_replicated_partition")
    leaders = _topic_values(now, "kafka_topic_partition_leader")
    ends = _topic_values(now, "kafka_topic_partition_current_offset")
    begins = _topic_values(now, "kafka_topic_partition_oldest_offset")
    rates = {} if before is None else _rates(now, before)
    rows = []
    for (topic,), partitions in now.of("kafka_topic_partitions"):
        whole = len(ends[topic]) == partitions
        rows.append(
            TopicRow(
                topic,
                int(partitions),
                int(max(replicas[topic])),
                int(sum(under[topic])),
                sum(leader < 0 for leader in leaders[topic]),
                int(sum(ends[topic]) - sum(begins[topic])) if whole else None,
                int(sum(sizes[topic])) if topic in sizes else None,
                rates.get(topic) if whole else None,
                now.values.get(("kafka_topic_retention_seconds", topic)),
                now.values.get(("kafka_topic_retention_bytes", topic)),
                policies.get(topic),
            )
        )
    return sorted(rows, key=lambda row: row.topic)


def _rates(now: Snapshot, before: Snapshot) -> dict[str, float]:
    """Records a second of topics of which all ends were read both times, and none fell."""
    name, age = "kafka_topic_partition_current_offset", "kafka_topic_partition_snapshot_age_seconds"
    seconds = (now.time_ms - before.time_ms) / 1000
    old = dict(before.of(name))
    grown = _by_topic((at[0], end - old.get(at, math.nan)) for at, end in now.of(name))
    aged = {at[0] for snapshot in (now, before) for at, _ in snapshot.of(age)}
    return {
        topic: sum(of_topic) / seconds
        for topic, of_topic in grown.items()
        if seconds > 0 and topic not in aged and all(growth >= 0 for growth in of_topic)
    }


def lag_rows(now: Snapshot) -> list[LagRow]:
    """Return a row per group and topic, each followed by those of its partitions."""
    partitions: dict[tuple[str, str], list[LagRow]] = defaultdict(list)
    for (group, topic, number, reason), _ in now.of("kafka_consumergroup_lag_state"):
        at = (group, topic, number)
        lag = now.values.get(("kafka_consumergroup_lag", *at))
        partitions[group, topic].append(
            LagRow(
                group,
                topic,
                int(number),
                None if lag is None else int(lag),
                now.values.get(("kafka_consumergroup_lag_seconds", *at)),
                bool(now.values.get(("kafka_consumergroup_lag_seconds_at_least", *at))),
                now.values.get(("kafka_consumergroup_catch_up_seconds", *at)),
                Reason(reason),
            )
        )
    rows = []
    for pair, of_topic in sorted(partitions.items()):
        rows.append(_whole_topic(now, pair, of_topic))
        rows += sorted(of_topic, key=lambda row: row.partition or 0)
    return rows


def _whole_topic(now: Snapshot, at: tuple[str, str], rows: Sequence[LagRow]) -> LagRow:
    lag = now.values.get(("kafka_consumergroup_lag_sum", *at))
    committed = [row for row in rows if row.reason != Reason.NO_COMMIT]
    seconds = [row.lag_seconds for row in committed if row.lag_seconds is not None]
    known = lag is not None and seconds and len(seconds) == len(committed)
    oldest = max(seconds) if known else None
    return LagRow(
        *at,
        None,
        None if lag is None else int(lag),
        oldest,
        any(row.at_least for row in committed if row.lag_seconds == oldest),
        now.values.get(("kafka_consumergroup_topic_catch_up_seconds", *at)),
        min((row.reason for row in rows), key=WORST_FIRST.index),
    )


def topic_json(rows: Iterable[TopicRow]) -> list[dict[str, Any]]:
    """Return topics as the command's JSON."""
    return [
        {
            "topic": row.topic,
            "partitions": row.partitions,
            "replicas": row.replicas,
            "under_replicated": row.under_replicated,
            "offline": row.offline,
            "records": row.records,
            "bytes": row.bytes,
            "records_per_second": row.records_per_second,
            **_times(retention_seconds=row.retention_seconds, retention_bytes=row.retention_bytes),
            "cleanup_policy": row.cleanup_policy,
        }
        for row in rows
    ]


def lag_json(rows: Iterable[LagRow]) -> list[dict[str, Any]]:
    """Return lags as the command's JSON; seconds behind that are a lower bound are not known."""
    return [
        {
            "group": row.group,
            "topic": row.topic,
            "partition": row.partition,
            "lag": row.lag,
            "lag_seconds": None if row.at_least else row.lag_seconds,
            **_times(catch_up_seconds=row.catch_up_seconds),
            "reason": row.reason.value,
        }
        for row in rows
    ]


def tombstone_json(counts: Iterable[TombstoneCount]) -> list[dict[str, Any]]:
    """Return counts of tombstones as the command's JSON."""
    return [
        {
            "topic": one.topic,
            "partition": one.partition,
            "records": one.records,
            "tombstones": one.tombstones,
            "empty_values": one.empty_values,
            "ratio_percent": one.ratio_percent,
            "coverage": one.coverage,
            "interval_low": one.interval_low,
            "interval_high": one.interval_high,
        }
        for one in counts
    ]


def _times(**values: float | None) -> dict[str, float | None]:
    return {name: None if math.isinf(value) else value for name, value in values.items() if value is not None}


def _topic_values(now: Snapshot, name: str) -> dict[str, list[float]]:
    return _by_topic((labels[0], value) for labels, value in now.of(name))


def _by_topic(pairs: Iterable[tuple[str, float]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for topic, value in pairs:
        found[topic].append(value)
    return found
