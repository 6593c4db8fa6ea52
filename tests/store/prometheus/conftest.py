"""Real servers with samples in them, a server that answers as a test says, and stores over them."""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import orjson
import pytest

from metricsmith.contracts import Context
from metricsmith.model.clock import SystemClock
from metricsmith.model.labels import encode_labels
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.store.prometheus.settings import PrometheusConfig
from metricsmith.store.prometheus.store import PrometheusStore
from metricsmith.testing.services import Server
from metricsmith.testing.targets import Target, running_target
from metricsmith.wire.remote_write_encode import encode_series_labels, encode_write_request

Samples = Mapping[bytes, Sequence[tuple[int, float | None]]]
"""Times and values by series; None is a staleness marker."""


@dataclass
class Real:
    """A real server."""

    name: str
    url: str

    def write(self, samples: Samples) -> None:
        """Have samples in the server, readable on return."""
        flat = [sample for series in samples.values() for sample in series]
        body = encode_write_request(
            [encode_series_labels(key) for key in samples],
            [len(series) for series in samples.values()],
            np.array([time_ms for time_ms, _ in flat], dtype=np.int64),
            np.array([np.nan if value is None else value for _, value in flat]),
            np.array([value is None for _, value in flat]),
        )
        headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
        self._ask(urllib.request.Request(f"{self.url}/api/v1/write", body, headers))
        if self.name == "victoria_metrics":
            self._ask(urllib.request.Request(f"{self.url}/internal/force_flush"))

    def _ask(self, request: urllib.request.Request) -> None:
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.read()


@pytest.fixture
def real_prometheus(prometheus: Server) -> Real:
    """A real Prometheus."""
    return Real("prometheus", prometheus.url)


@pytest.fixture(params=["prometheus", "victoria_metrics"])
def real(request: pytest.FixtureRequest) -> Real:
    """Each kind of server that there is."""
    return Real(request.param, request.getfixturevalue(request.param).url)


@pytest.fixture(scope="session")
def base_ms() -> int:
    """A time of which servers still take samples, and minutes after it are past."""
    return (time.time_ns() // 1_000_000 - 1_800_000) // 60_000 * 60_000


@dataclass
class Scripted:
    """A server that answers with a status and a body; `asked` are path, form and headers of each request.

    To raw samples it answers `ranges`, where a test has set it.
    """

    target: Target
    status: int = 200
    body: bytes = b""
    ranges: bytes = b""
    by_path: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str], dict[str, str]]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Address without path."""
        return self.target.url.removesuffix("/metrics")

    def says(self, data: Any, status: int = 200, **more: Any) -> None:
        """Have it answer with data."""
        self.status, self.body = status, orjson.dumps({"status": "success", "data": data, **more})

    def fails(self, status: int, kind: str, text: str) -> None:
        """Have it answer with an error of Prometheus' API."""
        self.status = status
        self.body = orjson.dumps({"status": "error", "errorType": kind, "error": text})

    def serve(self, handler: BaseHTTPRequestHandler, _closing: threading.Event) -> None:
        """Answer one request."""
        address = urlsplit(handler.path)
        sent = handler.rfile.read(int(handler.headers.get("Content-Length", 0))).decode()
        form = {name: values[0] for name, values in parse_qs(sent or address.query).items()}
        self.asked.append((address.path, form, dict(handler.headers)))
        status, body = self.by_path.get(address.path, (self.status, self.body))
        if self.ranges and form.get("query", "").endswith("ms]"):
            body = self.ranges
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    """A server of which a test says what it answers."""
    with running_target() as target:
        server = Scripted(target)
        target.behave = server.serve
        yield server


@pytest.fixture
def telemetry() -> Telemetry:
    """Counts of the stores of a test."""
    return Telemetry()


@pytest.fixture
def store_at(telemetry: Telemetry) -> Iterator[Callable[..., PrometheusStore]]:
    """Make a store of a server's address."""
    made: list[PrometheusStore] = []

    def make(url: str, **settings: Any) -> PrometheusStore:
        context = Context("store", SeriesTable(), telemetry, SystemClock())
        made.append(PrometheusStore(PrometheusConfig(url=url, **settings), context))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def named() -> Callable[..., bytes]:
    """Return the key of a series."""
    return lambda name, **labels: encode_labels({"__name__": name, **labels})
