"""Claim: an exact count of tombstones reads more records a second than a tuned client or kcat.

    python bench/bench_tombstones.py [--records 5000000] [--partitions 12] [--runs 3]

One real broker on loopback holds small records (a fifth of them tombstones) in batches of 16 KB, as a Java
producer makes them. In one run, in turns: metricsmith's exact count, with and without checksums; a
confluent-kafka loop that counts null values, with default settings and tuned (`fetch.queue.backoff.ms=5`,
deep queue); kcat, which throws records away. All that count must agree. Then samples, each a new draw, beside
the exact ratio. With 5 million records about 2 minutes.
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
TUNED_LOOP, KCAT = "confluent-kafka loop, tuned", "kcat -C -e -f ''"
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


def check(
    bootstrap: str, mode: str, crc: bool = False, sample_size: int = 1000, seed: int = 0
) -> TombstoneCount:
    """Return the count of the topic, by a client of its own."""
    context = Context("bench", SeriesTable(), Telemetry(), SystemClock())
    client = Client(Connection(bootstrap_servers=bootstrap))
    try:
        budget = Budget(sample_size=sample_size)
        scan = TombstoneScan(client, context, budget, check_crc=crc, rng=np.random.default_rng(seed))
        return scan.check([TOPIC], mode)[0]  # type: ignore[arg-type]
    finally:
        client.close()


def race(bootstrap: str, records: int, partitions: int, runs: int) -> TombstoneCount:
    """Print how fast each reads the topic, and return the exact count."""
    kcat = [*real.kcat(), "-C", "-e", "-q", "-b", bootstrap, "-t", TOPIC, "-f", ""]
    contenders: dict[str, Callable[[], object]] = {
        "exact": lambda: check(bootstrap, "exact").tombstones,
        "exact, checksums": lambda: check(bootstrap, "exact", crc=True).tombstones,
        TUNED_LOOP: lambda: consume(bootstrap, records, partitions, **TUNED),
        KCAT: lambda: subprocess.check_call(kcat) or None,
        "confluent-kafka loop, default settings": lambda: consume(bootstrap, records, partitions),
    }
    exact = check(bootstrap, "exact")
    assert exact.records == records, f"got {exact.records}, wanted {records}"
    spent: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(runs):
        for name, action in contenders.items():
            started = time.perf_counter()
            found = action()
            spent[name].append(time.perf_counter() - started)
            assert found in (None, exact.tombstones), f"{name}: got {found}, wanted {exact.tombstones}"
    rate = {name: records / min(times) for name, times in spent.items()}
    table(
        f"Tombstones of {records:,} records in {partitions} partitions, best of {runs}",
        ("reader", "seconds", "million records/s", "times the tuned loop", "times kcat"),
        [
            (name, min(spent[name]), each / 1e6, each / rate[TUNED_LOOP], each / rate[KCAT])
            for name, each in rate.items()
        ],
    )
    return exact


def sample(bootstrap: str, exact: TombstoneCount, partitions: int, draws: int) -> None:
    """Print how far draws of a sample are from the exact ratio."""
    assert exact.ratio_percent is not None
    rows = []
    for size in (1000, exact.records // partitions // 50):
        started = time.perf_counter()
        counts = [check(bootstrap, "sampled", sample_size=size, seed=seed) for seed in range(draws)]
        seconds = (time.perf_counter() - started) / draws
        errors = np.abs([(count.ratio_percent or 0) - exact.ratio_percent for count in counts])
        inside = [
            (count.interval_low or 0) <= exact.ratio_percent <= (count.interval_high or 100)
            for count in counts
        ]
        read = float(np.mean([count.records for count in counts])) / exact.records
        rows.append(
            (
                f"{size:,}",
                seconds,
                100 * read,
                float(np.median(errors)),
                float(errors.max()),
                f"{np.count_nonzero(errors <= 1)} of {draws}",
                f"{sum(inside)} of {draws}",
            )
        )
    table(
        f"A sample beside the exact ratio of {exact.ratio_percent:.2f} %, {draws} draws",
        (
            "sample_size",
            "seconds",
            "% of the records read",
            "median error, points",
            "largest",
            "within 1 point",
            "interval holds the truth",
        ),
        rows,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=5_000_000)
    parser.add_argument("--partitions", type=int, default=12)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--draws", type=int, default=40)
    given = parser.parse_args()
    with workspace() as folder, real.cluster(Path(folder) / "kafka", heap="512m") as cluster:
        bootstrap = cluster.bootstrap()
        produce(bootstrap, given.records, given.partitions)
        exact = race(bootstrap, given.records, given.partitions, given.runs)
        sample(bootstrap, exact, given.partitions, given.draws)


if __name__ == "__main__":
    main()
