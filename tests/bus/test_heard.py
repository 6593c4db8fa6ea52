"""A consumer says whom it hears and when, and whether it can listen at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import zmq

from metricsmith.contracts import Delivery
from metricsmith.errors import RetryLater
from metricsmith.model.targets import Health

Ends = tuple[Any, Any]


async def test_a_consumer_lists_its_producers_and_when_each_was_heard(ends: Ends) -> None:
    edge, centre = ends
    source = centre.receive()
    assert [t.url for t in source.targets().active] == [centre.settings["endpoint"]]
    edge.settings["producer"] = "edge-7"
    await edge.sender().send(Delivery([0], [edge.batch(0)]))
    await centre.until(lambda: source.targets().active[0].health is Health.UP)
    (producer,) = source.targets().active[1:]
    assert (producer.url, producer.health) == ("edge-7", Health.UP)
    await centre.close()
    (producer,) = centre.receive().targets().active[1:]  # known, and not heard since the start
    assert (producer.url, producer.health) == ("edge-7", Health.UNKNOWN)


async def test_a_consumer_that_does_not_take_from_a_producer_says_so(ends: Ends) -> None:
    edge, centre = ends
    source = centre.receive()
    centre.store.full = True
    with pytest.raises(RetryLater):
        await edge.sender().send(Delivery([0], [edge.batch(0)]))
    producer = source.targets().active[1]
    assert producer.health is Health.DOWN and "not accepted" in producer.last.error


async def test_a_port_that_is_taken_is_waited_for_and_shown(
    ends: Ends, bare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metricsmith.net.door.RETRY_S", 0.05)
    _, centre = ends
    other = bare(zmq.ROUTER, centre.settings["endpoint"], bind=True)
    source = centre.receive()
    await centre.until(lambda: source.targets().active[0].health is Health.DOWN)
    assert "cannot listen at" in source.targets().active[0].last.error
    other.close(linger=0)
    await centre.until(lambda: source.targets().active[0].health is Health.UP)


async def test_topics_are_listed_with_the_time_of_their_last_message(
    receive: Callable[..., Any], bare: Callable[..., Any], endpoint: str
) -> None:
    side = receive(endpoint=endpoint)
    sender = bare(zmq.XPUB, endpoint)
    await asyncio.to_thread(sender.recv)
    sender.send_multipart([b"metrics.a", b'{"service": "a", "metrics": {"m": 1}}'])
    await side.until(lambda: bool(side.samples()))
    listening, topic = side.source.targets().active
    assert (listening.url, listening.health) == (endpoint, Health.UP)
    assert (topic.url, topic.health) == ("metrics.a", Health.UP)
    assert topic.last.time_ms >= listening.last.time_ms > 0
