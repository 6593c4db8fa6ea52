"""The source as the agent runs it: what it emits, how it ends, and what stops nothing."""

from __future__ import annotations

import asyncio
import math
import threading
from typing import Any

import pytest

from metricsmith.errors import DiskFull
from metricsmith.model.state import MemoryState
from metricsmith.sources.kafka import source as source_module
from metricsmith.sources.kafka.client import Client
from metricsmith.sources.kafka.observer import Observer
from metricsmith.testing import kafka as real


async def test_the_source_emits_what_is_there_and_marks_what_has_gone(live: Any, run: Any) -> None:
    await asyncio.to_thread(live.create, "lag-run", retention_ms="60000")
    await asyncio.to_thread(live.commit, "lag-run-group", "lag-run", 0)
    source = run(
        bootstrap_servers=live.bootstrap,
        topics={"include": "lag-run"},
        groups={"include": "lag-run.*"},
        interval="100ms",
        configs_interval="1h",
        log_dirs_interval="100ms",
    )
    lag = {"consumergroup": "lag-run-group", "topic": "lag-run", "partition": "0"}
    await source.until(lambda: any(name == "kafka_log_dir_size_bytes" for name, _ in source.samples))
    await source.until(lambda: source.value("kafka_topic_retention_seconds", topic="lag-run") == 60)
    await source.until(lambda: source.value("kafka_consumergroup_lag", **lag) == 0)
    await asyncio.to_thread(live.admin.delete_groups, ["lag-run-group"])
    ended = ("kafka_consumergroup_lag", frozenset(lag.items()))
    await source.until(lambda: ended in source.ended)
    assert source.value("kafka_up") == 1


async def test_what_is_read_seldom_is_shown_in_every_round(live: Any, run: Any) -> None:
    """A query looks back for five minutes: a value that is emitted once an hour would mostly be away."""
    await asyncio.to_thread(live.create, "lag-seldom")
    source = run(
        bootstrap_servers=live.bootstrap,
        topics={"include": "lag-seldom"},
        interval="100ms",
        configs_interval="1h",
        log_dirs_interval="0s",
        tombstones={"mode": "off"},
    )
    await source.until(lambda: source.value("kafka_topic_retention_seconds", topic="lag-seldom") is not None)
    for _ in range(2):
        source.samples.clear()
        await source.until(lambda: source.value("kafka_topic_min_insync_replicas", topic="lag-seldom") == 1)


async def test_a_cluster_that_is_read_seldom_is_shown_with_its_age(
    live: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "SHOWN_EVERY_MS", 100)
    await asyncio.to_thread(live.create, "lag-day")
    source = run(bootstrap_servers=live.bootstrap, topics={"include": "lag-day"}, interval="1d")
    end, ages = {"topic": "lag-day", "partition": "0"}, [0.0]
    for _ in range(3):
        await source.until(
            lambda: (source.value("kafka_snapshot_age_seconds", part="offsets") or 0) > ages[-1]
        )
        assert source.value("kafka_up") == 1
        assert source.value("kafka_topic_partition_current_offset", **end) == 0
        ages.append(source.value("kafka_snapshot_age_seconds", part="offsets"))
        assert source.value("kafka_snapshot_old_items", part="offsets") == 0


async def test_what_may_be_deleted_by_size_is_told_beside_what_may_by_time(live: Any, run: Any) -> None:
    topic = "lag-size"
    await asyncio.to_thread(live.create, topic, retention_bytes="100000", retention_ms="3600000")
    await asyncio.to_thread(live.write, topic, [b"v" * 1000] * 10)
    await asyncio.to_thread(live.commit, "lag-size-group", topic, 4)
    source = run(
        bootstrap_servers=live.bootstrap,
        topics={"include": topic},
        groups={"include": "lag-size.*"},
        interval="100ms",
        log_dirs_interval="100ms",
    )
    lag = {"consumergroup": "lag-size-group", "topic": topic, "partition": "0"}
    by_size = "kafka_consumergroup_until_deleted_by_size_seconds"
    await source.until(lambda: source.value(by_size, **lag) == math.inf)
    by_time = source.value("kafka_consumergroup_until_deleted_seconds", **lag)
    assert by_time is not None and 3000 < by_time <= 3600
    await asyncio.to_thread(live.write, topic, [b"v" * 1000] * 10)
    await source.until(lambda: 0 < (source.value(by_size, **lag) or 0) < math.inf)


