"""Readings of a real Kafka outside an agent: what a broker that is away does to them."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from metricsmith.runtime.kafka_reports import topic_rows
from metricsmith.runtime.kafka_session import KafkaSession
from metricsmith.sources.kafka.client import KafkaUnavailable
from metricsmith.sources.kafka.settings import KafkaConfig
from metricsmith.testing import kafka as real
from metricsmith.testing.programs import eventually

TOPIC = "session-orders"


@pytest.fixture
def session(kafka: real.Cluster) -> Iterator[KafkaSession]:
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap())
    admin.create_topics({TOPIC: {"num_partitions": 2, "replication_factor": 1}})
    settings = {"bootstrap_servers": kafka.bootstrap(), "topics": {"include": TOPIC}, "timeout": "2s"}
    session = KafkaSession(KafkaConfig.model_validate(settings))
    yield session
    session.close()
    admin.delete_topics([TOPIC])
    admin.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # kafka-python leaves a socket
def test_a_broker_that_is_silent_for_a_while(kafka: real.Cluster, session: KafkaSession) -> None:
    before = session.read()
    os.kill(kafka.broker(1).pid, signal.SIGSTOP)
    os.waitpid(kafka.broker(1).pid, os.WUNTRACED)  # all its threads have stopped
    try:
        with pytest.raises(KafkaUnavailable):
            session.read()
    finally:
        os.kill(kafka.broker(1).pid, signal.SIGCONT)
    now = session.read()
    assert now.values[("kafka_up",)] == 1 and now.time_ms > before.time_ms
    assert session.take_remarks() == [], "what was told as an error is not told again"
    assert [row.records_per_second for row in topic_rows(now, before)] == [0.0]


def committed(consumer: Consumer) -> bool:
    """Commit; a broker that has just made the topic of commits is nobody's coordinator for a moment."""
    try:
        consumer.commit(offsets=[TopicPartition(TOPIC, 0, 10)], asynchronous=False)
    except KafkaException as error:
        assert error.args[0].code() == KafkaError.NOT_COORDINATOR, error
        return False
    return True


def test_what_retention_by_size_may_delete_is_told(kafka: real.Cluster, session: KafkaSession) -> None:
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap())
    limit = ConfigResource(ConfigResourceType.TOPIC, TOPIC, {"retention.bytes": "1000000"})
    admin.alter_configs([limit])
    producer = Producer({"bootstrap.servers": kafka.bootstrap(), "log_level": 0})
    for _ in range(100):
        producer.produce(TOPIC, b"x" * 100, partition=0)
    producer.flush(20)
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap(), "group.id": "session-group"})
    eventually(lambda: committed(consumer))
    consumer.close()
    session.read(sizes=True)
    now = session.read(sizes=True)
    told = dict(now.of("kafka_consumergroup_until_deleted_by_size_seconds"))
    assert told[("session-group", TOPIC, "0")] == math.inf, "nothing is written any more"
    admin.delete_groups(["session-group"])
    admin.close()


def test_an_observation_has_two_readings_however_short(session: KafkaSession) -> None:
    told: list[tuple[float, float]] = []

    def progress(done: float, total: float) -> None:
        told.append((done, total))

    assert len(session.observe(0, progress)) == 1
    assert told == []
    first, last = session.observe(0.001, progress, readings=2)
    assert first.time_ms < last.time_ms
    assert len(session.observe(1.0, progress, readings=2)) == 2
    assert told and all(0 <= done <= total == 1.0 for done, total in told)


def test_times_are_spread_over_an_observation(session: KafkaSession) -> None:
    times = [snapshot.time_ms for snapshot in session.observe(2.5, lambda done, total: None)]
    assert 3 <= len(times) <= 4, "at most one a second, and one at the end"
    assert times[-1] - times[0] >= 2000
