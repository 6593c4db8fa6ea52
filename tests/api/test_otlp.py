"""The OTLP receiver: acknowledged points can be read, what is not taken is told as the protocol has it."""

from __future__ import annotations

import gzip
from typing import Any

import orjson
import pytest
from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from metricsmith.errors import DiskFull
from metricsmith.testing.otlp import DELTA, gauge, histogram, request, total

PROTOBUF, JSON = {"content-type": "application/x-protobuf"}, {"content-type": "application/json"}
PATHS = ["/v1/metrics", "/api/v1/otlp/v1/metrics"]


def refused_metric(points: int) -> Metric:
    metric = Metric(name="exp")
    for _ in range(points):
        metric.exponential_histogram.data_points.add(count=1)
    return metric


def status_of(body: bytes) -> tuple[int, str]:
    """Code and message of a google.rpc.Status: two fields, the code below 128."""
    assert body[0] == 0x08
    assert body[2] == 0x12
    message = body[body.index(b"\x12") + 2 :]
    return body[1], message.decode(errors="replace")


async def value(api: Any, query: str) -> str | None:
    result = (await api.get("/api/v1/query", query=query)).data["result"]
    return result[0]["value"][1] if result else None


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("form", [PROTOBUF, JSON])
async def test_acknowledged_points_are_read(api: Any, path: str, compressed: bool, form: dict) -> None:
    message = request(gauge("depth", 4, zone="a"), histogram("wait", [0.5], [3, 1]))
    body = message.SerializeToString() if form is PROTOBUF else MessageToJson(message).encode()
    headers = form | ({"content-encoding": "gzip"} if compressed else {})
    answer = await api.call("POST", path, gzip.compress(body) if compressed else body, headers)
    assert (answer.status, answer.headers["content-type"]) == (200, form["content-type"])
    assert answer.body == (b"" if form is PROTOBUF else b"{}")
    assert await value(api, 'depth{job="shop", zone="a"}') == "4"
    assert await value(api, 'wait_seconds_bucket{le="0.5"}') == "3"
    assert (await api.get("/api/v1/metadata", metric="wait_seconds")).data["wait_seconds"][0][
        "type"
    ] == "histogram"


async def test_what_is_not_taken_is_told_and_the_rest_is_read(api: Any) -> None:
    message = request(refused_metric(3), gauge("good", 1))
    answer = await api.call("POST", PATHS[0], message.SerializeToString(), PROTOBUF)
    told = ExportMetricsServiceResponse.FromString(answer.body).partial_success
    assert (answer.status, told.rejected_data_points) == (200, 3)
    assert "exponential histograms are not supported" in told.error_message
    answer = await api.call("POST", PATHS[0], MessageToJson(message).encode(), JSON)
    assert answer.json["partialSuccess"]["rejectedDataPoints"] == "3"
    assert await value(api, "good") == "1"
    dropped = {"component": "otlp", "reason": "exponential_histogram"}
    assert api.context.telemetry.value("metricsmith_samples_dropped_total", **dropped) == 6


@pytest.mark.parametrize(
    ("body", "headers", "code", "grpc_code", "message"),
    [
        (b"\xff\xff", PROTOBUF, 400, 3, "varint"),
        (b"{", JSON, 400, 3, "not JSON"),
        (b"", {}, 415, 3, "Content-Type none, wanted application/x-protobuf or application/json"),
        (b"", PROTOBUF | {"content-encoding": "zstd"}, 415, 3, "Content-Encoding zstd, wanted gzip"),
        (b"no gzip", PROTOBUF | {"content-encoding": "gzip"}, 400, 3, "not gzip"),
        (gzip.compress(bytes(33 << 20), mtime=0), PROTOBUF | {"content-encoding": "gzip"}, 413, 8, "at most"),
        (bytes(33 << 20), JSON, 413, 8, "at most"),
    ],
)
async def test_refusals_are_told_in_the_form_of_the_request(
    api: Any, body: bytes, headers: dict, code: int, grpc_code: int, message: str
) -> None:
    answer = await api.call("POST", PATHS[0], body, headers)
    assert answer.status == code
    if headers.get("content-type") == JSON["content-type"]:
        assert answer.json["code"] == grpc_code
        assert message in answer.json["message"]
    else:
        found, said = status_of(answer.body)
        assert found == grpc_code
        assert message in said
    assert api.state["accepted"] == 0


@pytest.mark.parametrize("why", ["starting", "full"])
async def test_what_cannot_be_taken_now_is_asked_for_again(api: Any, why: str) -> None:
    if why == "starting":
        api.state["serving"] = False
    else:
        api.state["refuse"] = DiskFull("no space left")
    body = request(gauge("g", 1)).SerializeToString()
    answer = await api.call("POST", PATHS[0], body, PROTOBUF)
    assert (answer.status, status_of(answer.body)[0]) == (503, 14)
    assert int(answer.headers["retry-after"]) > 0


async def test_points_outside_the_accepted_times_are_rejected_points(api: Any) -> None:
    old = gauge("old", 1)
    old.gauge.data_points[0].time_unix_nano -= 31 * 86_400 * 10**9
    answer = await api.call("POST", PATHS[0], request(old, gauge("good", 1)).SerializeToString(), PROTOBUF)
    told = ExportMetricsServiceResponse.FromString(answer.body).partial_success
    assert (told.rejected_data_points, "older than the retention" in told.error_message) == (1, True)
    assert await value(api, "good") == "1"


async def test_points_of_new_series_beyond_limits_are_rejected_points(api: Any) -> None:
    api.state["limited"] = 1
    body = request(gauge("g", 1), gauge("h", 1)).SerializeToString()
    answer = await api.call("POST", PATHS[0], body, PROTOBUF)
    told = ExportMetricsServiceResponse.FromString(answer.body).partial_success
    assert (told.rejected_data_points, "limits on series" in told.error_message) == (1, True)


async def test_deltas_sent_again_after_a_failure_count_once(api: Any) -> None:
    body = request(total("hits", 5, DELTA)).SerializeToString()
    api.state["refuse"] = DiskFull("no space left")
    assert (await api.call("POST", PATHS[0], body, PROTOBUF)).status == 503
    del api.state["refuse"]
    assert (await api.call("POST", PATHS[0], body, PROTOBUF)).body == b""
    assert await value(api, "hits_total") == "5"
    again = await api.call("POST", PATHS[0], body, PROTOBUF)
    assert ExportMetricsServiceResponse.FromString(again.body).partial_success.rejected_data_points == 1
    assert await value(api, "hits_total") == "5"


async def test_large_requests_are_taken(api: Any) -> None:
    metrics = [gauge("g", i, i=str(i)) for i in range(2000)]
    for _ in range(3):
        answer = await api.call("POST", PATHS[0], request(*metrics).SerializeToString(), PROTOBUF)
        assert answer.status == 200
    assert await value(api, "sum(g)") == str(sum(range(2000)))


async def test_the_description_names_both_forms(api: Any) -> None:
    document = orjson.loads((await api.get("/openapi.json")).body)
    for path in PATHS:
        content = document["paths"][path]["post"]["requestBody"]["content"]
        assert set(content) == {"application/x-protobuf", "application/json"}
