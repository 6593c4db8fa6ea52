"""Tombstones of a real Kafka, counted and estimated; the truth is what the test wrote.

The program of docs/kafka-tombstones.md is run here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Producer
from kafka import KafkaAdminClient, TopicPartition

from metricsmith.contracts import Context
from metricsmith.model.series import SeriesTable
from metricsmith.model.state import MemoryState
from metricsmith.model.telemetry import Telemetry
from metricsmith.sources.kafka.client import Client
from metricsmith.sources.kafka.scan import Budget
from metricsmith.sources.kafka.settings import Connection
from metricsmith.sources.kafka.spans import MOST_SPANS, Counted, Span, decode
from metricsmith.sources.kafka.tombstone_counts import TombstoneCount
from metricsmith.sources.kafka.tombstones import STATE_PREFIX, TombstoneScan
from metricsmith.testing import kafka as real
from metricsmith.testing.clock import FakeClock
from metricsmith.testing.programs import eventually


@dataclass
class Bench:
    """A client of the broker, a context, and means to write."""

    client: Client
    context: Context
    admin: KafkaAdminClient
    bootstrap: str

    def topic(self, name: str, partitions: int = 1, **configs: str) -> str:
        named = {key.replace("_", "."): value for key, value in configs.items()}
        self.admin.create_topics(
            {name: {"num_partitions": partitions, "replication_factor": 1, "configs": named}}
        )
        return name

    def producer(self, **settings: Any) -> Producer:
        dotted = {key.replace("_", "."): value for key, value in settings.items()}
        return Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 5, "log_level": 0} | dotted)

    def write(
        self,
        topic: str,
        values: list[bytes | None],
        partition: int = 0,
        key: Callable[[int], bytes | None] = lambda number: b"k%d" % number,
        **settings: Any,
    ) -> None:
        producer = self.producer(**settings)
        for number, value in enumerate(values):
            producer.produce(topic, value, key(number), partition=partition)
        assert producer.flush(60) == 0

    def scan(self, **settings: Any) -> TombstoneScan:
        return TombstoneScan(self.client, self.context, rng=np.random.default_rng(1), **settings)

    def problems(self, reason: str) -> float:
        labels = {"source": "kafka", "part": "tombstones", "reason": reason}
        return self.context.telemetry.value("metricsmith_kafka_failures_total", **labels)


@pytest.fixture
def bench(kafka: real.Cluster) -> Iterator[Bench]:
    bootstrap = kafka.bootstrap()
    client = Client(Connection(bootstrap_servers=bootstrap))
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    clock = FakeClock()
    context = Context("kafka", SeriesTable(), Telemetry(clock), clock, MemoryState())
    yield Bench(client, context, admin, bootstrap)
    admin.close()
    client.close()


def test_the_program_of_the_page(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[3] / "docs/kafka-tombstones.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    bench.write(bench.topic("orders-of-the-page"), [b"x", None])
    here = program.replace("localhost:9092", bench.bootstrap).replace('"orders"', '"orders-of-the-page"')
    exec(compile(here, "page.py", "exec"), {})
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 2, "the topic, and its partition"
    assert all("records=2, tombstones=1" in line for line in told)


def figures(count: TombstoneCount) -> tuple[int, int, int]:
    return count.records, count.tombstones, count.empty_values


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_empty_values_are_no_tombstones_in_any_compression(bench: Bench, codec: str) -> None:
    topic = bench.topic(f"tombstones-{codec}", 2)
    values: list[bytes | None] = [None, b"", b"value", b"v" * 300, None] * 200
    bench.write(topic, values, compression_type=codec)
    whole, first, second = bench.scan(check_crc=True).check([topic], "exact")
    assert figures(whole) == figures(first) == (1000, 400, 200)
    assert whole.ratio_percent == whole.interval_low == whole.interval_high == 40.0
    assert (whole.partition, first.partition, second.partition) == (None, 0, 1)
    assert whole.coverage == 1.0 and whole.checked_ms == bench.context.clock.now_ms()
    assert figures(second) == (0, 0, 0) and second.ratio_percent == 0.0, "an empty partition has ratio 0"


def test_a_small_topic_is_sampled_whole(bench: Bench) -> None:
    topic = bench.topic("tombstones-small", 3)
    bench.write(topic, [None, b"a", b"", b"b"] * 100)
    bench.write(topic, [b"a"] * 40, partition=1)
    whole, first, second, third = bench.scan().check([topic])
    assert figures(whole) == (440, 100, 100)
    assert (first.ratio_percent, second.ratio_percent, third.ratio_percent) == (25.0, 0.0, 0.0)
    assert whole.ratio_percent == pytest.approx(100 * 100 / 440)
    assert whole.coverage == 1.0 and whole.interval_low == whole.interval_high == whole.ratio_percent


def test_a_sample_is_near_the_truth_and_says_how_near(bench: Bench) -> None:
    topic = bench.topic("tombstones-large", 4)
    rng = np.random.default_rng(3)
    written = dead = 0
    for partition in range(4):
        share = np.repeat(rng.random(40) * 0.6, 500)
        null = rng.random(len(share)) < share
        bench.write(topic, [None if one else b"some value" for one in null], partition, batch_size=2000)
        written, dead = written + len(null), dead + int(null.sum())
    whole, *parts = bench.scan(budget=Budget(sample_size=1000)).check([topic])
    truth = 100 * dead / written
    assert whole.interval_low is not None and whole.interval_high is not None
    assert whole.interval_low <= truth <= whole.interval_high
    assert whole.ratio_percent == pytest.approx(truth, abs=6)
    assert 0 < whole.interval_high - whole.interval_low < 30
    assert 0.02 < whole.coverage < 0.2 and whole.records < 0.2 * written
    assert all(part.records > 0 and part.ratio_percent is not None for part in parts)


def test_few_large_batches_are_counted_once_however_many_windows_meet_them(bench: Bench) -> None:
    topic = bench.topic("tombstones-large-batches")
    values: list[bytes | None] = [None, b"v" * 20, b"w" * 20] * 10_000
    bench.write(topic, values, batch_size=900_000, linger_ms=100, batch_num_messages=15_000)
    whole, part = bench.scan().check([topic])
    assert figures(whole) == figures(part) == (30_000, 10_000, 0)
    assert whole.coverage == 1.0
    assert whole.interval_low == whole.interval_high == whole.ratio_percent == pytest.approx(100 / 3)


def test_the_next_exact_check_reads_only_what_is_new(bench: Bench) -> None:
    topic = bench.topic("tombstones-new")
    bench.write(topic, [None, b"a"] * 500)
    assert figures(bench.scan().check([topic], "exact")[0]) == (1000, 500, 0)
    bench.write(topic, [None] * 100)
    # A budget for less than all: enough for what is new, in a scan that starts afresh from the state.
    seen: list[tuple[int, int]] = []
    whole, _ = bench.scan().check([topic], "exact", progress=lambda done, total: seen.append((done, total)))
    assert figures(whole) == (1100, 600, 0) and seen == [(100, 100)]


def test_counts_of_what_retention_removed_are_taken_off(bench: Bench) -> None:
    topic = bench.topic("tombstones-retention")
    bench.write(topic, [None] * 1000 + [b"a"] * 1000, batch_num_messages=100)
    assert figures(bench.scan().check([topic], "exact")[0]) == (2000, 1000, 0)
    bench.admin.delete_records({TopicPartition(topic, 0): 950})
    bench.write(topic, [b"a"] * 10)
    whole, _ = bench.scan().check([topic], "exact")
    assert figures(whole) == (1060, 50, 0) and whole.coverage == 1.0


def test_a_topic_made_anew_is_counted_anew(bench: Bench) -> None:
    topic = bench.topic("tombstones-anew")
    bench.write(topic, [None] * 50)
    bench.scan().check([topic], "exact")
    bench.admin.delete_topics([topic])
    bench.topic(topic)
    bench.write(topic, [b"a"] * 60)
    assert figures(bench.scan().check([topic], "exact")[0]) == (60, 0, 0)


def test_markers_are_no_records_and_aborted_ones_count_when_asked_for(bench: Bench) -> None:
    topic = bench.topic("tombstones-transactions")
    producer = bench.producer(transactional_id="tombstones", linger_ms=0)
    producer.init_transactions(60)
    for commit, values in ((True, [None, b"a"]), (False, [None] * 5), (True, [b"", None, b"b"])):
        producer.begin_transaction()
        for value in values:
            producer.produce(topic, value, b"k")
        producer.flush(60)
        producer.commit_transaction(20) if commit else producer.abort_transaction(20)
    # The marker of the last transaction follows its commit in a moment.
    eventually(lambda: bench.scan(read_committed=True).check([topic], "exact")[0].records == 5)
    committed, _ = bench.scan(read_committed=True).check([topic], "exact")
    assert figures(committed) == (5, 2, 1) and committed.ratio_percent == 40.0 and committed.coverage == 1
    everything, _ = bench.scan().check([topic], "exact")
    assert figures(everything) == (10, 7, 1)


def test_an_open_transaction_is_read_when_it_has_ended(bench: Bench) -> None:
    topic = bench.topic("tombstones-open")
    bench.write(topic, [b"a"] * 3)
    producer = bench.producer(transactional_id="tombstones-open", linger_ms=0)
    producer.init_transactions(60)
    producer.begin_transaction()
    producer.produce(topic, None, b"k")
    producer.flush(60)
    scan = bench.scan(read_committed=True)
    assert figures(scan.check([topic], "exact")[0]) == (3, 0, 0)
    producer.commit_transaction(20)
    eventually(lambda: figures(scan.check([topic], "exact")[0]) == (4, 1, 0))


def test_what_compaction_removed_is_no_longer_counted(bench: Bench) -> None:
    settings = {"segment_ms": "100", "min_cleanable_dirty_ratio": "0.001", "max_compaction_lag_ms": "200"}
    topic = bench.topic("tombstones-compacted", cleanup_policy="compact", **settings)
    bench.write(topic, [b"old", None] * 1000, key=lambda number: b"k%d" % (number % 200))
    assert bench.scan().check([topic], "exact")[0].records >= 200
    deadline = time.monotonic() + 60
    while (whole := bench.scan().check([topic], "exact")[0]).records >= 400:
        # A write begins a new segment: the cleaner leaves the last one alone.
        assert time.monotonic() < deadline, whole
        bench.write(topic, [b"new"], key=lambda number: b"other")
    assert whole.tombstones == 100 and whole.coverage == 1.0, "the last values of every second key are null"
    assert bench.context.state.items() == [], "nothing is remembered that may be removed any time"
    sampled = bench.scan(budget=Budget(sample_size=400)).check([topic])[0]
    assert sampled.ratio_percent is not None and sampled.interval_low is not None
    assert sampled.records > 0 and sampled.interval_high is not None
    truth = 100 * 100 / whole.records
    assert sampled.interval_low - 1 <= truth <= sampled.interval_high + 1


def test_topics_that_are_not_there_or_go_stop_nobody(bench: Bench) -> None:
    goes, stays = bench.topic("tombstones-goes", 2), bench.topic("tombstones-stays")
    for partition in (0, 1):
        bench.write(goes, [b"x" * 1000] * 12_000, partition, batch_size=100_000)
    bench.write(stays, [None] * 100)

    deleted = False

    def delete(done: int, total: int) -> None:
        nonlocal deleted
        if not deleted:
            deleted = True
            bench.admin.delete_topics([goes])

    counts = bench.scan().check([goes, stays, "tombstones-never"], "exact", progress=delete)
    by_name = {count.topic: count for count in counts if count.partition is None}
    assert figures(by_name[stays]) == (100, 100, 0) and by_name[stays].ratio_percent == 100
    assert set(by_name) == {goes, stays}
    assert by_name[goes].coverage < 1 and by_name[goes].records < 24_000
    low, high = by_name[goes].interval_low, by_name[goes].interval_high
    assert low == 0.0 and high is not None and high > 0, "what was not read may be anything"
    assert bench.problems("unknown_topic") == 1 and bench.problems("topic_deleted") >= 1


def test_a_topic_that_goes_while_it_is_sampled_stops_nobody(bench: Bench) -> None:
    goes, stays = bench.topic("tombstones-sampled-goes", 2), bench.topic("tombstones-sampled-stays")
    for partition in (0, 1):
        bench.write(goes, [b"x" * 1000, None] * 6000, partition, batch_size=20_000)
    bench.write(stays, [None, b"a"] * 5000, batch_size=2000)
    asked_for: list[int] = []

    def delete(done: int, total: int) -> None:
        if not asked_for:
            bench.admin.delete_topics([goes])
        asked_for.append(total)

    counts = bench.scan(budget=Budget(sample_size=4000)).check([goes, stays], progress=delete)
    by_name = {count.topic: count for count in counts if count.partition is None}
    kept, gone = by_name[stays], by_name[goes]
    assert kept.interval_low is not None and kept.interval_high is not None
    assert kept.interval_low <= 50 <= kept.interval_high and kept.records >= 1000
    assert gone.records < 2000 and gone.coverage < 0.5, "most windows were not read any more"
    if gone.ratio_percent is not None and gone.interval_low is not None and gone.interval_high is not None:
        assert gone.interval_low <= 50 <= gone.interval_high
    assert bench.problems("topic_deleted") >= 1
    assert bench.problems("unknown_topic") == 0, "it was there when the check began"


def test_a_spent_budget_says_what_it_left_out_and_the_next_check_goes_on(bench: Bench) -> None:
    topic = bench.topic("tombstones-budget")
    bench.write(topic, [None, b"v" * 1000] * 10_000, batch_size=50_000)
    some, _ = bench.scan(budget=Budget(records=5000)).check([topic], "exact")
    assert 0 < some.coverage < 1 and some.ratio_percent == pytest.approx(50, abs=1)
    assert some.interval_low is not None and some.interval_high is not None
    assert some.interval_low < 50 < some.interval_high
    assert bench.problems("budget") == 1
    for _ in range(10):
        some, _ = bench.scan(budget=Budget(records=5000)).check([topic], "exact")
    assert figures(some) == (20_000, 10_000, 0)


def test_what_was_never_read_has_no_ratio(bench: Bench) -> None:
    topic = bench.topic("tombstones-unread")
    bench.write(topic, [None] * 5000)
    for mode in ("exact", "sampled"):
        whole, part = bench.scan(budget=Budget(seconds=0)).check([topic], mode)  # type: ignore[arg-type]
        assert whole.ratio_percent is part.ratio_percent is None
        assert whole.interval_low is None and whole.coverage == 0


def spans(*rows: tuple[int, int, int, int]) -> Counted:
    return Counted("id", False, [Span(*row) for row in rows])


def test_spans_stay_few_and_add_up() -> None:
    counted = Counted("id", False)
    for number in range(1000):
        counted.add(Span(number * 10, number * 10 + 10, 9, 3))
    assert len(counted.spans) <= 2 * MOST_SPANS
    total = counted.total()
    assert (total.first, total.stop, total.records, total.tombstones) == (0, 10_000, 9000, 3000)
    counted.cut(5005, 10_000)
    assert counted.spans[0].first >= 5005 and counted.spans[0].first - 5005 <= 10_000 / MOST_SPANS * 2


def test_a_log_that_lost_its_end_is_forgotten() -> None:
    counted = spans((0, 10, 10, 1), (10, 20, 10, 1))
    counted.cut(0, 15)
    assert counted.spans == []


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", ""),
        (b"{}", "unreadable"),
        (b"[1]", "unreadable"),
        (b'[1,"id",false,[[0]]]', "unreadable"),
        (b'[1,"id",false,[["x",1]]]', "unreadable"),
        (b'[9,"id",false,[]]', "unreadable"),
        (b'[1,"id",false,[[0,5,1,0,0,0],[6,7,1,0,0,0]]]', "unreadable"),
        (b'[1,"other",false,[[0,5,1,0,0,0]]]', "counted_anew"),
        (b'[1,"id",true,[[0,5,1,0,0,0]]]', "counted_anew"),
    ],
)
def test_state_of_another_kind_is_nothing_and_says_why(data: bytes, why: str) -> None:
    assert decode(data, "id", False) == (Counted("id", False), why)


def test_damaged_state_is_counted_and_the_log_is_read_anew(bench: Bench) -> None:
    topic = bench.topic("tombstones-damaged")
    bench.write(topic, [None, b"a", b"b"])
    bench.context.state.commit({f"{STATE_PREFIX}{topic}/0": b"damaged"})
    labels = {"source": bench.context.name, "part": "tombstones", "reason": "unreadable"}
    for _ in range(2):
        count = bench.scan().check([topic], "exact")[0]
        assert (count.records, count.tombstones) == (3, 1)
        assert bench.context.telemetry.value("metricsmith_kafka_failures_total", **labels) == 1


def test_state_comes_back() -> None:
    counted = spans((0, 10, 10, 1), (10, 20, 10, 1))
    assert decode(counted.encode(), "id", False) == (counted, "")
