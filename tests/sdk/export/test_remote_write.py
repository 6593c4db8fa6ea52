"""Pushing by remote write: what arrives at our decoder, at a Prometheus and at an agent."""

from __future__ import annotations

import math
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.model.series import SeriesTable
from metricsmith.sdk import Counter, Gauge, Histogram, Registry
from metricsmith.sdk.export import Export, ExportSettings
from metricsmith.sdk.export.remote_write import MAX_SERIES, METADATA_EVERY, RemoteWriteTarget
from metricsmith.sdk.export.targets import SendLater, SendRefused
from metricsmith.sdk.reading import Reading, Sample
from metricsmith.testing.programs import LIMIT_S, AgentProgram, eventually
from metricsmith.testing.services import Server
from metricsmith.wire.remote_write import RemoteWriteDecoder, WriteRequest

IDENTITY = {"job": "shop", "instance": "h:1"}
NOW = 1_700_000_000_000


class Peer:
    """A server that keeps what it is sent and answers as told."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.status, self.after, self.text = 204, "", b""
        peer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                peer.headers.append({k.lower(): v for k, v in self.headers.items()})
                peer.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(peer.status)
                if peer.after:
                    self.send_header("Retry-After", peer.after)
                self.send_header("Content-Length", str(len(peer.text)))
                self.end_headers()
                self.wfile.write(peer.text)

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/api/v1/write"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


@pytest.fixture
def peer() -> Iterator[Peer]:
    found = Peer()
    yield found
    found.close()


def reading(**values: float) -> list[Reading]:
    samples = [Sample("queue", {"name": name}, value) for name, value in values.items()]
    return [Reading("queue", "gauge", "Waiting.", "", samples)]


def decoded(body: bytes) -> tuple[WriteRequest, dict[str, float]]:
    """Return a request, and its values by the label `name`; a marker is None."""
    series = SeriesTable()
    request = RemoteWriteDecoder(series).decode(body, max_decompressed=1 << 20)
    batch = request.batch
    stale = np.zeros(len(batch.value), dtype=bool) if batch.stale is None else batch.stale
    values: dict[str, float] = {}
    for at, number in enumerate(batch.layout.ids.tolist()):
        labels = series.labels(number)
        assert labels["job"] == "shop"
        values[labels["name"]] = math.inf if stale[at] else float(batch.value[at])
    return request, values


def test_a_request_holds_all_series_with_who_they_are_of() -> None:
    target = RemoteWriteTarget("http://h/", IDENTITY)
    ((body,),) = target.encode(reading(a=1.5, b=-2), NOW)
    request, values = decoded(body)
    assert values == {"a": 1.5, "b": -2.0}
    assert set(request.batch.times().tolist()) == {NOW}
    assert request.batch.layout.metadata["queue"].help == "Waiting."


def test_labels_of_a_series_win_over_those_of_the_process() -> None:
    samples = [Sample("up", {"job": "shop", "name": "x", "instance": "other"}, 1.0)]
    target = RemoteWriteTarget("http://h/", IDENTITY)
    ((body,),) = target.encode([Reading("up", "gauge", "", "", samples)], NOW)
    series = SeriesTable()
    RemoteWriteDecoder(series).decode(body, max_decompressed=1 << 20)
    assert series.labels(0)["instance"] == "other"


def test_what_is_no_unicode_holds_up_nothing() -> None:
    samples = [Sample("a", {"name": "\ud800"}, 1.0), Sample("a", {"name": "good"}, 2.0)]
    ((body,),) = RemoteWriteTarget("http://h/", IDENTITY).encode(
        [Reading("a", "gauge", "", "", samples)], NOW
    )
    assert decoded(body)[1] == {"?": 1.0, "good": 2.0}


def test_series_that_end_get_one_marker() -> None:
    target = RemoteWriteTarget("http://h/", IDENTITY)
    bodies = [target.encode(each, NOW)[0][0] for each in (reading(a=1, b=2), reading(b=3), reading(b=4))]
    assert [decoded(body)[1] for body in bodies] == [{"a": 1, "b": 2}, {"b": 3, "a": math.inf}, {"b": 4}]


def test_metadata_is_told_with_new_series_and_now_and_then() -> None:
    target = RemoteWriteTarget("http://h/", IDENTITY)
    told = []
    for number in range(METADATA_EVERY + 3):
        ((body,),) = target.encode(reading(a=number), NOW + number)
        told.append(bool(decoded(body)[0].batch.layout.metadata))
    assert [at for at, each in enumerate(told) if each] == [0, METADATA_EVERY]


@given(
    st.lists(
        st.dictionaries(st.sampled_from("abcd"), st.floats(allow_nan=False, allow_infinity=False)), max_size=6
    )
)
def test_whatever_comes_and_goes_arrives(readings: list[dict[str, float]]) -> None:
    target = RemoteWriteTarget("http://h/", IDENTITY)
    before: set[str] = set()
    for number, values in enumerate(readings):
        ((body,),) = target.encode(reading(**values), NOW + number)
        gone = dict.fromkeys(before - values.keys(), math.inf)
        assert decoded(body)[1] == {**values, **gone}
        before = set(values)


def test_names_and_types_of_all_kinds() -> None:
    registry = Registry()
    Counter("orders", "Orders.", registry=registry).inc()
    Histogram("took_seconds", "Time.", unit="seconds", buckets=[1], registry=registry).observe(0.5)
    target = RemoteWriteTarget("http://h/", IDENTITY)
    ((body,),) = target.encode(list(registry.read()), NOW)
    metadata = RemoteWriteDecoder(SeriesTable()).decode(body, max_decompressed=1 << 20).batch.layout.metadata
    assert {name: str(known.type) for name, known in metadata.items()} == {
        "orders_total": "counter",
        "took_seconds": "histogram",
    }


ANSWERS = [
    (200, None, 0.0),
    (204, None, 0.0),
    (302, SendLater, 7.0),
    (400, SendRefused, 0.0),
    (401, SendLater, 7.0),
    (404, SendLater, 7.0),
    (413, SendRefused, 0.0),
    (429, SendLater, 7.0),
    (500, SendLater, 7.0),
    (503, SendLater, 7.0),
]


@pytest.mark.parametrize(("status", "error", "after_s"), ANSWERS)
def test_answers(peer: Peer, status: int, error: type[Exception] | None, after_s: float) -> None:
    peer.status, peer.after, peer.text = status, "7", b"" if status in (204, 304) else b"out of  order\n"
    target = RemoteWriteTarget(peer.url, IDENTITY)
    if error is None:
        target.send((b"body",))
    else:
        with pytest.raises(error, match=f"HTTP {status}: out of order") as caught:
            target.send((b"body",))
        assert getattr(caught.value, "after_s", 0.0) == after_s
    assert peer.headers[0]["content-encoding"] == "snappy"
    target.close()


def test_who_is_not_there_may_come_back(peer: Peer) -> None:
    target = RemoteWriteTarget("http://127.0.0.1:1/api/v1/write", IDENTITY)
    with pytest.raises(SendLater) as caught:
        target.send((b"body",))
    assert caught.value.reason == "connection"


def test_a_login_travels_in_its_header_and_is_not_shown(peer: Peer) -> None:
    target = RemoteWriteTarget(peer.url.replace("//", "//me:s%40cret@"), IDENTITY)
    target.send((b"1",))
    assert peer.headers[0]["authorization"] == "Basic bWU6c0BjcmV0"
    assert "cret" not in target.address and target.address == peer.url
    target.close()


def export_to(url: str, registry: Registry) -> Export:
    settings = ExportSettings(
        prometheus_enabled=False,
        status_page_enabled=False,
        runtime_metrics=(),
        service_name="pushed-app",
        instance="one",
        push_url=url,
        tick_interval_s=0.1,
    )
    return Export(settings, registry)


def test_a_prometheus_takes_it(prometheus: Server) -> None:
    registry = Registry()
    Counter("pushed_orders", "Orders.", ["kind"], registry=registry).labels("card").inc(3)
    export = export_to(f"{prometheus.url}/api/v1/write", registry)
    export.start()
    export.stop(LIMIT_S)
    assert export.outboxes[0].failures == {}
    import json
    import urllib.request

    query = f"{prometheus.url}/api/v1/query?query=pushed_orders_total"
    with urllib.request.urlopen(query, timeout=10) as answer:
        (found,) = json.load(answer)["data"]["result"]
    assert found["metric"] == {
        "__name__": "pushed_orders_total",
        "job": "pushed-app",
        "instance": "one",
        "kind": "card",
    }
    assert found["value"][1] == "3"


def test_an_agent_that_is_away_gets_what_it_missed(tmp_path: Path) -> None:
    agent = AgentProgram(tmp_path, 'server: {{listen: "127.0.0.1:{port}"}}\nstorage: {{path: "{data}"}}\n')
    registry = Registry()
    level = Gauge("pushed_level", "Level.", registry=registry)
    export = export_to(f"http://127.0.0.1:{agent.port}/api/v1/write", registry)
    level.set(7)
    export.start()
    try:
        eventually(lambda: export.outboxes and export.outboxes[0].failures)
        level.set(8)
        agent.start()
        export.stop(LIMIT_S)
        assert export.outboxes[0].dropped == 0
        samples = agent.samples("pushed_level")
        values = [value for _, value in samples]
        assert values[0] == 7 and values[-1] == 8
        assert agent.value('metricsmith_sdk_exports_total{job="pushed-app"}') is not None
    finally:
        export.stop()
        agent.kill()


def test_names_are_those_of_the_page() -> None:
    samples = [Sample("http.requests", {"name": "a", "http.route": "/"}, 1.0)]
    target = RemoteWriteTarget("http://h/", IDENTITY)
    ((body,),) = target.encode([Reading("http.requests", "gauge", "", "", samples)], NOW)
    series = SeriesTable()
    request = RemoteWriteDecoder(series).decode(body, max_decompressed=1 << 20)
    labels = series.labels(0)
    assert (labels["__name__"], labels["http_route"]) == ("http_requests", "/")
    assert list(request.batch.layout.metadata) == ["http_requests"]


def test_many_series_go_in_requests_that_a_server_takes() -> None:
    samples = [Sample("q", {"name": str(n)}, float(n)) for n in range(MAX_SERIES + 5)]
    target = RemoteWriteTarget("http://h/", IDENTITY)
    parts = [decoded(body) for (body,) in target.encode([Reading("q", "gauge", "Q.", "", samples)], NOW)]
    assert [len(values) for _, values in parts] == [MAX_SERIES, 5]
    assert parts[1][1]["10004"] == 10004
    assert [bool(request.batch.layout.metadata) for request, _ in parts] == [True, False]
    last = [decoded(body)[1] for (body,) in target.encode([Reading("q", "gauge", "", "", samples[:1])], NOW)]
    assert [len(values) for values in last] == [MAX_SERIES, 5]
    assert last[0].pop("0") == 0 and {*last[0].values(), *last[1].values()} == {math.inf}


def test_a_server_that_closes_idle_connections_is_no_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        taken: list[bytes] = []

        def serve() -> None:
            for _ in range(3):  # one request each, and no word that it is the last
                client, _ = listening.accept()
                with client, client.makefile("rb") as stream:
                    while b"content-length" not in (line := stream.readline().lower()):
                        pass
                    while stream.readline().strip():
                        pass
                    taken.append(stream.read(int(line.partition(b":")[2])))
                    client.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

        server = threading.Thread(target=serve)
        server.start()
        target = RemoteWriteTarget(f"http://127.0.0.1:{listening.getsockname()[1]}/w", IDENTITY)
        for body in (b"1", b"2", b"3"):
            target.send((body,))
        server.join()
        target.close()
    assert taken == [b"1", b"2", b"3"]
