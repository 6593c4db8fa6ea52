"""Loading a server by remote write, for benchmarks: the same bodies for every contender."""

from __future__ import annotations

import http.client
import time
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from metricsmith.model.labels import encode_labels
from metricsmith.wire.remote_write_encode import encode_series_labels, encode_write_request

GIVE_UP_S = 120.0
HEADERS = {
    "Content-Encoding": "snappy",
    "Content-Type": "application/x-protobuf",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}


def labels(count: int, name: str = "bench_requests_total") -> list[bytes]:
    """Return the label bytes of `count` series of one metric."""
    return [
        encode_series_labels(
            encode_labels(
                {"__name__": name, "job": "bench", "instance": f"host-{i:05d}:9100", "zone": f"z{i % 7}"}
            )
        )
        for i in range(count)
    ]


def bodies(
    series: list[bytes],
    start_ms: int,
    step_ms: int,
    steps: int,
    per_message: int,
    series_per_message: int = 5000,
) -> Iterator[bytes]:
    """Yield request bodies with `steps` counter samples of each series, `per_message` at a time."""
    for first in range(0, steps, per_message):
        count = min(per_message, steps - first)
        times = start_ms + step_ms * np.arange(first, first + count, dtype=np.int64)
        for begin in range(0, len(series), series_per_message):
            chosen = series[begin : begin + series_per_message]
            rates = 1 + np.arange(begin, begin + len(chosen), dtype=np.float64) % 50
            values = rates[:, None] * np.arange(first, first + count)
            yield encode_write_request(
                chosen, [count] * len(chosen), np.tile(times, len(chosen)), values.ravel()
            )


def send(url: str, requests: Iterable[bytes], headers: Mapping[str, str] = HEADERS) -> float:
    """Post bodies one after another over one connection; return the seconds it took.

    A body that is refused for now is sent again, as senders of remote write do.
    """
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=120)
    started = time.perf_counter()
    for body in requests:
        status, text = _posted(connection, body, headers)
        while status == 503 and time.perf_counter() - started < GIVE_UP_S:
            time.sleep(0.1)
            status, text = _posted(connection, body, headers)
        if status >= 300:
            raise RuntimeError(f"{url}: {status} {text[:300]!r}")
    spent = time.perf_counter() - started
    connection.close()
    return spent


def _posted(
    connection: http.client.HTTPConnection, body: bytes, headers: Mapping[str, str]
) -> tuple[int, bytes]:
    connection.request("POST", "/api/v1/write", body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def get(url: str, path: str, **parameters: str) -> bytes:
    """Return the body of a form-encoded POST to a query endpoint."""
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=120)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", path, urllib.parse.urlencode(parameters), form)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{url}{path}: {answer.status} {body[:300]!r}")
    return body
