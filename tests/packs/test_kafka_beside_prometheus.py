"""A real Prometheus with the shipped file gives the same scores, time by time, as a cluster goes its ways."""

from __future__ import annotations

import json
import random
import time
import urllib.parse
import urllib.request
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metricsmith.model.labels import NAME_LABEL, decode_labels, encode_labels, metric_name
from metricsmith.model.series import SeriesTable
from metricsmith.packs import rule_file
from metricsmith.promql import EngineConfig
from metricsmith.rules.files import read_rule_file
from metricsmith.rules.round import RunningGroup
from metricsmith.rules.templates import Expander
from metricsmith.runtime.rule_bench import RuleBench
from metricsmith.testing import services
from metricsmith.testing.clock import FakeClock
from metricsmith.testing.remote_read import read_request, read_samples
from metricsmith.wire.remote_write_encode import encode_series_labels, encode_write_request

LOOKBACK_MS = 3_000
SECONDS = 5
CONFIG = EngineConfig(closed_windows=True, lookback_ms=LOOKBACK_MS)  # as the release that runs here
Samples = dict[bytes, list[tuple[int, float]]]


@pytest.mark.usefixtures("promtool")  # it comes with the server, and says when both are missing
def test_scores_are_those_of_prometheus(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    text = rule_file("kafka").read_text()
    rules.write_text(text.replace("interval: 1m", "interval: 1s").replace("interval: 3m", "interval: 1s"))
    config = f"rule_files: ['{rules}']\nscrape_configs: []\n"
    bench = RuleBench(60_000, CONFIG)
    groups = read_rule_file(str(rules), bench.engine, 60_000).groups
    health = groups[0]
    names = {rule.name for rule in health.rules}
    with services.prometheus(
        tmp_path / "server", config, f"--query.lookback-delta={LOOKBACK_MS}ms"
    ) as server:
        begin_ms = time.time_ns() // 1_000_000 + 2_500
        data = story(begin_ms)
        post(server.url + "/api/v1/write", write_request(data))
        assert time.time_ns() // 1_000_000 < begin_ms, "it took samples too late for its first rounds"
        theirs = wait_for(server.url, begin_ms, names)
        ticks = sorted({t for samples in theirs.values() for t, _ in samples})
        asked = ticks[len(ticks) // 2]
        others = [rule.expr for group in groups[1:] for rule in group.rules]
        answers = {expr: query(server.url, expr, asked) for expr in others}

    for key, samples in data.items():
        for time_ms, value in samples:
            bench.append(key, time_ms, value)
    table = SeriesTable()
    running = RunningGroup(health, bench.engine, bench.store, table, FakeClock(), Expander())
    ours: Samples = defaultdict(list)
    for tick in ticks:
        done = running.evaluate(tick)
        assert not done.failures and done.batch is not None
        stale = done.batch.stales().tolist()
        for row, number in enumerate(done.batch.layout.ids.tolist()):
            key, value = table.key(number), float(done.batch.value[row])
            bench.append(key, tick, value, stale[row])
            if not stale[row]:
                ours[key].append((tick, value))

    assert ours.keys() == theirs.keys()
    for key, samples in theirs.items():
        assert [t for t, _ in ours[key]] == [t for t, _ in samples], key
        expected = pytest.approx([v for _, v in samples], rel=1e-9, abs=1e-9)
        assert [v for _, v in ours[key]] == expected, key
    assert {metric_name(key) for key in theirs} >= names - {"kafka_health_weight:override"}
    spread = [v for key in theirs if metric_name(key) == "kafka_health_score" for _, v in theirs[key]]
    assert len({round(v) for v in spread}) > 10, "the story must move the scores"

    for expr, answer in answers.items():
        found = bench.engine.instant(expr, asked)
        mine = {
            encode_labels({n: v for n, v in decode_labels(key).items() if n != NAME_LABEL}): value
            for key, value in zip(found.keys, found.values.tolist(), strict=True)
        }
        assert mine == pytest.approx(answer, rel=1e-6, abs=1e-6), expr
    assert sum(map(bool, answers.values())) > 8, "the story must make alerts hold"


def story(begin_ms: int) -> Samples:
    """Return three topics, two groups, two brokers: counts and lags wander, some values are not there."""
    chance = random.Random(11)
    times = [begin_ms + 500 * step for step in range(2 * SECONDS + 6)]
    found: Samples = {}

    def put(name: str, low: float, high: float, **labels: str) -> None:
        rows = []
        absent = 0
        for time_ms in times:
            if absent == 0 and chance.random() < 0.03:
                absent = chance.randrange(6, 12)  # longer than the lookback
            absent = max(0, absent - 1)
            if not absent:
                rows.append((time_ms, float(chance.randint(int(low), int(high)))))
        found[encode_labels({NAME_LABEL: name, "instance": "k", **labels})] = rows

    put("kafka_up", 0, 1)
    put("kafka_controller_id", -1, 2)
    for part in ("metadata", "offsets"):
        put("kafka_snapshot_age_seconds", 0, 650, part=part)
    for broker in "12":
        put("kafka_broker_leaders", 0, 9, id=broker)
        put("kafka_broker_replicas", 5, 9, id=broker)
        put("kafka_log_dir_total_bytes", 100, 100, broker=broker, log_dir="/d")
        put("kafka_log_dir_usable_bytes", 1, 20, broker=broker, log_dir="/d")
    for topic, partitions in (("t", 3), ("u", 1), ("empty", 2)):
        put("kafka_topic_partitions", partitions, partitions, topic=topic)
        put("kafka_topic_tombstone_ratio_percent", 0, 100, topic=topic)
        put("kafka_topic_min_insync_replicas", 2, 2, topic=topic)
        put("kafka_topic_retention_seconds", 100_000, 100_000, topic=topic)
        for partition in range(partitions):
            at = {"topic": topic, "partition": str(partition)}
            put("kafka_topic_partition_leader", -1, 2, **at)
            put("kafka_topic_partition_in_sync_replica", 0, 3, **at)
            put("kafka_topic_partition_under_replicated_partition", 0, 1, **at)
            put("kafka_topic_partition_oldest_offset", 0, 0, **at)
            size = 0 if topic == "empty" else 100
            put("kafka_log_dir_size_bytes", size // 2, size, broker="1", log_dir="/d", **at)
            offsets = [(t, float(size * (n + partition))) for n, t in enumerate(times)]
            found[
                encode_labels({NAME_LABEL: "kafka_topic_partition_current_offset", "instance": "k", **at})
            ] = offsets
            if partition == 1:
                put("kafka_topic_partition_snapshot_age_seconds", 0, 650, **at)
    for group, topics in (("g", {"t": 3, "u": 1}), ("h", {"t": 3})):
        put("kafka_consumergroup_info", 1, 1, consumergroup=group, state="Stable", kind="", coordinator="1")
        put("kafka_consumergroup_committed_partitions", 4, 4, consumergroup=group)
        put("kafka_consumergroup_snapshot_age_seconds", 0, 650, consumergroup=group)
        for topic, partitions in topics.items():
            for partition in range(partitions):
                at = {"consumergroup": group, "topic": topic, "partition": str(partition)}
                put("kafka_consumergroup_lag", 0, 100, **at)
                put("kafka_consumergroup_lag_seconds", 0, 2000, **at)
                put("kafka_consumergroup_lag_seconds_at_least", 0, 0 if topic == "t" else 1, **at)
                put("kafka_consumergroup_until_deleted_seconds", 0, 30_000, **at)
                put("kafka_consumergroup_until_deleted_by_size_seconds", 0, 500, **at)
                reason = chance.choice(["stalled", "lost", "growing", "caught_up"])
                put("kafka_consumergroup_lag_state", 1, 1, reason=reason, **at)
    return found


def wait_for(url: str, begin_ms: int, names: set[str]) -> Samples:
    """Return what it recorded from the first sample to the last whole round."""
    end_ms = begin_ms + SECONDS * 1000
    deadline = time.monotonic() + SECONDS + 60
    while True:
        body = post(
            url + "/api/v1/read",
            read_request([(NAME_LABEL, "=~", "|".join(names))], begin_ms, end_ms + 60_000),
        )
        found = read_samples(body)
        ticks = sorted({t for series in found for t, _ in series.samples})
        if ticks and ticks[-1] >= end_ms:
            break
        assert time.monotonic() < deadline, f"it evaluated at {ticks}"
        time.sleep(0.5)  # nobody tells when a foreign server has evaluated
    recorded: Samples = {}
    for series in found:
        values = [(t, float(np.uint64(bits).view(np.float64))) for t, bits in series.samples]
        kept = [(t, value) for t, value in values if t < ticks[-1] and not np.isnan(value)]
        if kept:
            recorded[series.key] = kept
    return recorded


def query(url: str, expr: str, time_ms: int) -> dict[bytes, float]:
    question = urllib.parse.urlencode({"query": expr, "time": time_ms / 1000})
    data: Any = json.loads(post(f"{url}/api/v1/query", question.encode()))["data"]
    return {
        encode_labels({n: v for n, v in each["metric"].items() if n != NAME_LABEL}): float(each["value"][1])
        for each in data["result"]
    }


def write_request(data: Samples) -> bytes:
    flat = [sample for samples in data.values() for sample in samples]
    return encode_write_request(
        [encode_series_labels(key) for key in data],
        [len(samples) for samples in data.values()],
        np.array([time_ms for time_ms, _ in flat], dtype=np.int64),
        np.array([value for _, value in flat]),
        np.zeros(len(flat), dtype=bool),
    )


def post(url: str, body: bytes) -> bytes:
    kind = "application/x-www-form-urlencoded" if url.endswith("query") else "application/x-protobuf"
    headers = {"Content-Type": kind} | ({} if url.endswith("query") else {"Content-Encoding": "snappy"})
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60) as answer:
        return bytes(answer.read())
