"""Claim: samples become line protocol many times faster than one point object after another makes them.

The peer is what client libraries do: a point with tags, fields and time for each measurement and tag set,
its names escaped and its values formatted when it is written. Both write the same lines of the same scrapes.
Pushed samples have times of their own, 10 of a series, in layouts never seen. Then the same scrapes go to
InfluxDB, for the CPU that the sink and the server take.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from common import best_of, table, usage, workspace
from metricsmith.contracts import Context, Delivery
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.clock import SystemClock
from metricsmith.model.labels import encode_labels
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.sinks.influxdb.encode import Encoder
from metricsmith.sinks.influxdb.sink import InfluxdbSink
from metricsmith.testing.services import influxdb
from metricsmith.wire.line_protocol_places import Places

SERIES, SCRAPES, PUSHED = 5000, 20, 10
STEP_MS = 15_000
_ESCAPES = str.maketrans({",": "\\,", " ": "\\ ", "=": "\\="})
Shapes = dict[str, list[dict[str, str]]]


class Point:
    """A point as client libraries have them."""

    def __init__(self, measurement: str) -> None:
        self._measurement = measurement
        self._tags: dict[str, str] = {}
        self._fields: dict[str, float] = {}
        self._time = 0

    def tag(self, name: str, value: str) -> Point:
        """Add a tag."""
        self._tags[name] = value
        return self

    def field(self, name: str, value: float) -> Point:
        """Add a field."""
        self._fields[name] = value
        return self

    def time(self, seconds: int) -> Point:
        """Set the time."""
        self._time = seconds
        return self

    def line(self) -> str:
        """Return the point as line protocol."""
        tags = "".join(
            f",{k.translate(_ESCAPES)}={v.translate(_ESCAPES)}" for k, v in sorted(self._tags.items())
        )
        fields = ",".join(f"{k.translate(_ESCAPES)}={v!r}" for k, v in self._fields.items())
        return f"{self._measurement.translate(_ESCAPES)}{tags} {fields} {self._time}"


def shapes() -> Shapes:
    """Return label sets: one field in each line, and many."""
    return {
        "1 field a point": [
            {
                "__name__": f"metric_{i % 50}",
                "service": "shop",
                "instance": f"host-{i // 50}:9100",
                "n": str(i),
            }
            for i in range(SERIES)
        ],
        "50 fields a point": [
            {"__name__": f"metric_{i % 50}", "service": "shop", "instance": f"host-{i // 50}:9100"}
            for i in range(SERIES)
        ],
    }


def naive(labels: list[dict[str, str]], scrapes: list[Batch]) -> bytes:
    """Return the lines of scrapes, point by point."""
    lines = []
    for batch in scrapes:
        points: dict[tuple[str, ...], Point] = {}
        seconds = int(batch.times()[0]) // 1000
        for each, value in zip(labels, batch.value.tolist(), strict=True):
            tags = {k: v for k, v in each.items() if k not in ("__name__", "service")}
            identity = (each["service"], *tags.values())
            point = points.get(identity)
            if point is None:
                point = points[identity] = Point(f"{each['service']}_metrics").time(seconds)
                for name, text in tags.items():
                    point.tag(name, text)
            point.field(each["__name__"], value)
        lines += [point.line() for point in points.values()]
    return "\n".join(lines).encode() + b"\n"


class Ours:
    """The scrapes of a shape, and what writes them."""

    def __init__(self, labels: list[dict[str, str]]) -> None:
        self.context = Context("bench", SeriesTable(), Telemetry(), SystemClock())
        ids = self.context.series.intern_many(encode_labels(each) for each in labels)
        chance, start_ms = np.random.default_rng(7), int(time.time()) * 1000 - SCRAPES * STEP_MS
        layout = Layout(ids, "bench")
        self.scrapes = [
            Batch(layout, start_ms + STEP_MS * i, np.round(chance.uniform(0, 1e6, SERIES), 3))
            for i in range(SCRAPES)
        ]
        pushed = [ids[at :: SCRAPES // PUSHED] for at in range(SCRAPES // PUSHED)]
        self.pushed = [
            Batch(
                Layout(np.repeat(part, PUSHED)),
                np.tile(start_ms + STEP_MS * np.arange(PUSHED), len(part)),
                np.round(chance.uniform(0, 1e6, len(part) * PUSHED), 3),
            )
            for part in pushed
        ]
        self.encoder = Encoder(self.context.series, Places(), "s")

    def body(self, batches: list[Batch]) -> bytes:
        """Return the lines of some batches."""
        return self.encoder.body(Delivery(range(len(batches)), batches), frozenset())[0]

    def send(self, url: str) -> tuple[float, float]:
        """Return seconds and CPU seconds of sending the scrapes."""

        async def send() -> None:
            sink = InfluxdbSink(InfluxdbSink.Config(url=url, database="bench", create=True), self.context)
            for number, batch in enumerate(self.scrapes):
                await sink.send(Delivery([number], [batch]))
            await sink.close()

        began, cpu = time.perf_counter(), time.process_time()
        asyncio.run(send())
        return time.perf_counter() - began, time.process_time() - cpu


def _millions(action: Callable[[], Any], samples: int) -> float:
    return samples / best_of(3, action)[0] / 1e6


def main() -> None:
    """Print samples a second of each, and the ratio to point by point."""
    rows: list[tuple[object, ...]] = []
    sent: list[tuple[object, ...]] = []
    for shape, labels in shapes().items():
        ours = Ours(labels)
        assert sorted(ours.body(ours.scrapes).split(b"\n")) == sorted(
            naive(labels, ours.scrapes).split(b"\n")
        )
        peer = _millions(lambda: naive(labels, ours.scrapes), SERIES * SCRAPES)  # noqa: B023 - called at once
        scraped = _millions(lambda: ours.body(ours.scrapes), SERIES * SCRAPES)  # noqa: B023
        count = sum(map(len, ours.pushed))
        pushed = _millions(
            lambda: ours.body([Batch(Layout(b.layout.ids), b.time_ms, b.value) for b in ours.pushed]),  # noqa: B023
            count,
        )
        rows += [
            (shape, "point by point", peer, 1.0),
            (shape, "metricsmith, scrapes", scraped, scraped / peer),
            (shape, "metricsmith, pushed", pushed, pushed / peer),
        ]
        with workspace() as folder, influxdb(folder) as server:
            before = usage(server.pid).cpu_s
            spent, cpu = ours.send(server.url)
            server_cpu = usage(server.pid).cpu_s - before
        millions = SERIES * SCRAPES / 1e6
        sent.append((shape, millions / spent, cpu / millions, server_cpu / millions))
    table("Line protocol out", ("shape", "who", "million samples/s", "ratio"), rows)
    table(
        "The same scrapes to InfluxDB 1.6, gzip included",
        ("shape", "million samples/s", "our CPU s per million", "InfluxDB's CPU s per million"),
        sent,
    )


if __name__ == "__main__":
    main()
