"""Remote write 2.0 at the receiver: the answer says what of a request was written."""

from __future__ import annotations

from typing import Any

import cramjam
import pytest

from metricsmith.errors import DiskFull
from metricsmith.testing.remote_write_2 import HEADERS, body, request

NOW_MS = 1_700_000_000_000


def written(answer: Any) -> tuple[str, str, str]:
    return tuple(
        answer.headers[f"x-prometheus-remote-write-{what}-written"]
        for what in ("samples", "histograms", "exemplars")
    )


def series(count: int, samples: int) -> list[tuple]:
    times = [NOW_MS - 1000 * ago for ago in reversed(range(samples))]
    return [
        ({"__name__": "rw_total", "i": str(i)}, [(at, float(i + n)) for n, at in enumerate(times)])
        for i in range(count)
    ]


@pytest.mark.parametrize(("count", "samples"), [(1, 1), (3, 4), (3000, 20)])
async def test_acknowledged_samples_are_read(api: Any, count: int, samples: int) -> None:
    message = request(series(count, samples), type=1, help="Requests.")
    answer = await api.call("POST", "/api/v1/write", body(message), HEADERS)
    assert (answer.status, answer.body) == (204, b"")
    assert written(answer) == (str(count * samples), "0", "0")
    counted = (await api.get("/api/v1/query", query="sum(count_over_time(rw_total[1h]))")).data["result"]
    assert counted[0]["value"][1] == str(count * samples)
    metadata = (await api.get("/api/v1/metadata")).data
    assert metadata["rw_total"] == [{"type": "counter", "unit": "", "help": "Requests."}]


@pytest.mark.parametrize("proto", ["io.prometheus.write.v2.Request", '"io.prometheus.write.v2.Request"'])
async def test_the_content_type_alone_decides(api: Any, proto: str) -> None:
    headers = {"content-encoding": "snappy", "content-type": f"application/x-protobuf; proto={proto}"}
    answer = await api.call("POST", "/api/v1/write", body(request(series(2, 1))), headers)
    assert (answer.status, written(answer)) == (204, ("2", "0", "0"))


async def test_what_is_not_written_is_told_with_what_is(api: Any) -> None:
    message = request(series(2, 3))
    message.timeseries.add(labels_refs=[0, 1]).samples.add(value=1, timestamp=NOW_MS)
    message.timeseries.add(labels_refs=message.timeseries[0].labels_refs).histograms.add(count_int=3)
    message.timeseries[1].samples.add(value=1, timestamp=NOW_MS + 3_600_000)
    message.timeseries[1].exemplars.add(labels_refs=[0, 0], value=1)
    answer = await api.call("POST", "/api/v1/write", body(message), HEADERS)
    assert (answer.status, written(answer)) == (400, ("6", "0", "0"))
    for part in ("1 samples of series that cannot be named", "too far ahead", "1 native histograms"):
        assert part in answer.json["error"]
    counted = (await api.get("/api/v1/query", query="sum(count_over_time(rw_total[1h]))")).data["result"]
    assert counted[0]["value"][1] == "6"
    value = api.context.telemetry.value
    for reason in ("native_histogram", "exemplar", "bad_labels"):
        assert value("metricsmith_samples_dropped_total", component="remote_write", reason=reason) == 1


async def test_new_series_beyond_limits_are_told(api: Any) -> None:
    api.state["limited"] = 2
    answer = await api.call("POST", "/api/v1/write", body(request(series(2, 3))), HEADERS)
    assert (answer.status, written(answer)) == (400, ("4", "0", "0"))
    assert "2 samples of new series beyond the limits on series" in answer.json["error"]


async def test_exemplars_alone_are_no_mistake(api: Any) -> None:
    message = request(series(1, 1))
    message.timeseries[0].exemplars.add(labels_refs=[0, 0], value=1)
    answer = await api.call("POST", "/api/v1/write", body(message), HEADERS)
    assert (answer.status, written(answer)) == (204, ("1", "0", "0"))


async def test_a_request_of_the_other_version_writes_nothing_unseen(api: Any) -> None:
    """Version 1.0 under the name of 2.0: senders see from the headers that nothing was written."""
    old = bytes(cramjam.snappy.compress_raw(b"\x0a\x06\x0a\x04\x0a\x02up"))
    answer = await api.call("POST", "/api/v1/write", old, HEADERS)
    assert written(answer) == ("0", "0", "0")
    assert api.state["accepted"] == 0


@pytest.mark.parametrize(
    ("wrong", "code"), [(b"not snappy", 400), (bytes(cramjam.snappy.compress_raw(b"\x2a\xff\xff")), 400)]
)
async def test_malformed_bodies_are_refused_for_good(api: Any, wrong: bytes, code: int) -> None:
    answer = await api.call("POST", "/api/v1/write", wrong, HEADERS)
    assert answer.status == code
    assert api.state["accepted"] == 0


async def test_full_disk_asks_to_come_again(api: Any) -> None:
    api.state["refuse"] = DiskFull("no space left")
    answer = await api.call("POST", "/api/v1/write", body(request(series(1, 1))), HEADERS)
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) > 0
