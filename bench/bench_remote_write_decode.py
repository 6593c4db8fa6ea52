"""Claim: a remote-write request is decoded at least as fast as Prometheus' receiver takes it.

    python bench/bench_remote_write_decode.py

The same bodies (snappy, protobuf) are decoded here by one thread, and posted over one connection to
Debian's Prometheus, whose time includes HTTP and its head: compare with the whole receiver too.
"""

from __future__ import annotations

import http.client
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from metricsmith.model.labels import encode_labels
from metricsmith.model.series import SeriesTable
from metricsmith.testing import services
from metricsmith.wire.remote_write import RemoteWriteDecoder
from metricsmith.wire.remote_write_encode import encode_series_labels, encode_write_request

SECONDS = 3.0
LIMIT = 64 << 20


def bodies(series: int, samples: int, labels: list[bytes]) -> Iterator[bytes]:
    """Requests of the same series at later and later times; a fifth of the values is zero."""
    rng = np.random.default_rng(0)
    at = int(time.time() * 1000) - 3_600_000
    while True:
        times = np.tile(at + 1000 * np.arange(samples), series)
        values = np.where(rng.random(series * samples) < 0.2, 0.0, rng.random(series * samples))
        yield encode_write_request(labels, [samples] * series, times, values)
        at += 1000 * samples


def rate(take: Callable[[bytes], object], source: Iterator[bytes], samples: int) -> float:
    """Return samples per second; making the bodies is not counted."""
    taken, spent = 0, 0.0
    take(next(source))
    while spent < SECONDS:
        body = next(source)
        start = time.perf_counter()
        take(body)
        spent += time.perf_counter() - start
        taken += samples
    return taken / spent


def poster(url: str) -> Callable[[bytes], object]:
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc)
    headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}

    def post(body: bytes) -> None:
        connection.request("POST", "/api/v1/write", body, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 204:
            raise RuntimeError(f"got {answer.status} {text[:200]!r}, wanted 204")

    return post


def main() -> None:
    for series, samples in ((10_000, 1), (5000, 20)):
        keys = [
            encode_labels(
                {
                    "__name__": f"http_requests_{i % 20}_total",
                    "instance": f"10.0.0.{i % 100}:9100",
                    "job": "shop-backend",
                    "path": f"/api/v1/orders/{i}",
                    "code": "200",
                    "method": "GET",
                }
            )
            for i in range(series)
        ]
        labels = [encode_series_labels(key) for key in keys]
        decoder = RemoteWriteDecoder(SeriesTable())
        ours = rate(
            lambda body, d=decoder: d.decode(body, max_decompressed=LIMIT),
            bodies(series, samples, labels),
            series * samples,
        )
        with tempfile.TemporaryDirectory() as name, services.prometheus(Path(name)) as server:
            theirs = rate(poster(server.url), bodies(series, samples, labels), series * samples)
        print(
            f"{series} series of {samples:2} samples: decoder {ours / 1e6:6.2f} M samples/s,"
            f" Prometheus' receiver {theirs / 1e6:5.2f}: {ours / theirs:.1f} times"
        )


if __name__ == "__main__":
    main()
