"""What is known of a cluster, written as samples."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from metricsmith.sources.kafka.admin import LogDir, Topology
from metricsmith.sources.kafka.catchup import of_topic
from metricsmith.sources.kafka.lag import REASONS, UNKNOWN, until_deleted
from metricsmith.sources.kafka.metrics import Sheet
from metricsmith.sources.kafka.observer import PairKey, PairState, View


def cluster_sheet(view: View, configs: Mapping[str, Mapping[str, str]]) -> Sheet:
    """Return brokers, topics, groups, offsets and lag; old values are marked with their age."""
    sheet = Sheet()
    sheet.put("kafka_up", float(view.up))
    if view.topology is not None:
        _age(sheet, "metadata", view.time_ms, [view.topology_ms], _round_ms(view))
        _topology(sheet, view.topology)
    _offsets(sheet, view)
    _groups(sheet, view)
    _pairs(sheet, view, configs)
    return sheet


def _round_ms(view: View) -> int:
    """How much older than the ends of logs, which are read last, something of the same round may be."""
    return view.time_ms - view.topology_ms if view.up else 0


def _age(sheet: Sheet, part: str, now_ms: int, times: Iterable[int], limit_ms: int = 0) -> None:
    old = [now_ms - time for time in times if now_ms - time > limit_ms]
    sheet.put("kafka_snapshot_age_seconds", max(old, default=0) / 1000, part)
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


def _offsets(sheet: Sheet, view: View) -> None:
    _age(sheet, "offsets", view.time_ms, [b.time_ms for b in view.bounds.values()])
    for (topic, number), bounds in view.bounds.items():
        at = (topic, str(number))
        sheet.put("kafka_topic_partition_current_offset", bounds.end, *at)
        sheet.put("kafka_topic_partition_oldest_offset", bounds.start, *at)
        if bounds.time_ms < view.time_ms:
            age = (view.time_ms - bounds.time_ms) / 1000
            sheet.put("kafka_topic_partition_snapshot_age_seconds", age, *at)


def _groups(sheet: Sheet, view: View) -> None:
    behind = _round_ms(view)
    times = {name: _oldest(view, name) for name in view.groups}
    _age(sheet, "groups", view.time_ms, times.values(), behind)
    for name, (_, group) in view.groups.items():
        sheet.put("kafka_consumergroup_info", 1, name, group.state, group.kind, str(group.coordinator))
        if group.members is not None:
            sheet.put("kafka_consumergroup_members", group.members, name)
        if (commits := view.commits.get(name)) is not None:
            sheet.put("kafka_consumergroup_committed_partitions", len(commits.offsets), name)
        if view.time_ms - times[name] > behind:
            age = (view.time_ms - times[name]) / 1000
            sheet.put("kafka_consumergroup_snapshot_age_seconds", age, name)


def _oldest(view: View, name: str) -> int:
    described = view.groups[name][0]
    commits = view.commits.get(name)
    return described if commits is None else min(described, commits.time_ms)


def _pairs(sheet: Sheet, view: View, configs: Mapping[str, Mapping[str, str]]) -> None:
    _age(sheet, "lag", view.time_ms, [state.time_ms for state in view.pairs.values()])
    topics: dict[tuple[str, str], list[PairState]] = defaultdict(list)
    for (name, topic, number), state in view.pairs.items():
        topics[name, topic].append(state)
        _pair(sheet, (name, topic, number), state, configs.get(topic, {}))
    expected = _committed_partitions(view)
    for at, states in topics.items():
        committed = [state for state in states if state.committed != UNKNOWN]
        if not committed or len(committed) < expected[at]:  # a sum over some of them would be wrong
            continue
        sheet.put("kafka_consumergroup_current_offset_sum", sum(s.committed for s in committed), *at)
        sheet.put("kafka_consumergroup_lag_sum", sum(float(s.verdict.lag[s.row]) for s in committed), *at)
        seconds = np.array([s.verdict.catch_up.seconds[s.row] for s in committed])
        [longest] = of_topic(seconds, np.zeros(len(seconds), dtype=np.int64), 1)
        _known(sheet, "kafka_consumergroup_topic_catch_up_seconds", float(longest), at)


def _committed_partitions(view: View) -> Counter[tuple[str, str]]:
    there = () if view.topology is None else view.topology.partitions
    partitions = {(p.topic, p.number) for p in there}
    return Counter(
        (name, topic)
        for name, commits in view.commits.items()
        for topic, number in commits.offsets
        if (topic, number) in partitions
    )


def _pair(sheet: Sheet, pair: PairKey, state: PairState, config: Mapping[str, str]) -> None:
    at, verdict, row = (pair[0], pair[1], str(pair[2])), state.verdict, state.row
    sheet.put("kafka_consumergroup_lag_state", 1, *at, REASONS[verdict.reason[row]])
    if state.committed == UNKNOWN:
        return
    sheet.put("kafka_consumergroup_current_offset", state.committed, *at)
    sheet.put("kafka_consumergroup_lag", float(verdict.lag[row]), *at)
    seconds = float(verdict.seconds[row])
    if not math.isnan(seconds):
        sheet.put("kafka_consumergroup_lag_seconds", seconds, *at)
        sheet.put("kafka_consumergroup_lag_seconds_at_least", bool(verdict.at_least[row]), *at)
    _known(sheet, "kafka_consumergroup_lag_trend", float(verdict.trend.slope[row]), at)
    predicted = verdict.catch_up
    _known(sheet, "kafka_consumergroup_catch_up_seconds", float(predicted.seconds[row]), at)
    _known(sheet, "kafka_consumergroup_catch_up_seconds_low", float(predicted.low[row]), at)
    _known(sheet, "kafka_consumergroup_catch_up_seconds_high", float(predicted.high[row]), at)
    if "delete" in config.get("cleanup.policy", "") and "retention.ms" in config:
        left = until_deleted(np.array([seconds]), np.array([int(config["retention.ms"])]))
        _known(sheet, "kafka_consumergroup_until_deleted_seconds", float(left[0]), at)


def _known(sheet: Sheet, name: str, value: float, at: Sequence[str]) -> None:
    if not math.isnan(value):
        sheet.put(name, value, *at)


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
