"""What the source reads of a real Kafka gives scores: names and labels of source and rules fit together."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata, TopicPartition

from metricsmith.contracts import Context
from metricsmith.model.batch import Batch
from metricsmith.model.clock import SystemClock
from metricsmith.model.labels import decode_labels
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.runtime.packs import Recorded, evaluate_pack
from metricsmith.sources.kafka.settings import KafkaConfig
from metricsmith.sources.kafka.source import KafkaSource
from metricsmith.testing.kafka import Cluster

TOPIC, GROUP = "pack-orders", "pack-billing"


def fill(bootstrap: str) -> None:
    """Write 30 and 10 records, every fourth a tombstone; a group has read them all."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics({TOPIC: {"num_partitions": 2, "replication_factor": 1}})
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all")
    for partition, count in ((0, 30), (1, 10)):
        for number in range(count):
            value = None if number % 4 == 0 else b"v"
            producer.send(TOPIC, key=b"k", value=value, partition=partition)
    producer.close()
    offsets = {TopicPartition(TOPIC, p): OffsetAndMetadata(end, "", -1) for p, end in ((0, 30), (1, 10))}
    deadline = time.monotonic() + 60
    while True:  # a coordinator that has just started refuses for a moment, and tells nobody when it is ready
        assert time.monotonic() < deadline, "the group could not commit"
        with contextlib.suppress(KafkaError):
            told = admin.alter_group_offsets(GROUP, offsets)
            if all(error is None or error.__name__ == "NoError" for error in told.values()):
                break
        time.sleep(0.05)
    admin.close()


async def read(bootstrap: str) -> dict[bytes, tuple[int, float]]:
    """Return the samples of the source once it has emitted all its parts."""
    table, stop = SeriesTable(), asyncio.Event()
    found: dict[bytes, tuple[int, float]] = {}

    async def emit(batch: Batch) -> None:
        times = batch.times().tolist()
        for number, time_ms, value in zip(
            batch.layout.ids.tolist(), times, batch.value.tolist(), strict=True
        ):
            found[table.key(number)] = (time_ms, value)
        names = {decode_labels(key)["__name__"] for key in found}
        if {"kafka_topic_tombstone_ratio_percent", "kafka_log_dir_size_bytes"} <= names:
            stop.set()

    config = KafkaConfig.model_validate(
        {
            "bootstrap_servers": bootstrap,
            "topics": {"include": TOPIC},
            "groups": {"include": GROUP},
            "interval": "100ms",
            "log_dirs_interval": "100ms",
            "tombstones": {"mode": "exact"},
        }
    )
    context = Context("kafka", table, Telemetry(), SystemClock())
    await asyncio.wait_for(KafkaSource(config, context).run(emit, stop), 60)
    return found


def values(found: Recorded, name: str, label: str, **labels: str) -> dict[str, float]:
    return {
        each[label]: value
        for each, value in found.get(name, [])
        if all(each.get(key) == wanted for key, wanted in labels.items())
    }


async def test_scores_of_a_real_cluster(kafka: Cluster) -> None:
    await asyncio.to_thread(fill, kafka.bootstrap())
    samples = await read(kafka.bootstrap())
    now_ms = max(time_ms for time_ms, _ in samples.values())
    series: list[Any] = [(decode_labels(key), [t], [value]) for key, (t, value) in samples.items()]
    found = evaluate_pack("kafka", series, now_ms)

    balance = values(found, "kafka_topic_balance_score", "kind", topic=TOPIC)
    assert balance["messages"] == pytest.approx(50)
    assert 0 < balance["bytes"] < 100
    assert values(found, "kafka_cluster_balance_score", "kind") == {"leaders": 100, "replicas": 100}

    inputs = {
        scope: values(found, "kafka_health_component_input", "component", scope=scope)
        for scope in ("cluster", "topic", "group")
    }
    known = {"lag", "offline", "under_replicated", "balance", "tombstones", "freshness"}
    assert inputs["topic"].keys() == known
    assert inputs["cluster"].keys() == known | {"stuck"}
    assert inputs["group"].keys() == {"lag", "stuck", "balance", "tombstones", "freshness"}
    for each in inputs.values():
        assert each["tombstones"] == pytest.approx(27.5)  # 8 and 3 of 40
    assert inputs["group"]["lag"] == inputs["group"]["stuck"] == inputs["topic"]["offline"] == 0

    confidence = values(found, "kafka_health_confidence", "scope")
    assert confidence["cluster"] == pytest.approx(1)
    assert confidence["topic"] == pytest.approx(1 - 0.1 / 3)  # the message rate takes a second reading
    assert confidence["group"] == pytest.approx(1)
    assert all(80 < score < 100 for score in values(found, "kafka_health_score", "scope").values())
