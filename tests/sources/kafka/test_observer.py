"""Rounds beside a real Kafka: right values, states of groups, limits, and what they cost."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

from confluent_kafka import Consumer as Kip848Consumer
from kafka import KafkaConsumer, KafkaProducer
from kafka.structs import TopicPartition

from metricsmith.sources.kafka.observer import Observer
from metricsmith.testing.programs import eventually

LIMIT_S = 30.0


def test_values_are_right(live: Any, watch: Any) -> None:
    live.create("lag-right", partitions=3)
    for partition, count in enumerate((10, 20, 0)):
        live.write("lag-right", count, partition)
    live.commit("lag-right-group", "lag-right", 4, 20, 0)
    watching = watch("lag-right.*")
    watching.round()
    live.commit("lag-right-group", "lag-right", 7)
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
        ("kafka_consumergroup_until_deleted_seconds", *at, "0"): None,  # it may be older
        ("kafka_snapshot_age_seconds", "offsets"): 0,
        ("kafka_snapshot_old_items", "groups"): 0,
    }
    assert {key: samples.get(key) for key in expected} == expected
    assert [watching.reason(samples, *at, p) for p in range(3)] == ["shrinking", "caught_up", "caught_up"]
    assert not watching.observer.view.troubles


def test_records_that_were_deleted_unread_are_lost(live: Any, watch: Any) -> None:
    live.create("lag-lost")
    live.write("lag-lost", 10)
    live.commit("lag-lost-group", "lag-lost", 2)
    live.admin.delete_records({TopicPartition("lag-lost", 0): 6})
    watching = watch("lag-lost.*")
    samples = watching.round()
    assert samples["kafka_consumergroup_lag", "lag-lost-group", "lag-lost", "0"] == 4
    assert watching.reason(samples, "lag-lost-group", "lag-lost") == "lost"


def test_what_retention_deletes_unread_is_lost_and_no_lag(live: Any, watch: Any) -> None:
    live.create("lag-expired", retention_ms="500", segment_ms="500")
    live.write("lag-expired", 10)
    live.commit("lag-expired-group", "lag-expired", 2)
    watching, at = watch("lag-expired.*"), ("lag-expired-group", "lag-expired", "0")
    deadline = time.monotonic() + LIMIT_S
    samples = watching.round()
    while samples["kafka_topic_partition_oldest_offset", *at[1:]] < 10:
        assert samples["kafka_consumergroup_lag", *at] == 8
        assert time.monotonic() < deadline
        time.sleep(0.1)  # a foreign program tells nobody when it deletes
        samples = watching.round()
    assert samples["kafka_topic_partition_current_offset", *at[1:]] == 10
    assert samples["kafka_consumergroup_lag", *at] == samples["kafka_consumergroup_lag_sum", *at[:2]] == 0
    assert watching.reason(samples, *at[:2]) == "lost"
    assert samples["kafka_consumergroup_lag_seconds", *at] == 0


def test_a_group_that_has_committed_nowhere_any_more_has_no_lag(live: Any, watch: Any) -> None:
    for topic in ("lag-nowhere", "lag-nowhere-gone"):
        live.create(topic)
    live.commit("lag-nowhere-group", "lag-nowhere-gone", 0)
    watching = watch("lag-nowhere.*")
    assert watching.round()["kafka_consumergroup_committed_partitions", "lag-nowhere-group"] == 1
    live.admin.delete_topics(["lag-nowhere-gone"])
    samples = watching.round()
    assert not [key for key in samples if "lag" in key[0] and "lag-nowhere-group" in key]


def test_a_marker_is_nothing_to_read_but_a_last_record_is(live: Any, watch: Any) -> None:
    live.create("lag-tail")
    producer = KafkaProducer(bootstrap_servers=live.bootstrap, transactional_id="lag-tail")
    producer.init_transactions()
    producer.begin_transaction()
    producer.send("lag-tail", value=b"x", partition=0)
    producer.commit_transaction()
    producer.close()
    live.commit("lag-tail-done", "lag-tail", 1)
    live.commit("lag-tail-stuck", "lag-tail", 0)
    watching = watch("lag-tail.*", stalled_after="2m")
    for _ in range(4):
        samples = watching.round()
    assert watching.reason(samples, "lag-tail-done", "lag-tail") == "txn_tail"
    assert samples["kafka_consumergroup_lag", "lag-tail-done", "lag-tail", "0"] == 1
    assert samples["kafka_consumergroup_catch_up_seconds", "lag-tail-done", "lag-tail", "0"] == 0
    assert watching.reason(samples, "lag-tail-stuck", "lag-tail") == "idle"


def test_a_deleted_group_and_a_deleted_topic_are_gone(live: Any, watch: Any) -> None:
    for topic in ("lag-gone-1", "lag-gone-2"):
        live.create(topic)
        live.write(topic, 3)
        live.commit("lag-gone-group", topic, 1)
    live.commit("lag-gone-other", "lag-gone-1", 1)
    watching = watch("lag-gone.*")
    assert ("kafka_consumergroup_lag", "lag-gone-group", "lag-gone-2", "0") in watching.round()
    live.admin.delete_groups(["lag-gone-other"])
    live.admin.delete_topics(["lag-gone-2"])

    def without_them() -> Any:
        samples = watching.round()
        assert samples["kafka_consumergroup_lag", "lag-gone-group", "lag-gone-1", "0"] == 2
        return {} if any("lag-gone-other" in key or "lag-gone-2" in key for key in samples) else samples

    assert eventually(without_them), "a broker forgets a topic a moment after it has said so"


def test_a_group_without_a_commit_has_a_reason_and_no_lag(live: Any, watch: Any) -> None:
    live.create("lag-none")
    live.write("lag-none", 5)
    consumer = KafkaConsumer(
        "lag-none",
        bootstrap_servers=live.bootstrap,
        group_id="lag-none-group",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    try:
        deadline = time.monotonic() + LIMIT_S
        while not consumer.assignment():
            consumer.poll(100)
            assert time.monotonic() < deadline
        watching = watch("lag-none.*")
        samples = watching.round()
    finally:
        consumer.close()
    assert samples["kafka_consumergroup_members", "lag-none-group"] == 1
    assert samples["kafka_consumergroup_committed_partitions", "lag-none-group"] == 0
    assert watching.reason(samples, "lag-none-group", "lag-none") == "no_commit"
    assert not [
        key for key in samples if key[0] in ("kafka_consumergroup_lag", "kafka_consumergroup_lag_sum")
    ]


def test_members_of_the_new_protocol_are_seen(live: Any, watch: Any) -> None:
    live.create("lag-new")
    live.write("lag-new", 5)
    consumer = Kip848Consumer(
        {
            "bootstrap.servers": live.bootstrap,
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


def test_history_survives_a_restart(live: Any, watch: Any) -> None:
    live.create("lag-again")
    live.write("lag-again", 100)
    first = watch("lag-again.*")
    for read in (10, 30, 50):
        live.commit("lag-again-group", "lag-again", read)
        first.round()
    first.observer.save()
    live.commit("lag-again-group", "lag-again", 70)
    second = watch("lag-again.*")
    second.now_ms = first.now_ms
    second.observer = Observer(second.config, first.state, lambda: second.now_ms)
    assert second.observer.restore() == 0
    samples = second.round()
    assert second.reason(samples, "lag-again-group", "lag-again") == "shrinking"
    # 20 records a minute; the newest reading before the restart was still to be replaced, so it is not there.
    assert samples["kafka_consumergroup_catch_up_seconds", "lag-again-group", "lag-again", "0"] == 90


def test_the_cost_grows_with_brokers_not_with_groups_or_partitions(live: Any, watch: Any) -> None:
    asked, received = [], []
    live.create("lag-cost", partitions=20)
    watching = watch("lag-cost.*")
    for group in range(12):
        live.commit(f"lag-cost-{group}", "lag-cost", *range(20))
        before, bytes_before = watching.client.requests, watching.client.traffic.bytes_in
        watching.round()
        asked.append(watching.client.requests - before)
        received.append(watching.client.traffic.bytes_in - bytes_before)
    assert asked == [6] * 12, "metadata, groups, their description, commits, starts, ends"
    steps = [after - before for before, after in pairwise(received[1:])]
    assert 0 < max(steps) < 2000, "bytes grow with what is told: 20 commits and a name a group"
    assert 0 < watching.client.traffic.bytes_out < watching.client.traffic.bytes_in


def test_limits_leave_out_and_say_so(live: Any, watch: Any) -> None:
    live.create("lag-limit", partitions=2)
    live.create("lag-limit-more", partitions=5)
    for group in range(3):
        live.commit(f"lag-limit-{group}", "lag-limit", 0)
    watching = watch("lag-limit.*", max_partitions=4, max_groups=1)
    samples = watching.round()
    partitions = {key[1]: value for key, value in samples.items() if key[0] == "kafka_topic_partitions"}
    assert partitions == {"lag-limit": 2}, "a topic whole or not at all"
    assert [key[1] for key in samples if key[0] == "kafka_consumergroup_members"] == ["lag-limit-0"]
    assert [(t.part, t.reason) for t in watching.observer.view.troubles] == [
        ("metadata", "limit"),
        ("groups", "limit"),
    ]


def test_internal_topics_only_when_asked_for(watch: Any) -> None:
    key = ("kafka_topic_partitions", "__consumer_offsets")
    assert key not in watch(".*").round()
    assert key in watch(".*", internal_topics=True).round()
