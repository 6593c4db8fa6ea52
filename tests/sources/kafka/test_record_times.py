"""The time of a single record: as it says itself, over gaps and markers, within a budget."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Producer
from kafka import TopicPartition

from metricsmith.errors import InputError
from metricsmith.sources.kafka import record_times
from metricsmith.sources.kafka.admin import topology
from metricsmith.sources.kafka.client import Client
from metricsmith.sources.kafka.record_times import NONE, RecordTimes, exact_seconds, record_time_ms
from metricsmith.sources.kafka.settings import Connection

NOW_MS = int(time.time() * 1000)
HOUR_MS = 3_600_000


def write(live: Any, topic: str, times_ms: list[int], size: int = 1, **settings: Any) -> None:
    dotted = {key.replace("_", "."): value for key, value in settings.items()}
    producer = Producer({"bootstrap.servers": live.bootstrap, "linger.ms": 50, "log_level": 0} | dotted)
    for number, time_ms in enumerate(times_ms):
        producer.produce(topic, b"v" * size, b"k%d" % number, partition=0, timestamp=time_ms)
    assert producer.flush(60) == 0


def times(live: Any, most: int, *spots: tuple[str, int, int], rounds: int = 1) -> list[int]:
    client = Client(Connection(bootstrap_servers=live.bootstrap))
    try:
        reader, told = RecordTimes(most), topology(client)
        groups = [f"g{number}" for number in range(len(spots))]
        for _ in range(rounds):
            found, troubles = reader.of(client, told.partitions, groups, spots)
            assert not troubles
        return found.tolist()
    finally:
        client.close()


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_each_record_of_a_batch_has_its_own_time(live: Any, codec: str) -> None:
    topic = live.create(f"times-{codec}")
    written = [NOW_MS - HOUR_MS + 997 * number for number in range(300)]
    write(live, topic, written, compression_type=codec)
    spots = [(topic, 0, at) for at in (0, 1, 150, 299)]
    assert times(live, 10, *spots) == [written[at] for _, _, at in spots]


def test_a_large_batch_is_asked_for_again_with_more_room(live: Any) -> None:
    first, second = live.create("times-large-1"), live.create("times-large-2")
    for topic in (first, second):
        write(live, topic, [NOW_MS - 5000, NOW_MS - 4000], size=200_000, batch_size=900_000)
    spots = [(first, 0, 1), (second, 0, 1)]
    assert times(live, 10, *spots, rounds=4) == [NOW_MS - 4000] * 2


def test_where_the_topic_stamps_records_that_time_counts(live: Any) -> None:
    topic = live.create("times-append", message_timestamp_type="LogAppendTime")
    before = int(time.time() * 1000)
    write(live, topic, [NOW_MS - HOUR_MS] * 3)
    [found] = times(live, 10, (topic, 0, 1))
    assert before - 1000 <= found <= time.time() * 1000 + 1000


def test_markers_are_passed_over(live: Any) -> None:
    topic = live.create("times-markers")
    producer = Producer({"bootstrap.servers": live.bootstrap, "transactional.id": "times", "log_level": 0})
    producer.init_transactions(60)
    for time_ms in (NOW_MS - 9000, NOW_MS - 8000):
        producer.begin_transaction()
        producer.produce(topic, b"v", partition=0, timestamp=time_ms)
        producer.commit_transaction(60)
    assert times(live, 10, (topic, 0, 1)) == [NOW_MS - 8000], "offset 1 is a marker"
    assert times(live, 10, (topic, 0, 3), rounds=6) == [NONE], "nothing but a marker follows"


def test_a_gap_of_compaction_gives_the_next_record(live: Any) -> None:
    topic = live.create(
        "times-gap",
        cleanup_policy="compact",
        segment_ms="100",
        min_cleanable_dirty_ratio="0.001",
        max_compaction_lag_ms="200",
    )
    producer = Producer({"bootstrap.servers": live.bootstrap, "linger.ms": 5, "log_level": 0})
    for number in range(100):
        producer.produce(topic, b"v", b"one key", partition=0, timestamp=NOW_MS - 100_000 + number * 1000)
    assert producer.flush(60) == 0
    deadline = time.monotonic() + 60
    while times(live, 10, (topic, 0, 10)) != [NOW_MS - 1000]:
        assert time.monotonic() < deadline
        write(live, topic, [NOW_MS])  # begins a new segment: the cleaner leaves the last one alone


def test_a_round_looks_at_no_more_than_its_budget(live: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    topic = live.create("times-budget", 5)
    for partition in range(5):
        live.write(topic, 2, partition)
    spots = [(topic, partition, 1) for partition in range(5)]
    assert sum(each != NONE for each in times(live, 2, *spots)) == 2
    assert NONE not in times(live, 2, *spots, rounds=3)
    monkeypatch.setattr(record_times, "LIMIT_S", -1.0)
    assert times(live, 2, *spots) == [NONE] * 5


@pytest.mark.parametrize(("partitions", "most"), [(1, 1), (1, 2), (4, 2)])
def test_groups_that_commit_leave_the_others_their_turn(live: Any, partitions: int, most: int) -> None:
    """A group that moves asks for another record each round; one that stands still needs one look only."""
    topic = live.create(f"times-turns-{partitions}-{most}", partitions)
    for partition in range(partitions):
        live.write(topic, 40, partition)
    groups = [*("moving" for _ in range(partitions)), "stuck"]
    client = Client(Connection(bootstrap_servers=live.bootstrap))
    try:
        reader, told, known = RecordTimes(most), topology(client), np.zeros(len(groups))
        for number in range(6):
            moving = [(topic, partition, 20 + number) for partition in range(partitions)]
            found, _ = reader.of(client, told.partitions, groups, [*moving, (topic, partitions - 1, 7)])
            known += found != NONE
    finally:
        client.close()
    assert known[-1] >= 3, "once looked at, it stays known"
    assert known[:-1].min() >= min(3, 6 * most // (partitions + 1))


def test_a_group_that_moves_through_large_batches_is_seen(live: Any) -> None:
    topics = [live.create(f"times-moving-{name}") for name in "ab"]
    for topic in topics:
        write(live, topic, [NOW_MS - 9000 + 1000 * n for n in range(8)], size=200_000, batch_size=250_000)
    client = Client(Connection(bootstrap_servers=live.bootstrap))
    try:
        reader, told = RecordTimes(10), topology(client)
        for number in range(6):
            found, _ = reader.of(client, told.partitions, ["g", "g"], [(each, 0, number) for each in topics])
    finally:
        client.close()
    assert found.tolist() == [NOW_MS - 4000] * 2


def test_damaged_bytes_are_refused() -> None:
    assert record_time_ms(b"", 0) is None
    batch = bytes(8) + (61 - 12).to_bytes(4, "big") + bytes(4) + b"\x02" + bytes(44)
    assert record_time_ms(batch, 0) is None, "a batch that compaction has emptied"
    with pytest.raises(InputError, match="beyond"):
        record_time_ms(batch[:-1] + b"\x05", 0)
    with pytest.raises(InputError, match="before Kafka"):
        record_time_ms(batch[:16] + b"\x01" + batch[17:], 0)


@pytest.mark.parametrize(
    ("seconds", "at_least", "written_ms", "expected"),
    [
        pytest.param(60, True, NOW_MS - 90_000, (90, False), id="older than the table"),
        pytest.param(60, True, NOW_MS - 30_000, (60, True), id="younger than it must be"),
        pytest.param(60, False, NOW_MS - 30_000, (30, False), id="asked for"),
        pytest.param(60, False, NOW_MS + 30_000, (60, False), id="from the future"),
        pytest.param(60, True, NONE, (60, True), id="without a time"),
    ],
)
def test_what_is_believed(
    seconds: float, at_least: bool, written_ms: int, expected: tuple[float, bool]
) -> None:
    found = exact_seconds(np.array([float(seconds)]), np.array([at_least]), np.array([written_ms]), NOW_MS)
    assert (found[0][0], bool(found[1][0])) == expected


def test_a_lag_older_than_the_history_is_told_exactly(live: Any, watch: Any) -> None:
    topic = live.create("times-lag")
    write(live, topic, [NOW_MS - HOUR_MS + 1000 * number for number in range(30)])
    live.commit("times-lag-group", topic, 4)
    key = ("kafka_consumergroup_lag_seconds", "times-lag-group", topic, "0")
    at_least = ("kafka_consumergroup_lag_seconds_at_least", *key[1:])
    watching = watch("times-lag.*")
    watching.now_ms = NOW_MS - 60_000
    samples = watching.round({topic: {"cleanup.policy": "delete", "retention.ms": "7200000"}})
    assert (samples[key], samples[at_least]) == (3600 - 4, 0)
    assert samples["kafka_consumergroup_until_deleted_seconds", *key[1:]] == 7200 - samples[key]
    before = watching.client.requests
    samples = watching.round()
    assert samples[key] == 3660 - 4 and watching.client.requests - before == 6, "it is read once"
    live.admin.delete_records({TopicPartition(topic, 0): 7})
    assert watching.round()[key] == 3720 - 7, "the next record that is still there"
    off = watch("times-lag.*", record_times=False)
    off.now_ms = NOW_MS
    assert off.round()[at_least] == 1
