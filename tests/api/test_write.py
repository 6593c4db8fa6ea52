"""The remote-write receiver: what is acknowledged can be read, what is wrong is told."""

from __future__ import annotations

from typing import Any

import cramjam
import numpy as np
import pytest

from metricsmith.errors import DiskFull
from metricsmith.model.labels import encode_labels
from metricsmith.wire.remote_write_encode import encode_series_labels, encode_write_request

HEADERS = {
    "content-encoding": "snappy",
    "content-type": "application/x-protobuf",
    "x-prometheus-remote-write-version": "0.1.0",
}
NOW_MS = 1_700_000_000_000


def request(series: int, samples: int) -> bytes:
    keys = [encode_labels({"__name__": "rw", "i": str(i)}) for i in range(series)]
    times = np.tile(NOW_MS - 1000 * np.arange(samples, dtype=np.int64)[::-1], series)
    values = np.arange(series * samples, dtype=np.float64)
    labels = [encode_series_labels(key) for key in keys]
    return encode_write_request(labels, [samples] * series, times, values)


@pytest.mark.parametrize(("series", "samples"), [(1, 1), (3, 4), (3000, 20)])
async def test_acknowledged_samples_are_read(api: Any, series: int, samples: int) -> None:
    answer = await api.call("POST", "/api/v1/write", request(series, samples), HEADERS)
    assert (answer.status, answer.body) == (204, b"")
    counted = (await api.get("/api/v1/query", query="sum(count_over_time(rw[1h]))")).data["result"]
    assert counted[0]["value"][1] == str(series * samples)
    last = (await api.get("/api/v1/query", query=f'rw{{i="{series - 1}"}}')).data["result"]
    assert last[0]["value"][1] == str(series * samples - 1)


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ({"content-encoding": ""}, "Content-Encoding none"),
        ({"content-encoding": "gzip"}, "Content-Encoding gzip"),
        ({"content-type": "application/json"}, "application/json"),
        ({"content-type": "application/x-protobuf;proto=io.prometheus.write.v3.Request"}, "write.v3"),
        ({"x-prometheus-remote-write-version": "2.0.0"}, "2.0.0"),
    ],
)
async def test_other_protocols_are_refused_with_what_is_supported(
    api: Any, headers: dict[str, str], named: str
) -> None:
    answer = await api.call("POST", "/api/v1/write", request(1, 1), HEADERS | headers)
    assert answer.status == 415
    assert named in answer.json["error"]
    assert "remote write 1.0 or 2.0" in answer.json["error"]


@pytest.mark.parametrize(
    "body", [b"", b"\xff" * 10, b"not snappy", bytes(cramjam.snappy.compress_raw(b"\x0a\xff\xff"))]
)
async def test_malformed_bodies_are_refused_for_good(api: Any, body: bytes) -> None:
    answer = await api.call("POST", "/api/v1/write", body, HEADERS)
    assert answer.status in ((400,) if body else (204, 400))
    assert api.state["accepted"] == 0


async def test_bodies_are_bounded_before_and_after_decompression(api: Any) -> None:
    limit = api.context.limits.max_body_bytes
    answer = await api.call("POST", "/api/v1/write", b"x" * (limit + 1), HEADERS)
    assert answer.status == 413
    bomb = bytes(cramjam.snappy.compress_raw(bytes(limit + 1)))
    assert len(bomb) < limit / 10
    answer = await api.call("POST", "/api/v1/write", bomb, HEADERS)
    assert answer.status == 413
    assert "decompressed" in answer.json["error"]


async def test_full_disk_asks_to_come_again(api: Any) -> None:
    api.state["refuse"] = DiskFull("no space left")
    answer = await api.call("POST", "/api/v1/write", request(1, 1), HEADERS)
    assert answer.status == 503
    assert "no space left" in answer.json["error"]
    assert int(answer.headers["retry-after"]) > 0


async def test_headers_say_how_many_samples_were_taken(api: Any) -> None:
    """Version 1.0 has no other way: a request that is refused as a whole would lose known series, too."""
    taken = "x-prometheus-remote-write-samples-written"
    answer = await api.call("POST", "/api/v1/write", request(3, 4), HEADERS)
    assert (answer.status, answer.headers[taken]) == (204, "12")
    api.state["limited"] = 5
    answer = await api.call("POST", "/api/v1/write", request(3, 4), HEADERS)
    assert (answer.status, answer.headers[taken]) == (204, "7")
    api.state["limited"] = 13  # processors may make more of samples, of which more is refused
    answer = await api.call("POST", "/api/v1/write", request(3, 4), HEADERS)
    assert (answer.status, answer.headers[taken]) == (204, "0")
