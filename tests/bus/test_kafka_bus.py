"""The bus in a real Kafka: consumers of a group share the load, and nothing is lost when one goes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer

from metricsmith.errors import DiskFull, RetryLater
from metricsmith.sinks.bus_kafka import KafkaBusSink
from metricsmith.sources.bus.kafka import KafkaBusSource
from metricsmith.testing.services import free_port

NOW = 1_700_000_000_000


@pytest.fixture
def topic(kafka: Any, request: pytest.FixtureRequest) -> str:
    """A topic of four partitions, named after the test."""
    name = f"bus-{request.node.name[:60]}"
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap())
    admin.create_topics({name: {"num_partitions": 4, "replication_factor": 1}})
    admin.close()
    return name


@pytest.fixture
async def consume(kafka: Any, side: Callable[[], Any], topic: str) -> AsyncIterator[Callable[..., Any]]:
    """Run a `bus_kafka` source; returned is what it receives, with what stops it."""
    running: list[Callable[[], Any]] = []

    def start(**settings: Any) -> Any:
        received, stop = side(), asyncio.Event()
        config = KafkaBusSource.Config(
            bootstrap_servers=kafka.bootstrap(), topic=topic, max_age="10000d", **settings
        )
        source = KafkaBusSource(config, received.context)
        task = asyncio.create_task(source.run(received.emit, stop))

        async def end() -> None:
            stop.set()
            await task

        received.end = end
        running.append(end)
        return received

    yield start
    for end in running:
        await end()


@pytest.fixture
async def sink(kafka: Any, side: Callable[[], Any], topic: str) -> AsyncIterator[tuple[Any, KafkaBusSink]]:
    known = side()
    made = KafkaBusSink(KafkaBusSink.Config(bootstrap_servers=kafka.bootstrap(), topic=topic), known.context)
    yield known, made
    await made.close()


def values(*sides: Any) -> set[str]:
    return {value for each in sides for _, _, value in each.samples()}


def _have(wanted: set[str], *sides: Any) -> bool:
    return values(*sides) == wanted


async def send(sink: tuple[Any, KafkaBusSink], first: int, count: int, services: int = 16) -> set[str]:
    """Send samples, a message each; return their values."""
    known, target = sink
    for number in range(first, first + count):
        labels = {"service": f"s{number % services}"}
        await target.send(known.delivery(number, {"a": float(number)}, NOW + number, **labels))
    return {repr(float(number)) for number in range(first, first + count)}


async def test_consumers_of_a_group_share_the_load_and_take_over(consume, sink):
    one, two = consume(), consume()
    one.news = two.news  # either of them may be the one that receives
    sent = await send(sink, 0, 16)
    await one.until(lambda: values(one, two) == sent)
    number = 16
    while not (one.samples() and two.samples()):  # until the group has found its members
        assert number < 2000
        sent |= await send(sink, number, 16)
        number += 16
        await one.until(partial(_have, sent, one, two))
    assert len(one.samples()) + len(two.samples()) < 2 * len(sent)
    one.refusals += [DiskFull("full")] * 10_000  # what it takes from now on, it does not commit
    more = await send(sink, number, 64)
    await one.end()
    await two.until(lambda: more <= values(two))
    assert values(one, two) == sent | more


async def test_what_was_committed_does_not_come_again(consume, sink):
    first = consume()
    sent = await send(sink, 0, 20)
    await first.until(lambda: values(first) == sent)
    await first.end()
    later = consume()
    more = await send(sink, 20, 20)
    await later.until(lambda: more <= values(later))
    assert values(later) == more


async def test_a_series_stays_in_one_partition_and_other_programs_read_it(kafka, sink, topic):
    await send(sink, 0, 64, services=8)
    consumer = KafkaConsumer(
        topic, bootstrap_servers=kafka.bootstrap(), auto_offset_reset="earliest", consumer_timeout_ms=60_000
    )
    found: dict[str, set[int]] = {}
    for count, record in enumerate(consumer, 1):
        message = json.loads(record.value)
        assert set(message) == {"service", "timestamp", "metrics"}
        found.setdefault(message["service"], set()).add(record.partition)
        if count == 64:
            break
    consumer.close()
    assert {len(partitions) for partitions in found.values()} == {1}
    assert len(set.union(*found.values())) > 1


async def test_messages_of_other_programs_and_what_is_none(kafka, consume, topic):
    received = consume(topics=["metrics.org.*"])
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap())
    good = {"service": "org.a", "metrics": {"x": 1.5}, "timestamp": "2023-11-14T22:13:20Z"}
    for value in (
        {**good, "service": "com.b"},
        {**good, "metrics": "x"},
        good,
    ):
        producer.send(topic, json.dumps(value).encode(), partition=0)
    producer.flush()
    producer.close()
    await received.until(lambda: bool(received.samples()))
    assert [sample[1:] for sample in received.samples()] == [(NOW, "1.5")]
    refused = "metricsmith_bus_messages_refused_total"
    assert received.telemetry.value(refused, source="side", reason="message") == 1


@pytest.mark.usefixtures("kafka")  # so that sockets which its client leaves open are passed over
async def test_a_cluster_that_is_away_is_tried_again(side):
    known = side()
    settings = {"bootstrap_servers": f"127.0.0.1:{free_port()}", "timeout": "300ms"}
    sink = KafkaBusSink(KafkaBusSink.Config(**settings), known.context)
    with pytest.raises(RetryLater):
        await sink.send(known.delivery(0, {"a": 1.0}, NOW))
    await sink.close()
    stop = asyncio.Event()
    source = KafkaBusSource(KafkaBusSource.Config(**settings), known.context)
    task = asyncio.create_task(source.run(known.emit, stop))
    failures = "metricsmith_source_failures_total"
    end = time.monotonic() + 60
    while not known.telemetry.value(failures, source="side", reason="kafka"):
        assert time.monotonic() < end
        await asyncio.sleep(0.02)
    stop.set()
    await task
