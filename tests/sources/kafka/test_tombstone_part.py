"""Checks of tombstones in a running source: right, and apart from the other readings."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from metricsmith.errors import SourceError
from metricsmith.model.state import MemoryState
from metricsmith.sources.kafka.settings import KafkaConfig
from metricsmith.sources.kafka.tombstones import TombstoneScan


def settings(live: Any, topic: str, **tombstones: Any) -> dict[str, Any]:
    return {
        "bootstrap_servers": live.bootstrap,
        "topics": {"include": f"{topic}.*"},
        "interval": "100ms",
        "configs_interval": "0s",
        "log_dirs_interval": "0s",
        "tombstones": {"interval": "200ms"} | tombstones,
    }


@pytest.mark.parametrize("mode", ["sampled", "exact"])
async def test_what_a_check_finds_is_emitted(live: Any, run: Any, mode: str) -> None:
    topic = f"dead-found-{mode}"
    await asyncio.to_thread(live.create, topic, 2)
    await asyncio.to_thread(live.write, topic, [None, b"a", b"", b"b"] * 10)
    source = run(**settings(live, topic, mode=mode))
    whole = "kafka_topic_tombstone_"
    await source.until(lambda: source.value(whole + "ratio_percent", topic=topic) is not None)
    found = {
        name: source.value(name, topic=topic)
        for name in (
            "kafka_topic_tombstones",
            "kafka_topic_empty_values",
            whole + "check_records",
            whole + "ratio_percent",
            whole + "interval_low_percent",
            whole + "interval_high_percent",
            whole + "coverage",
        )
    }
    assert list(found.values()) == [10, 10, 40, 25, 25, 25, 1]
    part = "kafka_topic_partition_tombstone_"
    assert source.value(part + "ratio_percent", topic=topic, partition="0") == 25
    assert source.value(part + "ratio_percent", topic=topic, partition="1") == 0, "an empty log"
    checked = source.value(whole + "check_timestamp_seconds", topic=topic)
    now_s = source.context.clock.now_ms() / 1000
    assert now_s - 30 < checked <= now_s
    assert 0 <= source.value("kafka_snapshot_age_seconds", part="tombstones") < 30
    assert source.value("kafka_snapshot_old_items", part="tombstones") == 0
    await asyncio.to_thread(live.write, topic, [None] * 10)
    await source.until(lambda: source.value("kafka_topic_tombstones", topic=topic) == 20)
    later = source.value(whole + "check_timestamp_seconds", topic=topic)
    assert later > checked, "the age of a check is told"
    await asyncio.to_thread(live.admin.delete_topics, [topic])
    await source.until(lambda: whole + "coverage" not in names(source))


def names(source: Any) -> set[str]:
    return {name for name, _ in source.samples}


async def test_exact_checks_go_on_after_a_restart_where_they_were(live: Any, run: Any) -> None:
    topic, state = "dead-again", MemoryState()
    await asyncio.to_thread(live.create, topic)
    await asyncio.to_thread(live.write, topic, [None, b"a"] * 50)
    first = run(state, **settings(live, topic, mode="exact"))
    await first.until(lambda: first.value("kafka_topic_tombstones", topic=topic) == 50)
    await first.stop()
    await asyncio.to_thread(live.write, topic, [None])
    # Room for what is new only.
    second = run(state, **settings(live, topic, mode="exact", max_records=1))
    await second.until(lambda: second.value("kafka_topic_tombstones", topic=topic) == 51)
    assert second.value("kafka_topic_tombstone_coverage", topic=topic) == 1


async def test_a_long_check_delays_nothing_and_ends_with_the_source(
    live: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, ended = threading.Event(), threading.Event()

    def forever(scan: object, topics: object, mode: object, cancelled: Callable[[], bool]) -> list[Any]:
        begun.set()
        while not cancelled():
            ended.wait(0.01)
        ended.set()
        return []

    monkeypatch.setattr(TombstoneScan, "check", forever)
    await asyncio.to_thread(live.create, "dead-long")
    source = run(**settings(live, "dead-long"))
    assert await asyncio.to_thread(begun.wait, 60)
    end = {"topic": "dead-long", "partition": "0"}
    for _ in range(3):
        source.samples.clear()
        await source.until(lambda: source.value("kafka_topic_partition_current_offset", **end) == 0)
    assert not ended.is_set()
    await source.stop()
    assert ended.is_set()


async def test_a_check_that_found_no_broker_is_tried_again_before_the_next_is_due(
    live: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, check, away = "dead-retry", TombstoneScan.check, iter([True])

    def flaky(scan: TombstoneScan, *args: Any, **named: Any) -> list[Any]:
        if next(away, False):
            raise SourceError("away")
        return check(scan, *args, **named)

    monkeypatch.setattr(TombstoneScan, "check", flaky)
    monkeypatch.setattr("metricsmith.sources.kafka.tombstone_part.RETRY_MS", 100)
    await asyncio.to_thread(live.create, topic)
    source = run(**settings(live, topic, interval="1h"))
    await source.until(lambda: source.value("kafka_topic_tombstone_ratio_percent", topic=topic) == 0)
    labels = {"source": "k", "part": "tombstones", "reason": "unreachable"}
    assert source.telemetry.value("metricsmith_kafka_failures_total", **labels) == 1


async def test_a_topic_of_which_nothing_could_be_read_has_no_ratio_but_the_one_before(
    live: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = "dead-unread"
    await asyncio.to_thread(live.create, topic)
    await asyncio.to_thread(live.write, topic, [None, b"a"] * 2000)
    spent = settings(live, topic, mode="exact", max_duration="100ms")
    monkeypatch.setattr("metricsmith.sources.kafka.scan.Meter.enough", lambda meter: True)
    source = run(**spent)
    await source.until(lambda: source.value("kafka_topic_tombstone_coverage", topic=topic) == 0)
    assert "kafka_topic_tombstone_ratio_percent" not in names(source)
    assert "kafka_topic_tombstone_interval_low_percent" not in names(source)
    monkeypatch.undo()
    await source.until(lambda: source.value("kafka_topic_tombstone_ratio_percent", topic=topic) == 50)


def test_a_bare_off_of_yaml_is_off() -> None:
    assert KafkaConfig.model_validate({"tombstones": {"mode": False}}).tombstones.mode == "off"
