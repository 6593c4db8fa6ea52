"""Publishing on the bus from within an application: messages as any listener reads them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from metricsmith.net.bus_keys import write_keys
from metricsmith.net.bus_settings import Curve, SocketSettings
from metricsmith.net.zmq_sockets import Opened
from metricsmith.sdk import Counter, Registry
from metricsmith.sdk.export import Export, ExportSettings
from metricsmith.sdk.export.bus import BusTarget
from metricsmith.sdk.export.targets import Outbox, SendLater
from metricsmith.sdk.problems import Problems
from metricsmith.sdk.reading import Reading, Sample
from metricsmith.testing.clock import FakeClock
from metricsmith.testing.services import free_port
from metricsmith.wire.messages import TimeRange, parse_message

NOW = 1_700_000_000_000
TIMES = TimeRange(0, 2 * NOW, NOW)
READINGS = [
    Reading(
        "queue", "gauge", "", "", [Sample("queue", {"line": "a"}, 3.0), Sample("queue", {"line": "b"}, 4.0)]
    ),
    Reading("orders", "counter", "", "", [Sample("orders_total", {"line": "a"}, 7.0)]),
]


@pytest.fixture
def listener() -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.linger = 0
        yield socket


def test_a_subscriber_gets_messages_by_tags(listener: zmq.Socket[bytes]) -> None:
    port = listener.bind_to_random_port("tcp://127.0.0.1")
    listener.subscribe(b"metrics.shop")
    listener.rcvtimeo = 60_000
    target = BusTarget(f"tcp://127.0.0.1:{port}", "shop", {"instance": "h:1"})
    outbox = Outbox(target, FakeClock(), Problems())
    outbox.put(READINGS, NOW)
    assert len(outbox) == 2
    sending = threading.Thread(target=outbox.send)
    sending.start()
    received = [listener.recv_multipart() for _ in range(2)]
    sending.join()
    assert (outbox.sent, outbox.failures) == (2, {})
    target.close()
    assert {topic for topic, _ in received} == {b"metrics.shop"}
    messages = [parse_message(body, TIMES) for _, body in received]
    assert {message.time_ms for message in messages} == {NOW}
    found = {dict(m.labels)[b"line"]: dict(m.metrics) for m in messages}
    assert found == {b"a": {"queue": 3.0, "orders_total": 7.0}, b"b": {"queue": 4.0}}
    assert all(dict(m.labels)[b"instance"] == b"h:1" for m in messages)


def test_what_nobody_hears_waits(listener: zmq.Socket[bytes]) -> None:
    port = listener.bind_to_random_port("tcp://127.0.0.1")
    listener.subscribe(b"other.")
    target = BusTarget(f"tcp://127.0.0.1:{port}", "shop", {})
    with pytest.raises(SendLater) as caught:
        target.send((b"metrics.shop", b"{}"))
    assert caught.value.reason == "unheard"
    target.close()


def test_series_that_come_and_go_leave_nothing_behind() -> None:
    target = BusTarget("tcp://127.0.0.1:1", "shop", {})
    for number in range(100):
        samples = [Sample("queue", {"line": f"{number}-{each}"}, 1.0) for each in range(10)]
        assert len(target.encode([Reading("queue", "gauge", "", "", samples)], NOW)) == 10
    assert len(target._encoder._series) == 10
    target.close()


def test_an_address_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="tcp://"):
        BusTarget("http://127.0.0.1", "shop", {})


def test_an_export_with_keys_gets_through(tmp_path: Path) -> None:
    ours, theirs = (write_keys(tmp_path / name) for name in ("producer", "consumer"))
    curve = Curve(secret_key_file=str(tmp_path / "consumer"), authorized_keys=(ours,))
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    opened = Opened(zmq.SUB, SocketSettings(endpoint=endpoint, bind=True, curve=curve))
    opened.socket.subscribe(b"metrics.")
    settings = ExportSettings(
        service_name="shop",
        prometheus_enabled=False,
        status_page_enabled=False,
        runtime_metrics=(),
        tick_interval_s=0.1,
        bus_endpoint=endpoint,
        bus_secret_key_file=str(tmp_path / "producer"),
        bus_server_key=theirs,
    )
    registry = Registry()
    Counter("orders", "Orders.", registry=registry).inc(3)
    export = Export(settings, registry)
    export.start()
    try:
        assert opened.socket.poll(60_000)
        topic, body = opened.socket.recv_multipart()
    finally:
        export.stop(0.1)
        opened.close()
    assert topic == b"metrics.shop"
    assert b'"orders_total":3.0' in body
