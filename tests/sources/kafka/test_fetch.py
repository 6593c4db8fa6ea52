"""Ranges of a real Kafka's logs are read to their end, or given up with a reason, one without the other."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from confluent_kafka import Producer
from kafka import KafkaAdminClient, TopicPartition
from kafka.errors import NodeNotReadyError
from kafka.protocol.consumer import FetchResponse

from metricsmith.sources.kafka.admin import Partition, Topology, topology
from metricsmith.sources.kafka.client import Client, _failure
from metricsmith.sources.kafka.fetch import FetchSettings, LogReader, Range
from metricsmith.sources.kafka.offsets import log_offsets
from metricsmith.sources.kafka.records import Piece, count_batches
from metricsmith.sources.kafka.settings import Connection
from metricsmith.testing import kafka as real


@pytest.fixture
def client(kafka: real.Cluster) -> Iterator[Client]:
    client = Client(Connection(bootstrap_servers=kafka.bootstrap()))
    yield client
    client.close()


@pytest.fixture
def admin(kafka: real.Cluster) -> Iterator[KafkaAdminClient]:
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap())
    yield admin
    admin.close()


def write(
    bootstrap: str, topic: str, count: int, partitions: int = 1, value: bytes = b"v", **more: Any
) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "log_level": 0} | more)
    for number in range(count):
        producer.produce(topic, value, partition=number % partitions)
    assert producer.flush(30) == 0


def partitions(client: Client, topic: str) -> list[Partition]:
    found = topology(client)
    assert isinstance(found, Topology)
    return [each for each in found.partitions if each.topic == topic]


def whole(client: Client, topic: str) -> list[Range]:
    found = partitions(client, topic)
    offsets = log_offsets(client, found, read_committed=False)
    return [
        Range(each, start, end)
        for each, start, end in zip(found, offsets.start.tolist(), offsets.end.tolist(), strict=True)
    ]


def read(reader: LogReader, ranges: Sequence[Range]) -> Counter[int]:
    """Return the records read per partition."""
    seen: Counter[int] = Counter()
    for chunks in reader.read(ranges):
        for chunk in chunks:
            records = count_batches([Piece(chunk.data, chunk.asked, chunk.aborted)]).records
            seen[chunk.range.partition.number] += int(records.sum())
    return seen


@pytest.mark.parametrize(
    "settings",
    [
        FetchSettings(),
        FetchSettings(partition_bytes=4096, answer_bytes=20_000),
        FetchSettings(requests_per_broker=1),
    ],
    ids=["usual", "small answers", "one request"],
)
@pytest.mark.parametrize("batch_size", [100, 16_384, 900_000])
def test_all_is_read_whatever_the_size_of_batches_and_answers(
    kafka: real.Cluster, client: Client, admin: KafkaAdminClient, settings: FetchSettings, batch_size: int
) -> None:
    topic = f"fetch-{batch_size}"
    if topic not in admin.list_topics():
        admin.create_topics({topic: {"num_partitions": 3, "replication_factor": 1}})
        write(kafka.bootstrap(), topic, 3000, 3, b"v" * 300, **{"batch.size": batch_size})
    ranges = whole(client, topic)
    assert read(LogReader(client, settings), ranges) == {0: 1000, 1: 1000, 2: 1000}
    assert all(each.at >= each.end and not each.failed and not each.skipped for each in ranges)


def test_many_windows_of_one_partition_are_read_side_by_side(
    kafka: real.Cluster, client: Client, admin: KafkaAdminClient
) -> None:
    admin.create_topics({"fetch-windows": {"num_partitions": 1, "replication_factor": 1}})
    write(kafka.bootstrap(), "fetch-windows", 1000, **{"batch.num.messages": 10, "linger.ms": 0})
    [partition] = partitions(client, "fetch-windows")
    ranges = [Range(partition, at, at + 1) for at in range(0, 1000, 20)]
    seen = read(LogReader(client), ranges)
    assert all(each.at > each.end - 1 and not each.failed for each in ranges)
    assert len(ranges) <= seen[0] <= 1000


def test_offsets_that_retention_took_are_passed_over_and_told(
    kafka: real.Cluster, client: Client, admin: KafkaAdminClient
) -> None:
    admin.create_topics({"fetch-retention": {"num_partitions": 1, "replication_factor": 1}})
    write(kafka.bootstrap(), "fetch-retention", 1000)
    [each] = whole(client, "fetch-retention")
    admin.delete_records({TopicPartition("fetch-retention", 0): 300})
    troubles: list[str] = []
    assert read(LogReader(client, None, lambda reason, message: troubles.append(reason)), [each]) == {0: 700}
    assert each.skipped == 300 and troubles == ["log_start_moved"]


class Throttled(Client):
    """A client of a broker whose quota is used up: it grants nothing, and then the connection rests."""

    def __init__(self, settings: Connection) -> None:
        super().__init__(settings)
        granted = FetchResponse(throttle_time_ms=150, error_code=0, session_id=0, responses=[])
        self.refusals = [_failure(1, NodeNotReadyError("Node paused: {'throttle'}")), granted, granted]

    def begin(self, node: int, request: Any, limit_ms: int, done: Callable[[Any], None]) -> None:
        if self.refusals:
            done(self.refusals.pop())
        else:
            super().begin(node, request, limit_ms, done)


def test_a_quota_is_waited_for_however_little_patience_there_is(
    kafka: real.Cluster, admin: KafkaAdminClient
) -> None:
    admin.create_topics({"fetch-quota": {"num_partitions": 2, "replication_factor": 1}})
    write(kafka.bootstrap(), "fetch-quota", 10, 2)
    client = Throttled(Connection(bootstrap_servers=kafka.bootstrap()))
    try:
        ranges, problems = whole(client, "fetch-quota"), []
        settings = FetchSettings(patience_s=-1, requests_per_broker=1)
        began = time.monotonic()
        seen = read(LogReader(client, settings, lambda reason, message: problems.append(reason)), ranges)
    finally:
        client.close()
    assert seen == {0: 5, 1: 5} and not any(each.failed for each in ranges)
    assert problems == ["throttled"] * 3
    assert time.monotonic() - began >= 0.3


def test_a_log_that_ends_early_is_given_up(
    kafka: real.Cluster, client: Client, admin: KafkaAdminClient
) -> None:
    admin.create_topics({"fetch-truncated": {"num_partitions": 1, "replication_factor": 1}})
    [partition] = partitions(client, "fetch-truncated")
    beyond = Range(partition, 500, 1000)
    assert read(LogReader(client), [beyond]) == {}
    assert beyond.failed == "truncated" and beyond.at == 500


def test_reading_stops_when_told(kafka: real.Cluster, client: Client, admin: KafkaAdminClient) -> None:
    admin.create_topics({"fetch-stop": {"num_partitions": 1, "replication_factor": 1}})
    write(kafka.bootstrap(), "fetch-stop", 1000, value=b"v" * 1000, **{"batch.size": 5000})
    [each] = whole(client, "fetch-stop")
    answers: Counter[int] = Counter()
    reader = LogReader(client, FetchSettings(partition_bytes=10_000))
    for chunks in reader.read([each], lambda: answers.total() > 0):
        answers[len(chunks)] += 1
    assert answers == {1: 1} and 0 < each.at < each.end and not each.failed
    assert read(reader, [each])[0] > 0 and each.at >= each.end, "what is left can be read later"


def test_a_broker_that_dies_leaves_nothing_unread(kafka_cluster: real.Cluster) -> None:
    admin = KafkaAdminClient(bootstrap_servers=kafka_cluster.bootstrap())
    admin.create_topics({"fetch-failover": {"num_partitions": 6, "replication_factor": 3}})
    write(
        kafka_cluster.bootstrap(), "fetch-failover", 12_000, 6, b"v" * 500, acks="all", **{"batch.size": 5000}
    )
    admin.close()
    client = Client(Connection(bootstrap_servers=kafka_cluster.bootstrap()))
    ranges = whole(client, "fetch-failover")
    victim = kafka_cluster.broker(ranges[0].partition.leader)
    troubles: Counter[str] = Counter()
    reader = LogReader(
        client,
        FetchSettings(partition_bytes=10_000, timeout_s=5, patience_s=30),
        lambda reason, message: troubles.update([reason]),
    )
    seen: Counter[int] = Counter()
    try:
        for chunks in reader.read(ranges):
            if victim.process is not None:
                victim.kill()
            for chunk in chunks:
                records = count_batches([Piece(chunk.data, chunk.asked, chunk.aborted)]).records
                seen[chunk.range.partition.number] += int(records.sum())
        assert seen == dict.fromkeys(range(6), 2000) and not any(each.failed for each in ranges)
        assert troubles, "the death was counted"
        assert all(each.partition.leader != victim.node_id for each in ranges if each.end - each.at <= 0)
    finally:
        client.close()
        victim.start()


def test_leaders_that_hand_over_in_good_order_leave_nothing_unread(kafka_cluster: real.Cluster) -> None:
    topic, numbers = "fetch-handover", range(6)
    admin = KafkaAdminClient(bootstrap_servers=kafka_cluster.bootstrap())
    admin.create_topics({topic: {"num_partitions": len(numbers), "replication_factor": 3}})
    write(kafka_cluster.bootstrap(), topic, 3000, 6, b"v" * 500, acks="all", **{"batch.size": 5000})
    client = Client(Connection(bootstrap_servers=kafka_cluster.bootstrap()))
    ranges = whole(client, topic)
    leaders = [each.partition.leader for each in ranges]
    # The same replicas with another one first: it shall lead, as soon as an election is held.
    preferred = [leader % 3 + 1 for leader in leaders]
    order = {
        TopicPartition(topic, number): sorted((1, 2, 3), key=lambda node, first=first: node != first)  # type: ignore[misc]
        for number, first in zip(numbers, preferred, strict=True)
    }
    admin.alter_partition_reassignments(order)
    reader = LogReader(client, FetchSettings(partition_bytes=10_000, patience_s=30))
    seen: Counter[int] = Counter()
    try:
        for chunks in reader.read(ranges):
            if not seen:
                admin.elect_leaders(0, {topic: list(numbers)})
            for chunk in chunks:
                records = count_batches([Piece(chunk.data, chunk.asked, chunk.aborted)]).records
                seen[chunk.range.partition.number] += int(records.sum())
        assert seen == dict.fromkeys(numbers, 500) and not any(each.failed for each in ranges)
        assert [each.leader for each in partitions(client, topic)] == preferred
    finally:
        client.close()
        admin.close()
