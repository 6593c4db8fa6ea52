"""Claim: reading a cluster costs requests per broker, and time that grows no faster than what is read.

Partitions and groups at 1×, 2× and 4× on a real broker: requests, seconds and CPU seconds of one round
(topics, groups, commits, log offsets, lag and its verdict), beside asking for each group on its own.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from pathlib import Path

from confluent_kafka import Producer
from kafka import KafkaAdminClient
from kafka.structs import OffsetAndMetadata, TopicPartition

from metricsmith.model.clock import SystemClock
from metricsmith.model.state import MemoryState
from metricsmith.sources.kafka.client import Client
from metricsmith.sources.kafka.observer import Observer
from metricsmith.sources.kafka.settings import KafkaConfig
from metricsmith.sources.kafka.sheets import cluster_sheet
from metricsmith.testing import kafka as real

PARTITIONS, GROUPS, READ_EACH, RECORDS, ROUNDS = 500, 50, 100, 20, 6


def commit(admin: KafkaAdminClient, group: str, topic: str) -> None:
    """Commit on the first partitions of a topic; a young coordinator refuses for a moment."""
    wanted = {TopicPartition(topic, n): OffsetAndMetadata(0, "", -1) for n in range(READ_EACH)}
    while True:
        with contextlib.suppress(Exception):
            told = admin.alter_group_offsets(group, wanted)
            if all(error is None or error.__name__ == "NoError" for error in told.values()):
                return
        time.sleep(0.05)


def write(cluster: real.Cluster, topic: str, partitions: int) -> None:
    """Write something to read, so that every group lags."""
    producer = Producer({"bootstrap.servers": cluster.bootstrap()})
    for number in range(partitions * RECORDS):
        producer.produce(topic, b"x", partition=number % partitions)
        producer.poll(0)
    producer.flush()


def measure(cluster: real.Cluster) -> tuple[int, float, float, int]:
    """Return requests, seconds, CPU seconds and samples of a round in the middle of several, all lagging."""
    config = KafkaConfig(bootstrap_servers=cluster.bootstrap())
    observer, client = Observer(config, MemoryState(), SystemClock().now_ms), Client(config)
    rounds = []
    for _ in range(ROUNDS):
        before, wall, cpu = client.requests, time.perf_counter(), time.process_time()
        observer.read(client)
        samples = len(cluster_sheet(observer.view, {}).keys)
        taken = time.perf_counter() - wall, time.process_time() - cpu
        rounds.append((taken[0], client.requests - before, taken[1], samples))
    client.close()
    seconds, requests, cpu, samples = sorted(rounds[1:])[ROUNDS // 2 - 1]
    return requests, seconds, cpu, samples


def main() -> None:
    """Print one line per size."""
    with (
        tempfile.TemporaryDirectory() as folder,
        real.cluster(Path(folder) / "kafka") as cluster,
        KafkaAdminClient(bootstrap_servers=cluster.bootstrap()) as admin,
    ):
        groups: list[str] = []
        for number, size in enumerate((1, 1, 2)):
            topic, times = f"bench-{number}", 2**number
            admin.create_topics({topic: {"num_partitions": PARTITIONS * size, "replication_factor": 1}})
            write(cluster, topic, PARTITIONS * size)
            for group in range(GROUPS * size):
                groups.append(f"group-{number}-{group}")
                commit(admin, groups[-1], topic)
            requests, seconds, cpu, samples = measure(cluster)
            start = time.perf_counter()
            for name in groups:
                admin.list_group_offsets({name: None})
            alone = time.perf_counter() - start
            print(
                f"{times}x: {PARTITIONS * times} partitions, {GROUPS * times} groups,"
                f" {GROUPS * times * READ_EACH} pairs: {requests} requests, {seconds:.2f} s,"
                f" {cpu:.2f} s CPU, {samples} samples, {seconds / samples * 1e6:.1f} µs a sample;"
                f" commits asked group by group, and nothing else: {len(groups)} requests, {alone:.2f} s"
            )


if __name__ == "__main__":
    main()
