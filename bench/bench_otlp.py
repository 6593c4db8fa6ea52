"""Claim: an OTLP request is decoded to samples faster than OpenTelemetry's own package reads its points.

    python bench/bench_otlp.py

Requests are decoded by one thread: to series and numbers here; by `opentelemetry-proto` to message objects
(`FromString` alone, in C), and to (name, attributes, time, value) of each point, as a receiver built on it
must do at least. Then they are posted to an agent over one connection, which answers when they are durable.
"""

from __future__ import annotations

import http.client
import random
import time
import urllib.parse
from collections.abc import Callable

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from common import EMPTY_AGENT, table, workspace
from common_write import HEADERS as REMOTE_WRITE
from common_write import bodies as bodies_of
from common_write import labels
from metricsmith.model.series import SeriesTable
from metricsmith.testing.otlp import attributes
from metricsmith.testing.programs import AgentProgram
from metricsmith.wire.otlp.decode import OtlpDecoder
from metricsmith.wire.otlp.settings import OtlpSettings

SECONDS = 2.0
METRICS, POINTS = 100, 100
REQUESTS = 40
KNOWN_AFTER = 4
OTLP = {"Content-Type": "application/x-protobuf"}


def requests(repeats: bool, histograms: bool = False) -> list[bytes]:
    """Requests of METRICS times POINTS points of the same series, in one order or shuffled each time."""
    bodies = []
    chance = random.Random(1)
    now_ns = time.time_ns() - 600 * 10**9
    for turn in range(REQUESTS):
        message = ExportMetricsServiceRequest()
        part = message.resource_metrics.add()
        part.resource.attributes.extend(attributes(**{"service.name": "shop", "service.instance.id": "i1"}))
        scope = part.scope_metrics.add()
        for m in range(METRICS // 10 if histograms else METRICS):
            metric = scope.metrics.add(name=f"http.server.requests.{m}", unit="s" if histograms else "1")
            data = metric.histogram if histograms else metric.sum
            data.aggregation_temporality = 2
            if not histograms:
                metric.sum.is_monotonic = True
            for p in range(POINTS) if repeats else chance.sample(range(POINTS), POINTS):
                point = data.data_points.add(
                    start_time_unix_nano=now_ns,
                    time_unix_nano=now_ns + turn * 15 * 10**9,
                    attributes=attributes(
                        **{"http.method": "GET", "http.route": f"/api/v1/{p}", "zone": f"z{p % 7}"}
                    ),
                )
                if histograms:
                    point.explicit_bounds.extend([0.005 * 2**i for i in range(14)])
                    point.bucket_counts.extend([turn + i for i in range(15)])
                    point.count, point.sum = 15 * turn + 105, 1.5 * turn
                else:
                    point.as_double = 1000.5 * turn + p
        bodies.append(message.SerializeToString())
    return bodies


def walk(body: bytes) -> int:
    """Read what a receiver needs of each point, through the package's objects."""
    count = 0
    for part in ExportMetricsServiceRequest.FromString(body).resource_metrics:
        for scope in part.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                for point in getattr(metric, kind).data_points:
                    labels = [(a.key, a.value.string_value) for a in point.attributes]
                    if kind == "histogram":
                        numbers = [point.count, point.sum, *point.bucket_counts, *point.explicit_bounds]
                    else:
                        numbers = [point.as_double]
                    count += bool(labels) + len(numbers) * 0 + (point.time_unix_nano > 0)
    return count


def rate(take: Callable[[bytes], object], bodies: list[bytes], points: int) -> float:
    """Return points per second, after all bodies have been taken twice."""
    for body in [*bodies, *bodies]:
        take(body)
    taken, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < SECONDS:
        for body in bodies:
            take(body)
            taken += points
    return taken / spent


def decoding(case: str, bodies: list[bytes], points: int) -> None:
    decoder = OtlpDecoder(SeriesTable(), OtlpSettings())
    rows = {
        "metricsmith": rate(lambda body: decoder.decode(body, 0), bodies, points),
        "opentelemetry-proto, FromString alone": rate(ExportMetricsServiceRequest.FromString, bodies, points),
        "opentelemetry-proto, and each point read": rate(walk, bodies, points),
    }
    peer = rows["opentelemetry-proto, FromString alone"]
    table(
        f"OTLP decoded: {case}, {points} points in {len(bodies[0]) / 1e6:.2g} MB",
        ("who", "million points/s", "ratio"),
        [(name, speed / 1e6, speed / peer) for name, speed in rows.items()],
    )


def posted(bodies: list[bytes], path: str, headers: dict[str, str], samples: int) -> float:
    """Return million samples per second that an agent takes once it knows the series."""
    with workspace() as folder:
        agent = AgentProgram(folder, EMPTY_AGENT)
        agent.start()
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(agent.url).netloc, timeout=60)
        began = 0.0
        for turn, body in enumerate(bodies):
            if turn == KNOWN_AFTER:
                began = time.perf_counter()
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            if answer.read() or answer.status >= 300:
                raise RuntimeError(f"got {answer.status}")
        spent = time.perf_counter() - began
        connection.close()
        agent.stop()
    return samples * (len(bodies) - KNOWN_AFTER) / spent / 1e6


def main() -> None:
    """Print points per second and ratios."""
    cases = {
        "sums of one shape": (requests(repeats=True), METRICS * POINTS),
        "sums in another order each time": (requests(repeats=False), METRICS * POINTS),
        "histograms of one shape": (requests(repeats=True, histograms=True), METRICS * POINTS // 10),
    }
    for case, (bodies, points) in cases.items():
        decoding(case, bodies, points)
    now_ms = int(time.time() * 1000)
    series = labels(METRICS * POINTS)
    peer_bodies = list(bodies_of(series, now_ms - 600_000, 1000, REQUESTS, 1, METRICS * POINTS))
    peer = posted(peer_bodies, "/api/v1/write", REMOTE_WRITE, METRICS * POINTS)
    rows = [("remote write 1.0", peer, 1.0)]
    for case, (bodies, points) in cases.items():
        speed = posted(bodies, "/v1/metrics", OTLP, points * (17 if "histograms" in case else 1))
        rows.append((case, speed, speed / peer))
    table("OTLP posted to an agent, beside remote write", ("case", "million samples/s", "ratio"), rows)


if __name__ == "__main__":
    main()
