"""A server that takes samples in the words of each HTTP sink, counts them, and goes wrong as it is told."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from metricsmith.model.batch import Batch
from metricsmith.model.series import SeriesTable
from metricsmith.testing.newrelic_limits import Point, read_metrics
from metricsmith.testing.oci_rules import points_of, read_call
from metricsmith.testing.oci_signature import ApiKey
from metricsmith.wire.line_protocol import LineDecoder
from metricsmith.wire.otlp.decode import OtlpDecoder
from metricsmith.wire.otlp.settings import OtlpSettings
from metricsmith.wire.remote_write import RemoteWriteDecoder
from metricsmith.wire.remote_write_2 import RemoteWrite2Decoder

MAX_BODY = 64 << 20
WRITTEN = "X-Prometheus-Remote-Write-Samples-Written"

Taken = tuple[str, int]
"""The label `n` of a series, and a time in milliseconds."""
Fault = Callable[["FarEnd", web.Request], Awaitable[bool]]
"""Does something wrong; returns whether an answer of 500 is wanted for it."""


@dataclass(frozen=True, slots=True)
class Tongue:
    """One way to speak to the far end: the sink's type, and its settings with `{url}` in them."""

    sink: str
    settings: Mapping[str, str]

    def at(self, url: str, folder: Path) -> dict[str, str]:
        """Return the settings of a sink that ships there; `folder` is for files that it needs."""
        found = {name: text.format(url=url) for name, text in self.settings.items()}
        return found | (
            {"config_file": str(ApiKey.make().write_config(folder))} if self.sink == "oci" else {}
        )


TONGUES = {
    "remote_write 1": Tongue("remote_write", {"url": "{url}/write1", "version": "1.0"}),
    "remote_write 2": Tongue("remote_write", {"url": "{url}/write2", "version": "2.0"}),
    "influxdb": Tongue("influxdb", {"url": "{url}", "database": "d", "precision": "ms"}),
    "otlp": Tongue("otlp", {"url": "{url}/v1/metrics"}),
    "newrelic": Tongue("newrelic", {"api_key": "k", "endpoint": "{url}/metric/v1"}),
    "oci": Tongue(
        "oci", {"endpoint": "{url}", "namespace": "n", "compartment_id": "ocid1.compartment.oc1..x"}
    ),
}


class FarEnd:
    """What was taken, in the order in which it came; of use in one event loop."""

    def __init__(self, port: int, now_ms: Callable[[], int]) -> None:
        self.port, self.url = port, f"http://127.0.0.1:{port}"
        self.fault: Fault | None = None
        self.taken: list[Taken] = []
        self.random = random.Random(7)
        self._now_ms = now_ms
        self._series = SeriesTable()
        self._decode_1, self._decode_2 = RemoteWriteDecoder(self._series), RemoteWrite2Decoder(self._series)
        self._decode_otlp = OtlpDecoder(self._series, OtlpSettings())
        self._decode_lines = LineDecoder(self._series)
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Begin to listen."""
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_post("/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, auto_decompress=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()

    async def stop(self) -> None:
        """Be gone; nobody listens any more."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def keep(self, request: web.Request) -> web.Response:
        """Count what a request holds, and return the answer that says so."""
        body = await request.read()
        match request.path:
            case "/write1":
                self._count(self._decode_1.decode(body, max_decompressed=MAX_BODY).batch)
                return web.Response(status=204)
            case "/write2":
                batch = self._decode_2.decode(body, max_decompressed=MAX_BODY).batch
                self._count(batch)
                return web.Response(status=204, headers={WRITTEN: str(len(batch))})
            case "/write":
                lines = self._decode_lines.decode(zlib.decompress(body, 31), now_ms=0, precision="ms")
                self._count(lines.batch)
                return web.Response(status=204)
            case "/v1/metrics":
                self._count(self._decode_otlp.decode(zlib.decompress(body, 31), self._now_ms()).batch)
                return web.Response(content_type="application/x-protobuf")
            case "/metric/v1":
                self.taken += _newrelic(json.loads(zlib.decompress(body, 31)), self._now_ms())
                return web.json_response({"requestId": "0"}, status=202)
            case "/20180401/metrics":
                self.taken += _oci(body, self._now_ms())
                return web.json_response({"failedMetricsCount": 0, "failedMetrics": []})
        return web.Response(status=404)

    def _count(self, batch: Batch) -> None:
        ids, times = batch.layout.ids.tolist(), batch.times().tolist()
        found = [(self._series.labels(i).get("n"), t) for i, t in zip(ids, times, strict=True)]
        self.taken += [(name, t) for name, t in found if name is not None]  # else it tells of the sender

    async def _handle(self, request: web.Request) -> web.Response:
        if self.fault is not None and await self.fault(self, request):
            return web.Response(status=500)
        return await self.keep(request)


def _newrelic(payload: Any, now_ms: int) -> Iterator[Taken]:
    for point in read_metrics(payload, now_ms):
        assert isinstance(point, Point), point
        if "n" in point.attributes:  # else it tells of the sender
            yield str(point.attributes["n"]), point.timestamp


def _oci(body: bytes, now_ms: int) -> Iterator[Taken]:
    for metric in read_call(body):
        points = points_of(metric, now_ms)
        assert not isinstance(points, str), points
        for point in points:
            yield dict(point.dimensions)["n"], point.time_ms


def break_off(request: web.Request) -> None:
    """Reset the connection of a request."""
    assert request.transport is not None
    request.transport.abort()


async def answers_500(far: FarEnd, request: web.Request) -> bool:
    """Fail at random."""
    return far.random.random() < 0.5


async def resets_at_once(far: FarEnd, request: web.Request) -> bool:
    """Reset connections at random, before anything is read."""
    if broken := far.random.random() < 0.5:
        break_off(request)
    return broken


async def resets_in_the_middle(far: FarEnd, request: web.Request) -> bool:
    """Reset connections at random, once a part of a body is read."""
    if broken := far.random.random() < 0.5:
        await request.content.read(1)
        break_off(request)
    return broken


async def dies_before_answering(far: FarEnd, request: web.Request) -> bool:
    """Take what comes, and at random reset the connection instead of saying so."""
    if broken := far.random.random() < 0.3:
        await far.keep(request)
        break_off(request)
    return broken
