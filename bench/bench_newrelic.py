"""Claim: samples become requests of New Relic's Metric API for a small part of what plain json.dumps costs.

Both make the same requests of the same scrapes, gzip them at the same level and post them over one connection
to a server on loopback that counts bytes. Half of the series are counters: both send their growth.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import Awaitable, Callable, Iterator

import numpy as np

from common import table
from metricsmith.contracts import Context, Delivery
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.clock import SystemClock
from metricsmith.model.labels import decode_labels, encode_labels
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.net.post import Poster
from metricsmith.net.settings import Access
from metricsmith.sinks.newrelic.sink import GZIP_LEVEL, NewRelicSink

SERIES, ROUNDS, STEP_MS = 5000, 60, 15_000
START_MS = 1_763_740_800_000


def scrapes(table: SeriesTable) -> Iterator[Batch]:
    """Yield rounds of one layout, half counters and half gauges, of five labels each."""
    names = [f"app_subsystem_metric_{n % 100:02}{'_total' if n % 2 else ''}" for n in range(SERIES)]
    labels = [
        {
            "__name__": name,
            "job": "shop",
            "instance": "10.0.0.1:9100",
            "route": f"/api/{n}",
            "zone": f"z{n % 3}",
        }
        for n, name in enumerate(names)
    ]
    ids = table.intern_many(encode_labels(each) for each in labels)
    types = {True: Metadata(MetricType.COUNTER), False: Metadata(MetricType.GAUGE)}
    layout = Layout(ids, "bench", {name: types[name.endswith("_total")] for name in names})
    chance = np.random.default_rng(1)
    values = np.zeros(SERIES)
    for number in range(ROUNDS + 1):
        values = values + chance.integers(0, 1000, SERIES)
        yield Batch(layout, START_MS + number * STEP_MS, values)


class SampleWise:
    """The plain way: a dictionary per sample, and json.dumps."""

    def __init__(self, table: SeriesTable, poster: Poster, url: str) -> None:
        self._table, self._poster, self._url = table, poster, url
        self._before: dict[int, tuple[int, float]] = {}

    async def take(self, batch: Batch) -> None:
        """Send a round."""
        metrics, time_ms = [], int(batch.time_ms)  # type: ignore[arg-type]
        for series, value in zip(batch.layout.ids.tolist(), batch.value.tolist(), strict=True):
            labels = decode_labels(self._table.key(series))
            metric = {"name": labels.pop("__name__"), "attributes": labels}
            if metric["name"].endswith("_total"):  # type: ignore[attr-defined]
                before, self._before[series] = self._before.get(series), (time_ms, value)
                if before is None:
                    continue
                grown, interval = value - before[1], time_ms - before[0]
                metric |= {"type": "count", "value": grown, "timestamp": before[0], "interval.ms": interval}
            else:
                metric |= {"type": "gauge", "value": value, "timestamp": time_ms}
            metrics.append(metric)
        body = gzip.compress(json.dumps([{"metrics": metrics}]).encode(), GZIP_LEVEL)
        await self._poster.post(self._url, body, {"Content-Encoding": "gzip"})


class Ours:
    """The sink."""

    def __init__(self, sink: NewRelicSink) -> None:
        self._sink, self._number = sink, 0

    async def take(self, batch: Batch) -> None:
        """Send a round."""
        points = self._sink.prepare(batch)
        assert points is not None
        self._number += 1
        await self._sink.send(Delivery([self._number], [points]))


class Counting(asyncio.Protocol):
    """A server that takes everything."""

    received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._pending = transport, b""

    def data_received(self, data: bytes) -> None:
        self._pending += data
        while (end := self._pending.find(b"\r\n\r\n")) >= 0:
            head = self._pending[:end].lower()
            length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
            if len(self._pending) < end + 4 + length:
                return
            Counting.received += length
            self._pending = self._pending[end + 4 + length :]
            self._transport.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}")  # type: ignore[attr-defined]


async def measure(
    take: Callable[[Batch], Awaitable[None]], series: SeriesTable
) -> tuple[float, float, float]:
    """Return million samples per second, CPU seconds per million, and bytes per sample."""
    rounds = list(scrapes(series))
    await take(rounds[0])
    Counting.received = 0
    wall, cpu = time.perf_counter(), time.process_time()
    for batch in rounds[1:]:
        await take(batch)
    millions = SERIES * ROUNDS / 1e6
    return (
        millions / (time.perf_counter() - wall),
        (time.process_time() - cpu) / millions,
        Counting.received / (SERIES * ROUNDS),
    )


async def run() -> dict[str, tuple[float, float, float]]:
    """Measure both in one process."""
    server = await asyncio.get_running_loop().create_server(Counting, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/metric/v1"
    series = SeriesTable()
    context = Context("newrelic", series, Telemetry(), SystemClock())
    sink = NewRelicSink(NewRelicSink.Config(api_key="a-key", endpoint=url), context)
    poster = Poster(Access(), 30)
    plain = SampleWise(series, poster, url)
    rows = {}
    for _ in range(2):  # the first round warms up
        rows["sample by sample, json.dumps"] = await measure(plain.take, series)
        plain = SampleWise(series, poster, url)
        ours = NewRelicSink(NewRelicSink.Config(api_key="a-key", endpoint=url), context)
        rows["metricsmith"] = await measure(Ours(ours).take, series)
        await ours.close()
    await poster.close()
    await sink.close()
    server.close()
    return rows


def main() -> None:
    """Print the figures and the ratio."""
    rows = asyncio.run(run())
    peer = rows["sample by sample, json.dumps"]
    table(
        f"To New Relic: {SERIES} series, half of them counters, {ROUNDS} scrapes, gzip level {GZIP_LEVEL}",
        ("who", "million samples/s", "CPU s per million", "bytes a sample", "CPU ratio"),
        [
            (name, f"{rate:.2f}", f"{cpu:.2f}", f"{size:.1f}", f"{peer[1] / cpu:.1f}")
            for name, (rate, cpu, size) in rows.items()
        ],
    )


if __name__ == "__main__":
    main()
