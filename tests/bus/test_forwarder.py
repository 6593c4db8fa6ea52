"""The forwarder: producers and consumers both connect to it, and what it cannot hand on is counted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import zmq

from metricsmith.net.bus_keys import write_keys
from metricsmith.net.bus_settings import SocketSettings
from metricsmith.net.forwarder import Forwarder
from metricsmith.net.zmq_sockets import BusUnusable
from metricsmith.testing.programs import LIMIT_S

NOW = 1_700_000_000_000
ANY = "tcp://127.0.0.1:*"


def at_any_port(**settings: Any) -> SocketSettings:
    """Return settings that a user cannot have: the port is left to the system."""
    return SocketSettings(bind=True).model_copy(update={"endpoint": ANY, **settings})


@contextmanager
def forwarding(**settings: Any) -> Iterator[Forwarder]:
    forwarder = Forwarder(at_any_port(**settings), at_any_port(**settings))
    thread = threading.Thread(target=forwarder.run)
    thread.start()
    try:
        yield forwarder
    finally:
        forwarder.stop()
        thread.join()


@pytest.fixture
def forwarder() -> Iterator[Forwarder]:
    with forwarding() as forwarder:
        yield forwarder


def subscribed(publisher: zmq.Socket[bytes], prefix: bytes) -> None:
    """Return when a subscription has reached a publisher."""
    while publisher.recv() != b"\x01" + prefix:
        pass


async def test_producer_and_consumer_meet_at_a_forwarder(receive, publish, heard, forwarder):
    producers, consumers = forwarder.addresses()
    side = receive(endpoint=consumers, bind=False, max_age="10000d")
    known, sink = publish(endpoint=producers)
    with zmq.Context() as context, context.socket(zmq.SUB) as idle:
        await heard(sink, b"metrics.", idle)
    await sink.send(known.delivery(0, {"a": 1.0, "b": 2.0}, NOW, service="s"))
    await side.until(lambda: len(side.samples()) == 2)
    assert forwarder.counts.messages == 1
    assert forwarder.counts.size_bytes > 50
    assert forwarder.counts.incomplete == 0


def test_every_subscriber_gets_what_it_asked_for_from_every_publisher(bare, forwarder):
    producers, consumers = forwarder.addresses()
    publishers = [bare(zmq.XPUB, producers) for _ in range(2)]
    all_of_it, some_of_it = bare(zmq.SUB, consumers), bare(zmq.SUB, consumers)
    some_of_it.subscribe(b"b")
    all_of_it.subscribe(b"")
    for publisher in publishers:
        subscribed(publisher, b"")
    for topic in (b"a", b"b"):
        for number, publisher in enumerate(publishers):
            publisher.send_multipart([topic, b"%d" % number, b"third"])
    got = [all_of_it.recv_multipart() for _ in range(4)]
    assert sorted(got) == [[t, n, b"third"] for t in (b"a", b"b") for n in (b"0", b"1")]
    assert sorted(some_of_it.recv_multipart()[1] for _ in range(2)) == [b"0", b"1"]


def test_who_does_not_keep_up_loses_messages_and_the_others_do_not(bare, monkeypatch):
    monkeypatch.setattr("metricsmith.net.forwarder.FULL_LIMIT_S", 0.05)
    with forwarding(high_water_mark=10) as forwarder:
        producers, consumers = forwarder.addresses()
        publisher = bare(zmq.XPUB, producers)
        stuck, well = (bare(zmq.SUB, consumers) for _ in range(2))
        stuck.rcvhwm = 1
        for each in (stuck, well):
            each.subscribe(b"")
        subscribed(publisher, b"")
        body, got = b"x" * 100_000, 0
        for number in range(400):
            publisher.send_multipart([b"t", b"%d" % number, body])
            got = int(well.recv_multipart()[1])
        assert got == 399
        assert forwarder.counts.messages == 400
        assert 0 < forwarder.counts.incomplete < 400


async def test_keys_are_wanted_of_both_sides(receive, publish, bare, tmp_path):
    keys = {name: write_keys(tmp_path / name) for name in ("forwarder", "agent")}
    settings = SocketSettings(
        bind=True,
        curve={"secret_key_file": str(tmp_path / "forwarder"), "authorized_keys": [keys["agent"]]},
    )
    with forwarding(curve=settings.curve) as forwarder:
        producers, consumers = forwarder.addresses()
        curve = {"secret_key_file": str(tmp_path / "agent"), "server_key": keys["forwarder"]}
        side = receive(endpoint=consumers, bind=False, max_age="10000d", curve=curve)
        known, sink = publish(endpoint=producers, curve=curve)
        in_clear = bare(zmq.XPUB, producers)
        async with asyncio.timeout(LIMIT_S):
            while b"metrics." not in sink._listened:
                await asyncio.sleep(0.01)
                sink._note_subscriptions()
        await sink.send(known.delivery(0, {"a": 1.0}, NOW, service="s"))
        await side.until(lambda: bool(side.samples()))
        assert not in_clear.poll(100)


def test_an_address_that_is_taken_is_told(bare, forwarder):
    producers, _ = forwarder.addresses()
    taken = SocketSettings(bind=True, endpoint=producers)
    with pytest.raises(BusUnusable, match="cannot listen at"):
        Forwarder(at_any_port(), taken)
