"""Readings of a real Kafka outside an agent: what a broker that is away does to them."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from metricsmith.runtime import kafka_session
from metricsmith.runtime.kafka_reports import topic_rows
from metricsmith.runtime.kafka_session import KafkaSession, Snapshot
from metricsmith.sources.kafka.client import KafkaUnavailable
from metricsmith.sources.kafka.settings import KafkaConfig
from metricsmith.testing import kafka as real
from metricsmith.testing.programs import eventually

TOPIC = "session-orders"


def session_of(kafka: real.Cluster, **more: str) -> KafkaSession:
    settings = {"bootstrap_servers": kafka.bootstrap(), "topics": {"include": TOPIC}, **more}
    return KafkaSession(KafkaConfig.model_validate(settings))


def read(session: KafkaSession) -> Snapshot | None:
    """Return a reading; None when the broker took longer than the session waits."""
    try:
        return session.read()
    except KafkaUnavailable:
        return None


@pytest.fixture
def session(kafka: real.Cluster) -> Iterator[KafkaSession]:
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap())
    admin.create_topics({TOPIC: {"num_partitions": 2, "replication_factor": 1}})
    session = session_of(kafka)
    yield session
    session.close()
    admin.delete_topics([TOPIC])
    admin.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # kafka-python leaves a socket
@pytest.mark.usefixtures("session")  # it makes the topic
def test_a_broker_that_is_silent_for_a_while(kafka: real.Cluster) -> None:
    session = session_of(kafka, timeout="2s")
    before = eventually(lambda: read(session))
    assert before is not None
    os.kill(kafka.broker(1).pid, signal.SIGSTOP)
    os.waitpid(kafka.broker(1).pid, os.WUNTRACED)  # all its threads have stopped
    try:
        with pytest.raises(KafkaUnavailable):
            session.read()
    finally:
        os.kill(kafka.broker(1).pid, signal.SIGCONT)
    now = eventually(lambda: read(session))
    assert now is not None
    assert now.values[("kafka_up",)] == 1 and now.time_ms > before.time_ms
    assert session.take_remarks() == [], "what was told as an error is not told again"
    assert [row.records_per_second for row in topic_rows(now, before)] == [0.0]
    session.close()


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
    first, last = session.observe(0.001, lambda done, total: None, readings=2)
    assert first.time_ms < last.time_ms


@pytest.mark.parametrize(
    ("seconds", "readings", "takes_s", "wanted"),
    [
        (0, 6, 0.25, [0]),
        (1, 2, 0.25, [0, 1]),
        (1, 2, 5, [0, 5]),
        (2.5, 6, 0.25, [0, 1, 2, 2.5]),  # at most one a second, and one at the end
        (2.5, 6, 1.5, [0, 1.5]),
        (10, 6, 0.25, [0, 2, 4, 6, 8, 10]),
    ],
)
def test_times_are_spread_over_an_observation(
    monkeypatch: pytest.MonkeyPatch, seconds: float, readings: int, takes_s: float, wanted: list[float]
) -> None:
    now, read_at, told = 0.0, list[float](), list[tuple[float, float]]()

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    def reading(sizes: bool) -> Snapshot:
        read_at.append(now)
        sleep(takes_s)
        return Snapshot(0, {})

    session = KafkaSession(KafkaConfig.model_validate({"bootstrap_servers": "127.0.0.1:1"}))
    monkeypatch.setattr(session, "read", reading)
    monkeypatch.setattr(kafka_session, "time", SimpleNamespace(monotonic=lambda: now, sleep=sleep))
    assert len(session.observe(seconds, lambda *done: told.append(done), readings)) == len(wanted)
    assert read_at == pytest.approx(wanted)
    assert all(0 <= done <= total == seconds for done, total in told)
    assert bool(told) == (seconds > 0 and takes_s < 1), "told of while it waits"
