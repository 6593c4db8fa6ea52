"""The Kafka that other tests rely on: it keeps records, survives a broker, and checks who connects."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import KafkaConnectionError, KafkaTimeoutError, NodeNotReadyError
from kafka.net import KafkaConnectionManager, NetworkSelector
from kafka.net.sasl.oauth import AbstractTokenProvider

from metricsmith.testing import kafka as real

CONNECT_LIMIT_MS, REFUSED_AFTER_MS = 60_000, 500


class UnsecuredToken(AbstractTokenProvider):
    """A token that nobody signed, as the test broker takes it."""

    def token(self) -> str:
        now = time.time()
        parts = ({"alg": "none"}, {"sub": real.USER, "iat": now, "exp": now + 3600})
        texts = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
        return ".".join(texts) + "."


def login(mechanism: str, password: str = real.PASSWORD) -> dict[str, Any]:
    return {"sasl_mechanism": mechanism, "sasl_plain_username": real.USER, "sasl_plain_password": password}


def tls(cluster: real.Cluster) -> dict[str, Any]:
    assert cluster.certificates is not None
    return {"ssl_cafile": str(cluster.certificates.authority)}


def bootstrap(
    cluster: real.Cluster, protocol: real.Protocol, limit_ms: int = CONNECT_LIMIT_MS, **settings: Any
) -> None:
    """Connect and ask for the cluster's brokers; admin clients that fail in it leave threads behind."""
    net = NetworkSelector()
    manager = KafkaConnectionManager(
        net, bootstrap_servers=cluster.bootstrap(protocol), security_protocol=protocol, **settings
    )
    try:
        manager.bootstrap(limit_ms)
    finally:
        manager.close()
        net.close()


@pytest.fixture
def admin(kafka_cluster: real.Cluster) -> Iterator[KafkaAdminClient]:
    with KafkaAdminClient(bootstrap_servers=kafka_cluster.bootstrap()) as client:
        yield client


def write(cluster: real.Cluster, topic: str, records: list[tuple[bytes, bytes | None]]) -> None:
    producer = KafkaProducer(bootstrap_servers=cluster.bootstrap(), acks="all")
    try:
        for key, value in records:
            producer.send(topic, key=key, value=value)
        producer.flush()
    finally:
        producer.close()


def read(cluster: real.Cluster, topic: str, count: int) -> list[tuple[bytes, bytes | None]]:
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=cluster.bootstrap(),
        auto_offset_reset="earliest",
        group_id=None,
        consumer_timeout_ms=60_000,
    )
    try:
        return [(record.key, record.value) for _, record in zip(range(count), consumer, strict=False)]
    finally:
        consumer.close()


def test_records_are_read_back_tombstones_too(kafka: real.Cluster) -> None:
    records = [(b"a", b"1"), (b"b", None), (b"c", b"")]
    write(kafka, "smoke-records", records)
    assert read(kafka, "smoke-records", 3) == records


def test_kcat_reads_the_same(kafka: real.Cluster, kcat: list[str]) -> None:
    write(kafka, "smoke-kcat", [(b"k", b"one"), (b"k", b"two")])
    consume = [*kcat, "-b", kafka.bootstrap(), "-C", "-e", "-q", "-t", "smoke-kcat"]
    assert subprocess.run(consume, check=True, capture_output=True, text=True).stdout == "one\ntwo\n"


def test_leadership_moves_when_a_broker_dies_and_the_broker_comes_back(
    kafka_cluster: real.Cluster, admin: KafkaAdminClient
) -> None:
    admin.create_topics({"smoke-lead": {"num_partitions": 1, "replication_factor": 3}})
    write(kafka_cluster, "smoke-lead", [(b"k", b"before")])

    def partition() -> dict[str, Any]:
        # A question that was on its way to a dying broker fails, and is asked again.
        for _ in range(20):
            with contextlib.suppress(KafkaConnectionError, NodeNotReadyError):
                [topic] = admin.describe_topics(["smoke-lead"])
                return dict(topic["partitions"][0])
        raise AssertionError("no broker answers")

    old = partition()["leader_id"]
    kafka_cluster.broker(old).kill()
    deadline = time.monotonic() + 60
    while (moved := partition())["leader_id"] in (old, -1):
        assert time.monotonic() < deadline, f"leadership stayed: {moved}"
    assert old not in moved["isr_nodes"]
    write(kafka_cluster, "smoke-lead", [(b"k", b"while away")])

    kafka_cluster.broker(old).start()
    deadline = time.monotonic() + 60
    while old not in (back := partition())["isr_nodes"]:
        assert time.monotonic() < deadline, f"broker {old} does not come back: {back}"
    assert read(kafka_cluster, "smoke-lead", 2) == [(b"k", b"before"), (b"k", b"while away")]


@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_sasl_listeners_take_the_user_and_no_other(
    kafka: real.Cluster, protocol: real.Protocol, mechanism: str
) -> None:
    more = tls(kafka) if protocol == "SASL_SSL" else {}
    bootstrap(kafka, protocol, **login(mechanism), **more)
    with pytest.raises(KafkaTimeoutError):
        bootstrap(kafka, protocol, REFUSED_AFTER_MS, **login(mechanism, "wrong"), **more)


def test_tokens_are_taken(kafka: real.Cluster) -> None:
    bootstrap(
        kafka,
        "SASL_PLAINTEXT",
        sasl_mechanism="OAUTHBEARER",
        sasl_oauth_token_provider=UnsecuredToken(),
    )


def test_tls_listener_with_and_without_a_client_certificate(kafka: real.Cluster) -> None:
    assert kafka.certificates is not None
    bootstrap(kafka, "SSL", **tls(kafka))
    bootstrap(
        kafka,
        "SSL",
        **tls(kafka),
        ssl_certfile=str(kafka.certificates.client),
        ssl_keyfile=str(kafka.certificates.client_key),
    )


def test_a_broker_that_cannot_start_shows_the_end_of_its_log(kafka: real.Cluster, tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match=r"num\.partitions"),
        real.cluster(tmp_path, settings={"num.partitions": "none"}),
    ):
        pass
