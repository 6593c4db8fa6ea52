"""Claim: reading a cluster costs requests per broker, time as what is read, and little CPU meanwhile.

    python bench/bench_kafka_admin.py [--partitions 500] [--groups 50] [--reads 100] [--idle 90]

A real broker at 1×, 2× and 4× of so many partitions and groups, each group with commits on `reads`
partitions, all lagging. A round reads topics, groups, commits, log offsets, and judges every lag: requests,
bytes on the wire, seconds and CPU seconds of it, with a young history and with a full one of an hour; beside
asking each group for its commits. Then an agent with the source at its default intervals, history full, over
the largest. About 4 minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from confluent_kafka import Producer
from kafka import KafkaAdminClient
from kafka.structs import OffsetAndMetadata, TopicPartition

from common import EMPTY_AGENT, agent, table, usage, workspace
from metricsmith.contracts import State
from metricsmith.model.state import MemoryState
from metricsmith.runtime.state import StateFile
from metricsmith.sources.kafka.client import Client
from metricsmith.sources.kafka.observer import Observer
from metricsmith.sources.kafka.settings import KafkaConfig
from metricsmith.sources.kafka.sheets import cluster_sheet
from metricsmith.testing import kafka as real

SIZES = (1, 2, 4)
RECORDS = 20
ROUNDS, MEASURED = 62, 5
"""An hour of readings a minute apart; the medians are over the first and the last so many."""
SETTLED_LIMIT_S = 60.0
SOURCE = "kafka"


@dataclass(frozen=True, slots=True)
class Round:
    """What one round cost."""

    seconds: float
    cpu_s: float
    requests: int
    bytes_out: int
    bytes_in: int
    samples: int


def enlarge(cluster: real.Cluster, admin: KafkaAdminClient, topic: str, partitions: int) -> None:
    """Make a topic with something to read in each partition."""
    admin.create_topics(
        {topic: {"num_partitions": partitions, "replication_factor": 1}}, wait_for_metadata=True
    )
    producer = Producer({"bootstrap.servers": cluster.bootstrap()})
    for number in range(partitions * RECORDS):
        producer.produce(topic, b"x", partition=number % partitions)
        producer.poll(0)
    producer.flush()


def commit(admin: KafkaAdminClient, group: str, topic: str, partitions: Sequence[int]) -> None:
    """Commit on some partitions; a young coordinator refuses for a moment."""
    wanted = {TopicPartition(topic, n): OffsetAndMetadata(RECORDS // 2, "", -1) for n in partitions}
    while True:
        with contextlib.suppress(Exception):
            told = admin.alter_group_offsets(group, wanted)
            if all(error is None or error.__name__ == "NoError" for error in told.values()):
                return
        time.sleep(0.05)


def rounds(bootstrap: str, state: State) -> list[Round]:
    """Return the cost of rounds a minute apart by their clock, the last now; their history is saved."""
    config = KafkaConfig(bootstrap_servers=bootstrap)
    now_ms = int(time.time() * 1000) - ROUNDS * 60_000
    observer, client = Observer(config, state, lambda: now_ms), Client(config)
    made = []
    for _ in range(ROUNDS):
        now_ms += 60_000
        requests, sent, received = client.requests, client.traffic.bytes_out, client.traffic.bytes_in
        wall, cpu = time.perf_counter(), time.process_time()
        client.begin_round()
        observer.read(client)
        samples = len(cluster_sheet(observer.view, {}).keys)
        made.append(
            Round(
                time.perf_counter() - wall,
                time.process_time() - cpu,
                client.requests - requests,
                client.traffic.bytes_out - sent,
                client.traffic.bytes_in - received,
                samples,
            )
        )
        observer.save()
    client.close()
    return made


def group_by_group(admin: KafkaAdminClient, groups: Sequence[str]) -> float:
    """Return the seconds of asking each group for its commits, and nothing else."""
    started = time.perf_counter()
    for name in groups:
        admin.list_group_offsets({name: None})
    return time.perf_counter() - started


def grow(cluster: real.Cluster, given: argparse.Namespace, state: State) -> None:
    """Print what rounds cost at each size; the history of the largest is saved in `state`."""
    rows: list[tuple[object, ...]] = []
    groups: list[str] = []
    with KafkaAdminClient(bootstrap_servers=cluster.bootstrap()) as admin:
        for step, size in enumerate(SIZES):
            more = size - (SIZES[step - 1] if step else 0)
            topic, partitions = f"bench-{step}", given.partitions * more
            enlarge(cluster, admin, topic, partitions)
            for number in range(given.groups * more):
                groups.append(f"group-{step}-{number}")
                first = number * given.reads
                commit(admin, groups[-1], topic, [(first + n) % partitions for n in range(given.reads)])
            made = rounds(cluster.bootstrap(), state if size == SIZES[-1] else MemoryState())
            rows.append(_row(size, given, made, group_by_group(admin, groups)))
    table(
        "One round of the kafka source, one broker",
        (
            "size",
            "partitions",
            "groups",
            "pairs",
            "samples",
            "requests",
            "KB out",
            "KB in",
            "seconds, young",
            "CPU, young",
            "seconds, full history",
            "CPU, full",
            "µs a sample, full",
            "commits alone, group by group: requests",
            "seconds",
        ),
        rows,
    )


def _row(size: int, given: argparse.Namespace, made: Sequence[Round], alone_s: float) -> tuple[object, ...]:
    young, full = made[1 : 1 + MEASURED], made[-MEASURED:]
    last = made[-1]

    def median(some: Sequence[Round], name: str) -> float:
        return float(np.median([getattr(each, name) for each in some]))

    return (
        f"{size}×",
        f"{given.partitions * size:,}",
        f"{given.groups * size:,}",
        f"{given.groups * size * given.reads:,}",
        f"{last.samples:,}",
        last.requests,
        f"{last.bytes_out / 1000:,.0f}",
        f"{last.bytes_in / 1000:,.0f}",
        median(young, "seconds"),
        median(young, "cpu_s"),
        median(full, "seconds"),
        median(full, "cpu_s"),
        median(full, "seconds") / last.samples * 1e6,
        given.groups * size,
        alone_s,
    )


def idle(folder: Path, bootstrap: str, seconds: float) -> None:
    """Print the CPU of an agent with the source at its default intervals."""
    config = (
        f"{EMPTY_AGENT}sources:\n- {{{{type: kafka, name: {SOURCE}, bootstrap_servers: '{bootstrap}'}}}}\n"
    )
    rows = []
    with agent(folder, config) as server:
        for _ in _until(SETTLED_LIMIT_S):
            if ask(server.url, "count(kafka_topic_tombstone_coverage)") == len(SIZES):
                break
        before = usage(server.pid)
        time.sleep(seconds)
        after = usage(server.pid)
        pairs = ask(server.url, "count(kafka_consumergroup_lag)")
        known = ask(server.url, "count(kafka_consumergroup_catch_up_seconds)")
        percent = 100 * (after.cpu_s - before.cpu_s) / seconds
        rows.append((f"{pairs:,.0f}", f"{known:,.0f}", percent, after.resident_bytes / 1e6))
    table(
        f"The agent with the source at its default intervals, {seconds:g} s",
        ("pairs", "with a prediction", "% of one core", "MB resident"),
        rows,
    )


def ask(url: str, expression: str) -> float:
    """Return the value of an expression with one series, 0 without."""
    query = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"{url}/api/v1/query?{query}", timeout=30) as answer:
        result = json.loads(answer.read())["data"]["result"]
    return float(result[0]["value"][1]) if result else 0.0


def _until(seconds: float) -> Iterator[None]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(0.5)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--partitions", type=int, default=500)
    parser.add_argument("--groups", type=int, default=50)
    parser.add_argument("--reads", type=int, default=100)
    parser.add_argument("--idle", type=float, default=90.0)
    given = parser.parse_args()
    with workspace() as folder, real.cluster(folder / "kafka", heap="512m") as cluster:
        state = StateFile(folder / "agent" / "data" / "state.sqlite")
        grow(cluster, given, state.of(f"part/{SOURCE}"))
        state.close()
        idle(folder / "agent", cluster.bootstrap(), given.idle)


if __name__ == "__main__":
    main()
