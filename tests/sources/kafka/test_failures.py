"""A broker that dies during collection: nothing wrong is said, what is old is marked with its age."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.structs import OffsetAndMetadata, TopicPartition

from metricsmith.model.state import MemoryState
from metricsmith.sources.kafka.client import Client
from metricsmith.sources.kafka.observer import Observer
from metricsmith.sources.kafka.settings import Filter, KafkaConfig
from metricsmith.sources.kafka.sheets import cluster_sheet
from metricsmith.testing import kafka as real

Samples = dict[tuple[str, ...], float]
TOPIC, PARTITIONS, RECORDS = "fail-topic", 6, 20
GROUPS = [f"fail-group-{n}" for n in range(6)]
LIMIT_S = 40.0


@pytest.fixture
def admin(kafka_cluster: real.Cluster) -> Iterator[KafkaAdminClient]:
    with KafkaAdminClient(bootstrap_servers=kafka_cluster.bootstrap()) as client:
        yield client


def commit(admin: KafkaAdminClient, group: str) -> None:
    wanted = {TopicPartition(TOPIC, n): OffsetAndMetadata(5, "", -1) for n in range(PARTITIONS)}
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(Exception):
            told = admin.alter_group_offsets(group, wanted)
            if all(error is None or error.__name__ == "NoError" for error in told.values()):
                return
        time.sleep(0.05)
    raise AssertionError(f"{group} could not commit")


def wrong(samples: Samples) -> list[object]:
    """Every value of an offset, a lag or a group that is not what all along was true."""
    truth = {
        "kafka_topic_partition_current_offset": RECORDS,
        "kafka_topic_partition_oldest_offset": 0,
        "kafka_consumergroup_current_offset": 5,
        "kafka_consumergroup_current_offset_sum": 5 * PARTITIONS,
        "kafka_consumergroup_lag": RECORDS - 5,
        "kafka_consumergroup_lag_sum": (RECORDS - 5) * PARTITIONS,
        "kafka_consumergroup_committed_partitions": PARTITIONS,
        "kafka_topic_partitions": PARTITIONS,
    }
    counts = {name: sum(key[0] == name for key in samples) for name in truth}
    per = {"kafka_consumergroup_current_offset": PARTITIONS, "kafka_consumergroup_lag": PARTITIONS}
    missing = [
        (name, count)
        for name, count in counts.items()
        if name.startswith("kafka_consumergroup") and count != len(GROUPS) * per.get(name, 1)
    ]
    return missing + [(key, value) for key, value in samples.items() if truth.get(key[0], value) != value]


def test_a_broker_dies_and_comes_back(kafka_cluster: real.Cluster, admin: KafkaAdminClient) -> None:
    admin.create_topics({TOPIC: {"num_partitions": PARTITIONS, "replication_factor": 3}})
    producer = KafkaProducer(bootstrap_servers=kafka_cluster.bootstrap(), acks="all")
    for n in range(RECORDS * PARTITIONS):
        producer.send(TOPIC, value=b"x", partition=n % PARTITIONS)
    producer.flush()
    producer.close()
    for group in GROUPS:
        commit(admin, group)
    config = KafkaConfig(
        bootstrap_servers=kafka_cluster.bootstrap(),
        topics=Filter(include=TOPIC),
        groups=Filter(include="fail-group.*"),
        timeout="3s",
        keep_for="1h",
    )
    now_ms = [1_700_000_000_000]
    observer = Observer(config, MemoryState(), lambda: now_ms[0])
    client = Client(config)

    def read(after_ms: int = 100) -> Samples:
        now_ms[0] += after_ms
        client.begin_round()
        observer.read(client)
        sheet = cluster_sheet(observer.view, {})
        return dict(zip(sheet.keys, sheet.values, strict=True))

    def old(samples: Samples) -> float:
        return sum(value for key, value in samples.items() if key[0] == "kafka_snapshot_old_items")

    try:
        samples = read()
        deadline = time.monotonic() + LIMIT_S
        while observer.view.troubles:  # a cluster that has just started moves its leaders about
            assert time.monotonic() < deadline
            samples = read()
        assert wrong(samples) == []
        assert old(samples) == 0

        kafka_cluster.broker(2).kill()
        began = time.monotonic()
        samples = read(15_000)
        assert time.monotonic() - began < 10, "one time-out for the broker, not one per question"
        assert wrong(samples) == []
        assert observer.view.troubles
        ages = {
            key: value
            for key, value in samples.items()
            if key[0] == "kafka_topic_partition_snapshot_age_seconds"
        }
        assert ages, "the partitions that it led are old"
        assert set(ages.values()) == {15.0}
        assert samples["kafka_snapshot_age_seconds", "offsets"] == 15
        groups = sum(key[0] == "kafka_consumergroup_snapshot_age_seconds" for key in samples)
        fresh = (PARTITIONS - len(ages)) * (len(GROUPS) - groups)
        assert samples["kafka_snapshot_old_items", "lag"] == PARTITIONS * len(GROUPS) - fresh

        deadline = time.monotonic() + LIMIT_S
        while old(samples):
            assert time.monotonic() < deadline, observer.view.troubles
            samples = read()
            assert wrong(samples) == []
        assert samples["kafka_brokers",] == 2
        under = [v for k, v in samples.items() if k[0] == "kafka_topic_partition_under_replicated_partition"]
        assert under == [1] * PARTITIONS

        kafka_cluster.broker(2).start()
        deadline = time.monotonic() + LIMIT_S
        while samples["kafka_brokers",] != 3 or old(samples):
            assert time.monotonic() < deadline, observer.view.troubles
            samples = read()
            assert wrong(samples) == []
    finally:
        client.close()
        if kafka_cluster.broker(2).process is None:
            kafka_cluster.broker(2).start()
