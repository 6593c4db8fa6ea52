"""Claim: an exact count of tombstones reads more records a second than a tuned client or kcat.

    python bench/bench_tombstones.py [--records 5000000] [--partitions 12] [--runs 3]

One real broker on loopback holds small records (a fifth of them tombstones) in batches of 16 KB, as a Java
producer makes them. In one run, in turns: metricsmith's exact count, with and without checksums; a
confluent-kafka loop that counts null values, with default settings and tuned (`fetch.queue.backoff.ms=5`,
deep queue); kcat, which throws records away. Then a sample, beside the exact ratio.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from common import table, workspace
from metricsmith.contracts import Context
from metricsmith.model.clock import SystemClock
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.sources.kafka.client import Client
from metricsmith.sources.kafka.scan import Budget
from metricsmith.sources.kafka.settings import Connection
from metricsmith.sources.kafka.tombstone_counts import TombstoneCount
from metricsmith.sources.kafka.tombstones import TombstoneScan
from metricsmith.testing import kafka as real

TOPIC = "bench-tombstones"
TUNED = {"fetch.queue.backoff.ms": 5, "queued.min.messages": 1_000_000, "queued.max.messages.kbytes": 1 << 20}


def produce(bootstrap: str, records: int, partitions: int) -> None:
    """Tombstones come in runs, as deletes do, and their share drifts along the log."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for made in admin.create_topics([NewTopic(TOPIC, partitions, 1)]).values():
        made.result()
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "queue.buffering.max.messages": 2_000_000,
            "batch.size": 16_384,
            "linger.ms": 20,
        }
    )
    rng = np.random.default_rng(0)
    drift = 0.2 + 0.15 * np.sin(np.linspace(0, 7, records))
    share = drift + np.repeat(rng.uniform(-0.05, 0.05, records // 5000 + 1), 5000)[:records]
    null = (rng.random(records) < share).tolist()
    for number, dead in enumerate(null):
        value = None if dead else b"value-%d" % number
        producer.produce(TOPIC, value, b"key-%d" % number, partition=number % partitions)
        if number % 10_000 == 0:
            producer.poll(0)
            if len(producer) > 1_000_000:
                producer.flush()
    producer.flush()


def consume(bootstrap: str, records: int, partitions: int, **settings: object) -> int:
    """Return how many null values a consumer loop sees."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "bench", "enable.auto.commit": False, **settings}
    )
    consumer.assign([TopicPartition(TOPIC, number, 0) for number in range(partitions)])
    seen = dead = 0
    while seen < records:
        for message in consumer.consume(10_000, 1.0):
            seen += 1
            dead += message.value() is None
    consumer.close()
    return dead


def timed(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def check(bootstrap: str, mode: str, crc: bool = False, sample_size: int = 1000) -> TombstoneCount:
    context = Context("bench", SeriesTable(), Telemetry(), SystemClock())
    client = Client(Connection(bootstrap_servers=bootstrap))
    try:
        budget = Budget(sample_size=sample_size)
        scan = TombstoneScan(client, context, budget, check_crc=crc, rng=np.random.default_rng(1))
        return scan.check([TOPIC], mode)[0]  # type: ignore[arg-type]
    finally:
        client.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=5_000_000)
    parser.add_argument("--partitions", type=int, default=12)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    records, partitions = given.records, given.partitions
    with workspace() as folder, real.cluster(Path(folder) / "kafka") as cluster:
        bootstrap = cluster.bootstrap()
        produce(bootstrap, records, partitions)
        kcat = [*real.kcat(), "-C", "-e", "-q", "-b", bootstrap, "-t", TOPIC, "-f", ""]
        contenders: dict[str, Callable[[], object]] = {
            "exact": lambda: check(bootstrap, "exact"),
            "exact, checksums": lambda: check(bootstrap, "exact", True),
            "confluent-kafka, tuned": lambda: consume(bootstrap, records, partitions, **TUNED),
            "kcat -C -e -f ''": lambda: subprocess.run(kcat, check=True),
            "confluent-kafka, default": lambda: consume(bootstrap, records, partitions),
        }
        spent: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(given.runs):
            for name, action in contenders.items():
                spent[name].append(timed(action))
        exact = check(bootstrap, "exact")
        sizes = {"default": 1000, "2 % of the records": records // partitions // 50}
        samples = {name: check(bootstrap, "sampled", sample_size=size) for name, size in sizes.items()}
    best = {name: records / min(times) for name, times in spent.items()}
    table(
        f"Tombstones of {records:,} records in {partitions} partitions, best of {given.runs}",
        ("reader", "million records/s", "times the tuned loop", "times kcat"),
        [
            (name, rate / 1e6, rate / best["confluent-kafka, tuned"], rate / best["kcat -C -e -f ''"])
            for name, rate in best.items()
        ],
    )
    assert exact.records == records and exact.ratio_percent is not None
    print(f"\nexact: {exact.ratio_percent:.2f} %")
    for name, found in samples.items():
        assert found.ratio_percent is not None
        print(
            f"sampled, {name}: {found.ratio_percent:.2f} % [{found.interval_low:.2f},"
            f" {found.interval_high:.2f}], {found.ratio_percent - exact.ratio_percent:+.2f} points,"
            f" from {100 * found.records / records:.2f} % of the records"
        )


if __name__ == "__main__":
    main()
