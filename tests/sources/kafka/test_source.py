"""The source beside a real Kafka: right values, states of groups, and what a broker that dies leaves."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer as Kip848Consumer
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.structs import OffsetAndMetadata, TopicPartition
from pydantic import ValidationError

from metricsmith.contracts import Context
from metricsmith.model.batch import Batch
from metricsmith.model.clock import SystemClock
from metricsmith.model.series import SeriesTable
from metricsmith.model.state import MemoryState
from metricsmith.model.telemetry import Telemetry
from metricsmith.sources.kafka.client import Client, KafkaUnavailable
from metricsmith.sources.kafka.observer import Observer
from metricsmith.sources.kafka.settings import Connection, Filter, KafkaConfig
from metricsmith.sources.kafka.sheets import cluster_sheet
from metricsmith.sources.kafka.source import KafkaSource
from metricsmith.testing import kafka as real

Samples = dict[tuple[str, ...], float]
LIMIT_S = 30.0


@pytest.fixture
def admin(kafka: real.Cluster) -> Iterator[KafkaAdminClient]:
    with KafkaAdminClient(bootstrap_servers=kafka.bootstrap()) as client:
        yield client


class Watch:
    """Rounds of an observer, each a minute after the last."""

    def __init__(self, bootstrap: str, pattern: str, **settings: Any) -> None:
        self.config = KafkaConfig(
            bootstrap_servers=bootstrap,
            topics=Filter(include=pattern),
            groups=Filter(include=pattern),
            timeout="5s",
            **settings,
        )
        self.now_ms = 1_700_000_000_000
        self.state = MemoryState()
        self.observer = Observer(self.config, self.state, lambda: self.now_ms)
        self.client = Client(self.config)

    def round(self, configs: dict[str, dict[str, str]] | None = None) -> Samples:
        self.now_ms += 60_000
        self.client.begin_round()
        self.observer.read(self.client)
        sheet = cluster_sheet(self.observer.view, configs or {})
        assert len(set(sheet.keys)) == len(sheet.keys)
        return dict(zip(sheet.keys, sheet.values, strict=True))


@pytest.fixture
def watch(kafka: real.Cluster) -> Iterator[Callable[..., Watch]]:
    with contextlib.ExitStack() as stack:

        def start(pattern: str, **settings: Any) -> Watch:
            made = Watch(kafka.bootstrap(), pattern, **settings)
            stack.callback(made.client.close)
            return made

        yield start


def write(bootstrap: str, topic: str, count: int, partition: int = 0, **settings: Any) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all", **settings)
    try:
        for _ in range(count):
            producer.send(topic, value=b"x", partition=partition)
        producer.flush()
    finally:
        producer.close()


def commit(admin: KafkaAdminClient, group: str, topic: str, *offsets: int) -> None:
    """Commit; a coordinator that has just started refuses for a moment."""
    wanted = {TopicPartition(topic, n): OffsetAndMetadata(o, "", -1) for n, o in enumerate(offsets)}
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(Exception):
            told = admin.alter_group_offsets(group, wanted)
            if all(error is None or error.__name__ == "NoError" for error in told.values()):
                return
        time.sleep(0.05)
    raise AssertionError(f"{group} could not commit")


def create(admin: KafkaAdminClient, topic: str, partitions: int = 1, copies: int = 1, **configs: str) -> None:
    admin.create_topics(
        {topic: {"num_partitions": partitions, "replication_factor": copies, "configs": configs}}
    )


def reason(samples: Samples, group: str, topic: str, partition: int = 0) -> str:
    [found] = [
        k[4] for k in samples if k[:4] == ("kafka_consumergroup_lag_state", group, topic, str(partition))
    ]
    return found


def test_values_are_right(kafka: real.Cluster, admin: KafkaAdminClient, watch: Callable[..., Watch]) -> None:
    create(admin, "lag-right", partitions=3)
    for partition, count in enumerate((10, 20, 0)):
        write(kafka.bootstrap(), "lag-right", count, partition)
    commit(admin, "lag-right-group", "lag-right", 4, 20, 0)
    watching = watch("lag-right.*")
    watching.round()
    commit(admin, "lag-right-group", "lag-right", 7)
    samples = watching.round({"lag-right": {"cleanup.policy": "delete", "retention.ms": "600000"}})
    at = ("lag-right-group", "lag-right")
    expected = {
        ("kafka_up",): 1,
        ("kafka_brokers",): 1,
        ("kafka_controller_id",): 1,
        ("kafka_broker_leaders", "1"): 3,
        ("kafka_topic_partitions", "lag-right"): 3,
        ("kafka_topic_partition_leader", "lag-right", "0"): 1,
        ("kafka_topic_partition_leader_is_preferred", "lag-right", "0"): 1,
        ("kafka_topic_partition_in_sync_replica", "lag-right", "2"): 1,
        ("kafka_topic_partition_under_replicated_partition", "lag-right", "1"): 0,
        ("kafka_topic_partition_current_offset", "lag-right", "1"): 20,
        ("kafka_topic_partition_oldest_offset", "lag-right", "1"): 0,
        ("kafka_consumergroup_members", at[0]): 0,
        ("kafka_consumergroup_current_offset", *at, "0"): 7,
        ("kafka_consumergroup_lag", *at, "0"): 3,
        ("kafka_consumergroup_lag", *at, "1"): 0,
        ("kafka_consumergroup_lag_sum", *at): 3,
        ("kafka_consumergroup_current_offset_sum", *at): 27,
        ("kafka_consumergroup_lag_seconds", *at, "0"): 60,
        ("kafka_consumergroup_lag_seconds_at_least", *at, "0"): 1,
        ("kafka_consumergroup_catch_up_seconds", *at, "0"): 60,
        ("kafka_consumergroup_catch_up_seconds", *at, "1"): 0,
        ("kafka_consumergroup_topic_catch_up_seconds", *at): 60,
        ("kafka_consumergroup_until_deleted_seconds", *at, "0"): 540,
        ("kafka_snapshot_age_seconds", "offsets"): 0,
        ("kafka_snapshot_old_items", "groups"): 0,
    }
    assert {key: samples.get(key) for key in expected} == expected
    assert [reason(samples, *at, p) for p in range(3)] == ["shrinking", "caught_up", "caught_up"]
    assert not watching.observer.view.troubles


def test_records_that_were_deleted_unread_are_lost(
    kafka: real.Cluster, admin: KafkaAdminClient, watch: Callable[..., Watch]
) -> None:
    create(admin, "lag-lost")
    write(kafka.bootstrap(), "lag-lost", 10)
    commit(admin, "lag-lost-group", "lag-lost", 2)
    admin.delete_records({TopicPartition("lag-lost", 0): 6})
    samples = watch("lag-lost.*").round()
    assert samples["kafka_consumergroup_lag", "lag-lost-group", "lag-lost", "0"] == 4
    assert reason(samples, "lag-lost-group", "lag-lost") == "lost"


def test_a_marker_is_nothing_to_read_but_a_last_record_is(
    kafka: real.Cluster, admin: KafkaAdminClient, watch: Callable[..., Watch]
) -> None:
    create(admin, "lag-tail")
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap(), transactional_id="lag-tail")
    producer.init_transactions()
    producer.begin_transaction()
    producer.send("lag-tail", value=b"x", partition=0)
    producer.commit_transaction()
    producer.close()
    commit(admin, "lag-tail-done", "lag-tail", 1)
    commit(admin, "lag-tail-stuck", "lag-tail", 0)
    watching = watch("lag-tail.*", stalled_after="2m")
    for _ in range(4):
        samples = watching.round()
    assert reason(samples, "lag-tail-done", "lag-tail") == "txn_tail"
    assert samples["kafka_consumergroup_lag", "lag-tail-done", "lag-tail", "0"] == 1
    assert samples["kafka_consumergroup_catch_up_seconds", "lag-tail-done", "lag-tail", "0"] == 0
    assert reason(samples, "lag-tail-stuck", "lag-tail") == "idle"


def test_a_deleted_group_and_a_deleted_topic_are_gone(
    kafka: real.Cluster, admin: KafkaAdminClient, watch: Callable[..., Watch]
) -> None:
    for topic in ("lag-gone-1", "lag-gone-2"):
        create(admin, topic)
        write(kafka.bootstrap(), topic, 3)
        commit(admin, "lag-gone-group", topic, 1)
    commit(admin, "lag-gone-other", "lag-gone-1", 1)
    watching = watch("lag-gone.*")
    assert ("kafka_consumergroup_lag", "lag-gone-group", "lag-gone-2", "0") in watching.round()
    admin.delete_groups(["lag-gone-other"])
    admin.delete_topics(["lag-gone-2"])
    samples = watching.round()
    assert not [key for key in samples if "lag-gone-other" in key or "lag-gone-2" in key]
    assert samples["kafka_consumergroup_lag", "lag-gone-group", "lag-gone-1", "0"] == 2


def test_a_group_without_a_commit_has_a_reason_and_no_lag(
    kafka: real.Cluster, admin: KafkaAdminClient, watch: Callable[..., Watch]
) -> None:
    create(admin, "lag-none")
    write(kafka.bootstrap(), "lag-none", 5)
    consumer = KafkaConsumer(
        "lag-none",
        bootstrap_servers=kafka.bootstrap(),
        group_id="lag-none-group",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    try:
        deadline = time.monotonic() + LIMIT_S
        while not consumer.assignment():
            consumer.poll(100)
            assert time.monotonic() < deadline
        samples = watch("lag-none.*").round()
    finally:
        consumer.close()
    assert samples["kafka_consumergroup_members", "lag-none-group"] == 1
    assert samples["kafka_consumergroup_committed_partitions", "lag-none-group"] == 0
    assert reason(samples, "lag-none-group", "lag-none") == "no_commit"
    assert not [
        key for key in samples if key[0] in ("kafka_consumergroup_lag", "kafka_consumergroup_lag_sum")
    ]


def test_members_of_the_new_protocol_are_seen(
    kafka: real.Cluster, admin: KafkaAdminClient, watch: Callable[..., Watch]
) -> None:
    create(admin, "lag-new")
    write(kafka.bootstrap(), "lag-new", 5)
    consumer = Kip848Consumer(
        {
            "bootstrap.servers": kafka.bootstrap(),
            "group.id": "lag-new-group",
            "group.protocol": "consumer",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    try:
        consumer.subscribe(["lag-new"])
        [message] = consumer.consume(1, timeout=LIMIT_S)
        consumer.commit(message, asynchronous=False)
        watching = watch("lag-new.*")
        samples = watching.round()
    finally:
        consumer.close()
    assert samples["kafka_consumergroup_members", "lag-new-group"] == 1
    assert samples["kafka_consumergroup_lag", "lag-new-group", "lag-new", "0"] == 4
    assert ("kafka_consumergroup_info", "lag-new-group", "Stable", "consumer", "1") in samples
    assert watching.observer.view.groups["lag-new-group"][1].assigned == {("lag-new", 0)}


def test_history_survives_a_restart(
    kafka: real.Cluster, admin: KafkaAdminClient, watch: Callable[..., Watch]
) -> None:
    create(admin, "lag-again")
    write(kafka.bootstrap(), "lag-again", 100)
    first = watch("lag-again.*")
    for read in (10, 30, 50):
        commit(admin, "lag-again-group", "lag-again", read)
        first.round()
    first.observer.save()
    commit(admin, "lag-again-group", "lag-again", 70)
    second = watch("lag-again.*")
    second.now_ms = first.now_ms
    second.observer = Observer(second.config, first.state, lambda: second.now_ms)
    assert second.observer.restore() == 0
    samples = second.round()
    assert reason(samples, "lag-again-group", "lag-again") == "shrinking"
    # 20 records a minute; the newest reading before the restart was still to be replaced, so it is not there.
    assert samples["kafka_consumergroup_catch_up_seconds", "lag-again-group", "lag-again", "0"] == 90


def test_the_cost_grows_with_brokers_not_with_groups_or_partitions(
    kafka: real.Cluster, admin: KafkaAdminClient, watch: Callable[..., Watch]
) -> None:
    asked = []
    create(admin, "lag-cost", partitions=20)
    watching = watch("lag-cost.*")
    for group in range(12):
        commit(admin, f"lag-cost-{group}", "lag-cost", *range(20))
        before = watching.client.requests
        watching.round()
        asked.append(watching.client.requests - before)
    assert asked == [6] * 12, "metadata, groups, their description, commits, starts, ends"


def test_limits_leave_out_and_say_so(admin: KafkaAdminClient, watch: Callable[..., Watch]) -> None:
    create(admin, "lag-limit", partitions=2)
    create(admin, "lag-limit-more", partitions=5)
    for group in range(3):
        commit(admin, f"lag-limit-{group}", "lag-limit", 0)
    watching = watch("lag-limit.*", max_partitions=4, max_groups=1)
    samples = watching.round()
    partitions = {key[1]: value for key, value in samples.items() if key[0] == "kafka_topic_partitions"}
    assert partitions == {"lag-limit": 2}, "a topic whole or not at all"
    assert [key[1] for key in samples if key[0] == "kafka_consumergroup_members"] == ["lag-limit-0"]
    assert [(t.part, t.reason) for t in watching.observer.view.troubles] == [
        ("metadata", "limit"),
        ("groups", "limit"),
    ]


def test_internal_topics_only_when_asked_for(watch: Callable[..., Watch]) -> None:
    key = ("kafka_topic_partitions", "__consumer_offsets")
    assert key not in watch(".*").round()
    assert key in watch(".*", internal_topics=True).round()


async def test_the_source_emits_what_is_there_and_marks_what_has_gone(
    kafka: real.Cluster, admin: KafkaAdminClient
) -> None:
    await asyncio.to_thread(create, admin, "lag-run", **{"retention.ms": "60000"})
    await asyncio.to_thread(commit, admin, "lag-run-group", "lag-run", 0)
    table, stop = SeriesTable(), asyncio.Event()
    config = KafkaConfig(
        bootstrap_servers=kafka.bootstrap(),
        topics=Filter(include="lag-run"),
        groups=Filter(include="lag-run.*"),
        interval="100ms",
        configs_interval="100ms",
        log_dirs_interval="100ms",
        instance="test",
    )
    telemetry = Telemetry()
    source = KafkaSource(config, Context("k", table, telemetry, SystemClock()))
    seen: dict[tuple[str, str], float] = {}
    ended: set[str] = set()
    emitted = asyncio.Event()

    async def emit(batch: Batch) -> None:
        for series, value, stale in zip(batch.layout.ids, batch.value, batch.stales(), strict=True):
            labels = table.labels(int(series))
            assert (labels["job"], labels["instance"]) == ("k", "test")
            seen[labels["__name__"], labels.get("consumergroup", "")] = value
            if stale:
                ended.add(labels["__name__"])
        emitted.set()

    async def until(true: Callable[[], bool]) -> None:
        while not true():
            emitted.clear()
            await asyncio.wait_for(emitted.wait(), LIMIT_S)

    task = asyncio.create_task(source.run(emit, stop))
    await until(lambda: ("kafka_log_dir_size_bytes", "") in seen)
    await until(lambda: seen.get(("kafka_topic_retention_seconds", "")) == 60)
    await until(lambda: ("kafka_consumergroup_lag", "lag-run-group") in seen)
    await asyncio.to_thread(admin.delete_groups, ["lag-run-group"])
    await until(lambda: "kafka_consumergroup_lag" in ended)
    assert seen["kafka_up", ""] == 1
    stop.set()
    await asyncio.wait_for(task, LIMIT_S)


async def test_an_answer_that_nobody_thought_of_ends_nothing(
    kafka: real.Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = Observer.read
    rounds = iter([True])

    def strange(observer: Observer, client: Client) -> None:
        if next(rounds, False):
            raise TypeError("strange")
        reading(observer, client)

    monkeypatch.setattr(Observer, "read", strange)
    telemetry, stop = Telemetry(), asyncio.Event()
    config = KafkaConfig(bootstrap_servers=kafka.bootstrap(), interval="100ms", configs_interval="0")
    source = KafkaSource(config, Context("k", SeriesTable(), telemetry, SystemClock()))

    async def emit(batch: Batch) -> None:
        if batch.layout.stream == "kafka/k/cluster":
            stop.set()

    await asyncio.wait_for(source.run(emit, stop), LIMIT_S)
    assert telemetry.value("metricsmith_source_failures_total", source="k", reason="defect") == 1


async def test_a_cluster_that_is_away_is_down_and_counted() -> None:
    telemetry, stop = Telemetry(), asyncio.Event()
    table = SeriesTable()
    config = KafkaConfig(bootstrap_servers="127.0.0.1:1", timeout="200ms", interval="100ms")
    source = KafkaSource(config, Context("k", table, telemetry, SystemClock()))
    batches: list[Batch] = []

    async def emit(batch: Batch) -> None:
        batches.append(batch)
        stop.set()

    await asyncio.wait_for(source.run(emit, stop), LIMIT_S)
    values = {
        table.labels(int(i))["__name__"]: v
        for i, v in zip(batches[0].layout.ids, batches[0].value, strict=True)
    }
    assert values["kafka_up"] == 0
    labels = {"source": "k", "part": "metadata", "reason": "unreachable"}
    assert telemetry.value("metricsmith_kafka_failures_total", **labels) == 1


@pytest.mark.parametrize("protocol", ["SASL_SSL", "SASL_PLAINTEXT", "SSL"])
def test_ways_to_connect(kafka: real.Cluster, protocol: real.Protocol) -> None:
    assert kafka.certificates is not None
    sasl = {"mechanism": "SCRAM-SHA-512", "username": real.USER, "password": real.PASSWORD}
    tls = {
        "ca_file": str(kafka.certificates.authority),
        "cert_file": str(kafka.certificates.client),
        "key_file": str(kafka.certificates.client_key),
    }
    settings = {
        "bootstrap_servers": kafka.bootstrap(protocol),
        **({"tls": tls} if "SSL" in protocol.split("_") else {}),
        **({"sasl": sasl} if "SASL" in protocol else {}),
    }
    config = Connection.model_validate(settings)
    assert real.PASSWORD not in repr(config)
    client = Client(config)
    assert client.brokers() == [1]
    client.close()


def test_a_token_is_read_from_its_file(kafka: real.Cluster, tmp_path: Path) -> None:
    parts = ({"alg": "none"}, {"sub": real.USER, "iat": time.time(), "exp": time.time() + 3600})
    texts = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    (tmp_path / "token").write_text(".".join(texts) + ".\n")
    sasl = {"mechanism": "OAUTHBEARER", "token": f"file:{tmp_path / 'token'}"}
    settings = {"bootstrap_servers": kafka.bootstrap("SASL_PLAINTEXT"), "sasl": sasl}
    client = Client(Connection.model_validate(settings))
    assert client.brokers() == [1]
    client.close()


def test_a_wrong_password_is_told_without_it(kafka: real.Cluster) -> None:
    sasl = {"mechanism": "PLAIN", "username": real.USER, "password": "wrong-secret"}
    settings = {"bootstrap_servers": kafka.bootstrap("SASL_PLAINTEXT"), "sasl": sasl, "timeout": "500ms"}
    with pytest.raises(KafkaUnavailable, match="credentials") as caught:
        Client(Connection.model_validate(settings))
    assert "wrong-secret" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sasl": {"mechanism": "PLAIN", "username": "u"}},
        {"sasl": {"mechanism": "OAUTHBEARER", "username": "u", "password": "p"}},
        {"topics": {"include": "("}},
        {"topics": {"include": "(?=a)"}},
        {"bootstrap_servers": ""},
        {"bootstrap_servers": "http://kafka:9092"},
        {"tls": {"server_name": "kafka"}},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        KafkaConfig.model_validate(wrong)
