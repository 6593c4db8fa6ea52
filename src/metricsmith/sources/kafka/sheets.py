"""What is known of a cluster, written as samples."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence

import numpy as np

from metricsmith.model.arrays import F64, Bool
from metricsmith.sources.kafka.admin import LogDir, Topology
from metricsmith.sources.kafka.catchup import of_topic
from metricsmith.sources.kafka.lag import UNKNOWN
from metricsmith.sources.kafka.metrics import Sheet
from metricsmith.sources.kafka.observer import View
from metricsmith.sources.kafka.pairs import Judged, PairTable, PartitionKey
from metricsmith.sources.kafka.retention import until_deleted, until_outgrown


def cluster_sheet(
    view: View,
    configs: Mapping[str, Mapping[str, str]],
    sizes: Mapping[PartitionKey, Mapping[int, int]] | None = None,
    now_ms: int = 0,
) -> Sheet:
    """Return brokers, topics, groups, offsets and lag; old values are marked with their age.

    `sizes` are bytes on disk by partition and broker. Ages are those at `now_ms`, at
    the time of the round if that is later.
    """
    sheet, now_ms = Sheet(), max(now_ms, view.time_ms)
    sheet.put("kafka_up", float(view.up))
    if view.topology is not None:
        put_age(sheet, "metadata", now_ms, view.time_ms, [view.topology_ms], _round_ms(view))
        _topology(sheet, view.topology)
    _offsets(sheet, view, now_ms)
    _groups(sheet, view, now_ms)
    judged = view.judged.time_ms
    put_age(sheet, "lag", now_ms, view.time_ms, judged[(judged > 0) & (judged < view.time_ms)].tolist())
    _pairs(sheet, view, configs, sizes or {})
    return sheet


def _round_ms(view: View) -> int:
    """How much older than the ends of logs, which are read last, something of the same round may be."""
    return view.time_ms - view.topology_ms if view.up else 0


def put_age(
    sheet: Sheet, part: str, now_ms: int, round_ms: int, times: Iterable[int], limit_ms: int = 0
) -> None:
    """Add how old the oldest of some values is, and how many are from before the last round.

    Those of that round may be older than it by `limit_ms`.
    """
    old = [time for time in times if round_ms - time > limit_ms]
    sheet.put("kafka_snapshot_age_seconds", (now_ms - min(old, default=round_ms)) / 1000, part)
    sheet.put("kafka_snapshot_old_items", len(old), part)


def _topology(sheet: Sheet, told: Topology) -> None:
    sheet.put("kafka_brokers", len(told.brokers))
    sheet.put("kafka_controller_id", told.controller)
    leads = Counter(p.leader for p in told.partitions)
    should = Counter(p.replicas[0] for p in told.partitions if p.replicas)
    has = Counter(node for p in told.partitions for node in p.replicas)
    for broker in told.brokers:
        node = str(broker.node_id)
        sheet.put("kafka_broker_info", 1, node, broker.address, broker.rack)
        sheet.put("kafka_broker_leaders", leads[broker.node_id], node)
        sheet.put("kafka_broker_preferred_leaders", should[broker.node_id], node)
        sheet.put("kafka_broker_replicas", has[broker.node_id], node)
    for topic, count in Counter(p.topic for p in told.partitions).items():
        sheet.put("kafka_topic_partitions", count, topic)
    for each in told.partitions:
        at = (each.topic, str(each.number))
        preferred = bool(each.replicas) and each.leader == each.replicas[0]
        sheet.put("kafka_topic_partition_leader", each.leader, *at)
        sheet.put("kafka_topic_partition_leader_is_preferred", preferred, *at)
        sheet.put("kafka_topic_partition_replicas", len(each.replicas), *at)
        sheet.put("kafka_topic_partition_in_sync_replica", each.in_sync, *at)
        sheet.put("kafka_topic_partition_offline_replicas", each.offline, *at)
        under = each.in_sync < len(each.replicas)
        sheet.put("kafka_topic_partition_under_replicated_partition", under, *at)


def _offsets(sheet: Sheet, view: View, now_ms: int) -> None:
    put_age(sheet, "offsets", now_ms, view.time_ms, [b.time_ms for b in view.bounds.values()])
    for (topic, number), bounds in view.bounds.items():
        at = (topic, str(number))
        sheet.put("kafka_topic_partition_current_offset", bounds.end, *at)
        sheet.put("kafka_topic_partition_oldest_offset", bounds.start, *at)
        if bounds.time_ms < view.time_ms:
            age = (now_ms - bounds.time_ms) / 1000
            sheet.put("kafka_topic_partition_snapshot_age_seconds", age, *at)


def _groups(sheet: Sheet, view: View, now_ms: int) -> None:
    behind = _round_ms(view)
    times = {name: _oldest(view, name) for name in view.groups}
    put_age(sheet, "groups", now_ms, view.time_ms, times.values(), behind)
    for name, (_, group) in view.groups.items():
        sheet.put("kafka_consumergroup_info", 1, name, group.state, group.kind, str(group.coordinator))
        if group.members is not None:
            sheet.put("kafka_consumergroup_members", group.members, name)
        if (commits := view.commits.get(name)) is not None:
            sheet.put("kafka_consumergroup_committed_partitions", len(commits.offsets), name)
        if view.time_ms - times[name] > behind:
            age = (now_ms - times[name]) / 1000
            sheet.put("kafka_consumergroup_snapshot_age_seconds", age, name)


def _oldest(view: View, name: str) -> int:
    described = view.groups[name][0]
    commits = view.commits.get(name)
    return described if commits is None else min(described, commits.time_ms)


def _pairs(
    sheet: Sheet,
    view: View,
    configs: Mapping[str, Mapping[str, str]],
    sizes: Mapping[PartitionKey, Mapping[int, int]],
) -> None:
    judged = view.judged
    table, verdict, alive = judged.table, judged.verdict, judged.time_ms > 0
    state = table.state_keys("kafka_consumergroup_lag_state", verdict.reason)
    sheet.put_all(state, np.ones(len(table)), alive)
    known = alive & (judged.committed != UNKNOWN)
    by_time = _retention(table, configs, "retention.ms", ("delete", "compact,delete", "delete,compact"))
    left = until_deleted(verdict.seconds, verdict.at_least, by_time.astype(np.int64))
    by_size = _until_outgrown(view, configs, sizes)
    seconds_known = known & ~np.isnan(verdict.seconds)
    predicted = verdict.catch_up
    for name, values, which in (
        ("current_offset", judged.committed, known),
        ("lag", verdict.lag, known),
        ("lag_seconds", verdict.seconds, seconds_known),
        ("lag_seconds_at_least", verdict.at_least.astype(np.float64), seconds_known),
        ("lag_trend", verdict.trend.slope, known & ~np.isnan(verdict.trend.slope)),
        ("catch_up_seconds", predicted.seconds, known & ~np.isnan(predicted.seconds)),
        ("catch_up_seconds_low", predicted.low, known & ~np.isnan(predicted.low)),
        ("catch_up_seconds_high", predicted.high, known & ~np.isnan(predicted.high)),
        ("until_deleted_seconds", left, known & ~np.isnan(left)),
        ("until_deleted_by_size_seconds", by_size, known & ~np.isnan(by_size)),
    ):
        sheet.put_all(table.keys(f"kafka_consumergroup_{name}"), values, which)
    _group_topics(sheet, judged, known)


def _group_topics(sheet: Sheet, judged: Judged, known: Bool) -> None:
    table, topics = judged.table, len(judged.table.topics)
    here = np.bincount(table.topic, known, topics)
    # A sum over some of the partitions would be wrong.
    whole = (here > 0) & (here >= np.bincount(table.topic, judged.promised, topics))
    offsets = np.bincount(table.topic, np.where(known, judged.committed, 0), topics)
    lags = np.bincount(table.topic, np.where(known, judged.verdict.lag, 0), topics)
    longest = of_topic(judged.verdict.catch_up.seconds[known], table.topic[known], topics)
    for number in np.flatnonzero(whole).tolist():
        at = table.topics[number]
        sheet.put("kafka_consumergroup_current_offset_sum", float(offsets[number]), *at)
        sheet.put("kafka_consumergroup_lag_sum", float(lags[number]), *at)
        if not math.isnan(longest[number]):
            sheet.put("kafka_consumergroup_topic_catch_up_seconds", float(longest[number]), *at)


def _until_outgrown(
    view: View,
    configs: Mapping[str, Mapping[str, str]],
    sizes: Mapping[PartitionKey, Mapping[int, int]],
) -> F64:
    table, nothing = view.judged.table, math.nan
    # Where compaction leaves gaps, a record's share of the bytes is not known.
    limit = _retention(table, configs, "retention.bytes", ("delete",))
    if not (limit >= 0).any():
        return np.full(len(table), nothing)
    there = () if view.topology is None else view.topology.partitions
    leaders = {(p.topic, p.number): p.leader for p in there}
    bounds = (view.bounds.get(key) for key in table.partitions)
    length = np.array([nothing if each is None else each.end - each.start for each in bounds])
    size = np.array([sizes.get(key, {}).get(leaders.get(key, -1), nothing) for key in table.partitions])
    at = table.partition
    return until_outgrown(view.judged.verdict.lag, length[at], size[at], view.judged.write_rate[at], limit)


def _retention(
    table: PairTable, configs: Mapping[str, Mapping[str, str]], key: str, policies: Container[str]
) -> F64:
    """A limit of each pair's topic, -1 without one or where nothing is deleted by it."""
    by_topic = {
        topic: float(config[key])
        for topic, config in configs.items()
        if config.get("cleanup.policy") in policies and key in config
    }
    return np.array([by_topic.get(topic, -1.0) for topic, _ in table.partitions])[table.partition]


