"""`compression` means the same for every sink whose destination takes bodies either way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from metricsmith import registry
from metricsmith.config import load_file
from metricsmith.contracts import Compressing, Context, Delivery
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.clock import SystemClock
from metricsmith.model.labels import encode_labels
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.runtime.sinks import _compressing

SENDERS: dict[str, dict[str, Any]] = {
    "newrelic": {"api_key": "key", "endpoint": "{url}/metric/v1"},
    "influxdb": {"url": "{url}", "database": "d"},
    "otlp": {"url": "{url}/v1/metrics"},
}


class FarEnd:
    """A server that keeps what it is sent, as it is sent, and answers as all servers here do."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, str | None]] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        self.sent.append((await request.read(), request.headers.get("Content-Encoding")))
        return web.json_response({}, status=202 if "metric" in request.path else 204)


@pytest.fixture
async def far() -> AsyncIterator[FarEnd]:
    found = FarEnd()
    server = web.ServerRunner(web.Server(found.take, auto_decompress=False))
    await server.setup()
    site = web.TCPSite(server, "127.0.0.1", 0)
    await site.start()
    found.url = f"http://127.0.0.1:{server.addresses[0][1]}"
    yield found
    await server.cleanup()


@pytest.mark.parametrize("kind", [kind for kind in SENDERS if kind in registry.known("sinks")])
@pytest.mark.parametrize("compression", [True, False])
async def test_bodies_are_packed_or_not(far: FarEnd, kind: str, compression: bool) -> None:
    series = SeriesTable()
    settings = {name: text.format(url=far.url) for name, text in SENDERS[kind].items()}
    cls = registry.load("sinks", kind)
    context = Context("far", series, Telemetry(), SystemClock())
    sink = cls(cls.Config(**settings, compression=compression), context)
    layout = Layout(series.intern_many([encode_labels({"__name__": "up", "job": "j", "service": "s"})]))
    await sink.send(Delivery([0], [Batch(layout, 1_700_000_000_000, np.ones(1))]))
    await sink.close()
    ((body, encoding),) = far.sent
    assert body.startswith(b"\x1f\x8b") == compression == (encoding == "gzip")
    assert compression or b"up" in body


@pytest.mark.parametrize(
    ("performance", "own", "expected"),
    [
        ("", "", True),
        ("{compression: false}", "", False),
        ("{compression: false}", "compression: true", True),
    ],
)
def test_what_all_sinks_do_a_sink_may_do_otherwise(
    tmp_path: Path, performance: str, own: str, expected: bool
) -> None:
    (tmp_path / "m.yaml").write_text(
        (f"performance: {performance}\n" if performance else "")
        + f"sinks:\n- {{type: newrelic, name: a, api_key: k, {own}}}\n"
    )
    found = load_file(tmp_path / "m.yaml")
    config = _compressing(found.of("sinks")[0], found.settings.performance).config
    assert isinstance(config, Compressing) and config.compression is expected
