"""Producers and consumers of the demo's Kafka, each in a thread of its own, at bounded rates."""

from __future__ import annotations

import contextlib
import logging
import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from metricsmith.demo.kafka_story import GROUPS, TOPICS, Group, Topic
from metricsmith.net.kafka_login import CLIENT_ID

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer  # isort: skip - after the client, which tells how to install it
from kafka.structs import OffsetAndMetadata, TopicPartition  # isort: skip

TICK_S = 0.1
POLL_MS = 100
LONGEST_TICK_S = 1.0
MOST = 1000
DELIVERY_LIMIT_MS, JOIN_LIMIT_S = 8000, 10.0
"""What is written when Kafka has died is given up before the threads are: a producer left open complains."""
FEW_BYTES = 2048
"""Batches and fetches are small, so that a slow group moves on all its partitions by turns."""


class Players:
    """The threads; `failure` is what ended one of them before its time."""

    def __init__(self, bootstrap: str) -> None:
        self.failure: Exception | None = None
        self._bootstrap, self._stop = bootstrap, threading.Event()
        self._threads: list[threading.Thread] = []

    def prepare(self) -> None:
        """Make the topics and write what is there before the story begins."""
        self._play(self._prepare)

    def start(self) -> None:
        """Start to write, and the groups."""
        self._spawn("producer", self._produce)
        for group in GROUPS:
            self._spawn(f"group {group.name}", partial(self._consume, group))

    def stop(self) -> None:
        """End all threads."""
        self._stop.set()
        deadline = time.monotonic() + JOIN_LIMIT_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _prepare(self) -> None:
        logging.getLogger("kafka").setLevel(logging.CRITICAL)  # what matters is in `failure`
        made = {
            topic.name: {
                "num_partitions": topic.partitions,
                "replication_factor": 1,
                "configs": topic.settings,
            }
            for topic in TOPICS
        }
        with KafkaAdminClient(bootstrap_servers=self._bootstrap) as admin:
            admin.create_topics(made, wait_for_metadata=True)
        with self._producer() as producer:
            chance = random.Random(0)
            for topic in TOPICS:
                _write(producer, topic, chance, range(topic.before))

    def _spawn(self, name: str, part: Callable[[], None]) -> None:
        self._threads.append(threading.Thread(target=self._play, args=(part,), name=name, daemon=True))
        self._threads[-1].start()

    def _play(self, part: Callable[[], None]) -> None:
        try:
            part()
        except Exception as error:
            self.failure = self.failure or error

    def _ticks(self, pause_s: float = TICK_S) -> Iterator[float]:
        """Yield the time since the first tick, until the story is over."""
        began = time.monotonic()
        while not self._stop.is_set():
            yield time.monotonic() - began
            self._stop.wait(pause_s)

    @contextlib.contextmanager
    def _producer(self) -> Iterator[Any]:
        producer = KafkaProducer(
            bootstrap_servers=self._bootstrap,
            client_id=f"{CLIENT_ID}-demo",
            linger_ms=5,
            batch_size=FEW_BYTES,
            delivery_timeout_ms=DELIVERY_LIMIT_MS,
            request_timeout_ms=DELIVERY_LIMIT_MS // 2,
            max_block_ms=DELIVERY_LIMIT_MS,
        )
        try:
            yield producer
        finally:
            producer.close(timeout=DELIVERY_LIMIT_MS / 1000)

    def _produce(self) -> None:
        chance = random.Random(1)
        written = {topic.name: topic.before for topic in TOPICS}
        with self._producer() as producer:
            for elapsed in self._ticks():
                for topic in TOPICS:
                    due = topic.before + int(elapsed * topic.rate)
                    _write(producer, topic, chance, range(written[topic.name], due))
                    written[topic.name] = due

    def _consume(self, group: Group) -> None:
        consumer = KafkaConsumer(
            group.topic,
            bootstrap_servers=self._bootstrap,
            client_id=group.name,
            group_id=group.name,
            enable_auto_commit=False,
            auto_offset_reset="earliest" if group.behind else "latest",
            max_partition_fetch_bytes=FEW_BYTES,
        )
        try:
            self._read(consumer, group)
            if not group.leaves and not self._stop.is_set():
                self._hang(consumer)
        finally:
            consumer.close(autocommit=False)

    def _read(self, consumer: Any, group: Group) -> None:
        before, unbounded = 0.0, group.rate == math.inf
        ends_s = math.inf  # counted from the first commit: to join may take long
        for elapsed in self._ticks(0 if unbounded else TICK_S):
            if elapsed > ends_s:
                return
            most = MOST if unbounded else max(1, round(group.rate * min(elapsed - before, LONGEST_TICK_S)))
            before = elapsed
            found = consumer.poll(timeout_ms=POLL_MS, max_records=most)
            if found:
                consumer.commit()
                ends_s = min(ends_s, elapsed + group.ends_s)
            if group.behind and sum(len(records) for records in found.values()) < most:
                _begin_again(consumer, group)

    def _hang(self, consumer: Any) -> None:
        """Stay a member and read nothing, as a program does whose work never ends."""
        consumer.pause(*consumer.assignment())
        for _ in self._ticks():
            consumer.poll(timeout_ms=POLL_MS)


def _write(producer: Any, topic: Topic, chance: random.Random, numbers: range) -> None:
    sent = []
    for number in numbers:
        key, value = topic.record(chance, number)
        sent.append(producer.send(topic.name, key=key, value=value))
    producer.flush()
    for each in sent:
        if each.failed():
            raise each.exception


def _begin_again(consumer: Any, group: Group) -> None:
    """Have a group that has caught up, or nearly so, go back as far as it began."""
    ends: dict[TopicPartition, int] = consumer.end_offsets(consumer.assignment())
    left = sum(end - consumer.position(partition) for partition, end in ends.items())
    if not ends or left > group.rate:
        return
    back = {partition: max(0, end - group.behind // len(ends)) for partition, end in ends.items()}
    for partition, offset in back.items():
        consumer.seek(partition, offset)
    consumer.commit({partition: OffsetAndMetadata(offset, "", -1) for partition, offset in back.items()})