def log_dirs_sheet(found: Mapping[int, tuple[int, Sequence[LogDir]]], topics: set[str], now_ms: int) -> Sheet:
    """Return sizes on disk of the wanted topics; each broker has the time when it was read."""
    sheet = Sheet()
    for node, (time_ms, directories) in found.items():
        if time_ms < now_ms:
            sheet.put("kafka_log_dir_snapshot_age_seconds", (now_ms - time_ms) / 1000, str(node))
        for one in directories:
            if one.total_bytes >= 0:
                sheet.put("kafka_log_dir_total_bytes", one.total_bytes, str(node), one.path)
                sheet.put("kafka_log_dir_usable_bytes", one.usable_bytes, str(node), one.path)
            for topic, number, size in one.replicas:
                if topic in topics:
                    sheet.put("kafka_log_dir_size_bytes", size, str(node), one.path, topic, str(number))
    return sheet


def configs_sheet(configs: Mapping[str, Mapping[str, str]]) -> Sheet:
    """Return topic settings."""
    sheet = Sheet()
    for topic, config in configs.items():
        for key, name, per in (
            ("retention.ms", "kafka_topic_retention_seconds", 1000),
            ("retention.bytes", "kafka_topic_retention_bytes", 1),
            ("min.insync.replicas", "kafka_topic_min_insync_replicas", 1),
        ):
            if key in config:
                number = int(config[key])
                sheet.put(name, number / per if number >= 0 else math.inf, topic)
        if "cleanup.policy" in config:
            sheet.put("kafka_topic_cleanup_policy", 1, topic, config["cleanup.policy"])
    return sheet