async def test_the_history_is_kept_when_the_source_ends(live: Any, run: Any) -> None:
    await asyncio.to_thread(live.create, "lag-kept")
    state = MemoryState()
    source = run(state, bootstrap_servers=live.bootstrap, topics={"include": "lag-kept"}, interval="100ms")
    end = {"topic": "lag-kept", "partition": "0"}
    for _ in range(3):
        source.samples.clear()
        await source.until(lambda: source.value("kafka_topic_partition_current_offset", **end) == 0)
    assert len(state.items("ends/reading")) == 1, "it is saved each minute"
    await source.stop()
    assert len(state.items("ends/reading")) > 1


async def test_a_history_that_cannot_be_saved_at_the_end_is_counted(live: Any, run: Any) -> None:
    class Full(MemoryState):
        def commit(self, put: Any, delete: Any = ()) -> None:
            raise DiskFull("no space")

    await asyncio.to_thread(live.create, "lag-full")
    source = run(Full(), bootstrap_servers=live.bootstrap, topics={"include": "lag-full"}, interval="100ms")
    labels = {"source": "k", "part": "history", "reason": "not_saved"}
    await source.until(lambda: source.value("kafka_up") == 1)
    before = source.telemetry.value("metricsmith_kafka_failures_total", **labels)
    await source.stop()
    assert source.telemetry.value("metricsmith_kafka_failures_total", **labels) > before


async def test_every_part_of_it_works_over_tls_with_a_password(live: Any, run: Any) -> None:
    await asyncio.to_thread(live.create, "lag-safe")
    await asyncio.to_thread(live.write, "lag-safe", [None, b"a"])
    await asyncio.to_thread(live.commit, "lag-safe-group", "lag-safe", 1)
    source = run(
        bootstrap_servers=live.cluster.bootstrap("SASL_SSL"),
        tls={"ca_file": str(live.cluster.certificates.authority)},
        sasl={"mechanism": "SCRAM-SHA-256", "username": real.USER, "password": real.PASSWORD},
        topics={"include": "lag-safe"},
        groups={"include": "lag-safe.*"},
        interval="100ms",
    )
    lag = {"consumergroup": "lag-safe-group", "topic": "lag-safe", "partition": "0"}
    await source.until(lambda: source.value("kafka_consumergroup_lag", **lag) == 1)
    await source.until(lambda: source.value("kafka_topic_tombstone_ratio_percent", topic="lag-safe") == 50)
    await source.until(lambda: source.value("kafka_consumergroup_lag_seconds_at_least", **lag) == 0)


async def test_an_answer_that_nobody_thought_of_ends_nothing(
    live: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = Observer.read
    rounds = iter([True])

    def strange(observer: Observer, client: Client) -> None:
        if next(rounds, False):
            raise TypeError("strange")
        reading(observer, client)

    monkeypatch.setattr(Observer, "read", strange)
    source = run(bootstrap_servers=live.bootstrap, interval="100ms", configs_interval="0s")
    await source.until(lambda: source.value("kafka_up") == 1)
    labels = {"source": "k", "reason": "defect"}
    assert source.telemetry.value("metricsmith_source_failures_total", **labels) == 1


@pytest.mark.usefixtures("kafka")  # for the sockets that its client leaves open
async def test_a_cluster_that_is_away_is_down_and_counted(run: Any) -> None:
    source = run(bootstrap_servers="127.0.0.1:1", timeout="200ms", interval="100ms")
    await source.until(lambda: source.value("kafka_up") == 0)
    labels = {"source": "k", "part": "metadata", "reason": "unreachable"}
    assert source.telemetry.value("metricsmith_kafka_failures_total", **labels) >= 1


@pytest.mark.usefixtures("kafka")
async def test_a_silent_broker_does_not_hold_up_the_end(run: Any, silent_server: Any) -> None:
    source = run(bootstrap_servers=silent_server.address, timeout="6s", interval="100ms")
    await silent_server.heard.wait()
    await source.stop()
    assert any(thread.name.startswith("kafka-k") for thread in threading.enumerate()), "one still waits"
