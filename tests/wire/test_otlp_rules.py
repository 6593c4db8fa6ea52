"""OTLP point by point: names, labels, metadata, ends of series, deltas, refusals, limits."""

from __future__ import annotations

import math

import pytest
from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from metricsmith.errors import LimitExceeded, WireError
from metricsmith.model.labels import decode_labels, encode_labels
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.testing.otlp import DELTA, NOW_NS, attributes, gauge, histogram, request, total
from metricsmith.wire.otlp.json_form import protobuf_of
from metricsmith.wire.otlp.names import metric_name
from metricsmith.wire.protobuf import bytes_field

NOW_MS = NOW_NS // 1_000_000


@pytest.mark.parametrize(
    ("name", "unit", "kind", "wanted"),
    [
        ("http.server.request.duration", "s", {}, "http_server_request_duration_seconds"),
        ("http.server.duration.seconds", "s", {}, "http_server_duration_seconds"),
        ("system.io", "By", {"counter": True}, "system_io_bytes_total"),
        ("a_total", "", {"counter": True}, "a_total"),
        ("total_hits", "", {"counter": True}, "hits_total"),
        ("cpu.utilization", "1", {"gauge": True}, "cpu_utilization_ratio"),
        ("cpu.utilization", "1", {}, "cpu_utilization"),
        ("speed", "m/s", {"gauge": True}, "speed_meters_per_second"),
        ("queue", "{messages}", {}, "queue"),
        ("rate", "{messages}/m", {}, "rate_per_minute"),
        ("weird", "foo bar", {}, "weird_foo_bar"),
        ("2xx", "", {}, "_2xx"),
        ("a..b__c", "", {}, "a_b_c"),
        ("job:x:sum", "", {}, "job:x:sum"),
        ("°", "", {}, ""),
    ],
)
def test_names_are_those_of_prometheus(name, unit, kind, wanted):
    assert metric_name(name, unit, **kind) == wanted


def test_metadata_is_that_of_families(otlp_receiver):
    receiver = otlp_receiver()
    up_down = total("sessions", 1, monotonic=False)
    up_down.description = "Open."
    message = request(gauge("t", 1.0, "Cel"), total("hits", 1), up_down, histogram("d", [], []))
    assert receiver.take(message).batch.layout.metadata == {
        "t_celsius": Metadata(MetricType.GAUGE, "celsius"),
        "hits_total": Metadata(MetricType.COUNTER),
        "sessions": Metadata(MetricType.GAUGE, "", "Open."),
        "d_seconds": Metadata(MetricType.HISTOGRAM, "seconds"),
    }


RESOURCE = {
    "service.name": "cart",
    "service.namespace": "shop",
    "service.instance.id": "i1",
    "host.name": "h1",
}


@pytest.mark.parametrize(
    ("settings", "series"),
    [
        (
            {},
            [
                {"__name__": "depth_bytes", "job": "shop/cart", "instance": "i1", "a_b": "1"},
                {"__name__": "target_info", "job": "shop/cart", "instance": "i1", "host_name": "h1"},
            ],
        ),
        (
            {"translation_strategy": "NoTranslation", "promote_resource_attributes": ["host.name"]},
            [
                {"__name__": "depth", "job": "shop/cart", "instance": "i1", "a.b": "1", "host.name": "h1"},
                {"__name__": "target_info", "job": "shop/cart", "instance": "i1", "host.name": "h1"},
            ],
        ),
        (
            {"promote_scope_metadata": True, "keep_identifying_resource_attributes": True},
            [
                {
                    "__name__": "depth_bytes",
                    "job": "shop/cart",
                    "instance": "i1",
                    "a_b": "1",
                    "otel_scope_name": "lib",
                    "otel_scope_version": "2",
                    "otel_scope_schema_url": "http://x",
                    "otel_scope_k_x": "v",
                },
                {
                    "__name__": "target_info",
                    "job": "shop/cart",
                    "instance": "i1",
                    "host_name": "h1",
                    "service_name": "cart",
                    "service_namespace": "shop",
                    "service_instance_id": "i1",
                },
            ],
        ),
    ],
)
def test_resource_and_scope_become_labels_and_target_info(otlp_receiver, settings, series):
    message = request(gauge("depth", 2.0, "By", **{"a.b": "1"}), **RESOURCE)
    scope = message.resource_metrics[0].scope_metrics[0]
    scope.schema_url, scope.scope.name, scope.scope.version = "http://x", "lib", "2"
    scope.scope.attributes.extend(attributes(**{"k.x": "v"}))
    found = [decode_labels(key) for key, _, _ in otlp_receiver(**settings).samples(message)]
    assert sorted(found, key=lambda labels: labels["__name__"]) == series


def test_any_value_has_a_text(otlp_receiver):
    metric = gauge("g", 1.0)
    metric.gauge.data_points[0].attributes.extend(
        [
            KeyValue(key="b", value=AnyValue(bool_value=True)),
            KeyValue(key="i", value=AnyValue(int_value=-3)),
            KeyValue(key="d", value=AnyValue(double_value=0.25)),
            KeyValue(key="y", value=AnyValue(bytes_value=b"\xff\x00")),
            KeyValue(key="none", value=AnyValue()),
        ]
    )
    listed = metric.gauge.data_points[0].attributes.add(key="l")
    listed.value.array_value.values.extend([AnyValue(string_value="a"), AnyValue(int_value=1)])
    paired = metric.gauge.data_points[0].attributes.add(key="m")
    paired.value.kvlist_value.values.add(key="k", value=AnyValue(bool_value=False))
    message = request(metric)
    want = {"b": "true", "i": "-3", "d": "0.25", "y": "/wA=", "l": '["a",1]', "m": '{"k":false}'}
    for body in (message.SerializeToString(), protobuf_of(MessageToJson(message).encode())):
        (key, _, _) = otlp_receiver().samples(body)[0]
        assert decode_labels(key) == {"__name__": "g", "job": "shop", **want}


def test_no_recorded_value_ends_series(otlp_receiver):
    receiver = otlp_receiver()
    receiver.samples(request(gauge("g", 1.0), histogram("h", [1.0], [1, 2])))
    ended = histogram("h", [1.0], [])
    ended.histogram.data_points[0].flags = 1
    found = receiver.values(request(gauge("g", None, flags=1), ended))
    assert found == dict.fromkeys(
        [
            "g",
            "h_seconds_bucket {'le': '1'}",
            "h_seconds_bucket {'le': '+Inf'}",
            "h_seconds_count",
            "h_seconds_sum",
        ],
        "stale",
    )


def exponential(points: int) -> Metric:
    metric = Metric(name="exp")
    for _ in range(points):
        metric.exponential_histogram.data_points.add(time_unix_nano=NOW_NS, count=1)
    return metric


@pytest.mark.parametrize(
    ("metric", "reason", "points", "message"),
    [
        (exponential(3), "exponential_histogram", 3, "exp: exponential histograms are not supported"),
        (total("x", 1, temporality=0), "temporality", 1, "x: got no temporality"),
        (gauge("°", 1.0), "no_name", 1, "'°'"),
        (gauge("g", None), "no_value", 1, "g: a point has neither"),
        (histogram("h", [1.0, 2.0], [1]), "bad_buckets", 1, "1 bucket counts and 2 bounds"),
        (histogram("h", [2.0, 1.0], [1, 1, 1]), "bad_buckets", 1, "do not rise"),
        (histogram("h", [math.nan], [1, 1]), "bad_buckets", 1, "do not rise"),
    ],
)
def test_what_cannot_be_taken_is_told_and_the_rest_is_taken(otlp_receiver, metric, reason, points, message):
    receiver = otlp_receiver()
    for _ in range(3):
        taken = receiver.take(request(metric, gauge("good", 1.0)))
        assert taken.rejected == {reason: points}
        assert message in taken.message
        assert len(taken.batch) == 1


def test_deltas_are_summed_in_order_and_what_is_sent_twice_counts_once(otlp_receiver):
    receiver = otlp_receiver()

    def send(at_s: int, count: int) -> dict[str, str]:
        sums = (
            total("hits", count, DELTA, at_s=at_s),
            total("level", -count, DELTA, monotonic=False, at_s=at_s),
        )
        return receiver.values(request(*sums, histogram("d", [1.0], [count, 1], DELTA, at_s)), NOW_MS)

    def sums(hits: int, last: int) -> dict[str, str]:
        return {
            "hits_total": f"{hits}.0",
            "level": f"-{hits}.0",
            "d_seconds_bucket {'le': '1'}": f"{hits}.0",
            "d_seconds_bucket {'le': '+Inf'}": f"{hits + last}.0",
            "d_seconds_count": f"{hits + last}.0",
            "d_seconds_sum": f"{1.5 * (hits + last)}",
        }

    assert send(1, 5) == sums(5, 1)
    assert send(2, 3) == sums(8, 2)
    assert send(2, 3) == {}
    assert send(1, 5) == {}
    assert send(3, 2) == sums(10, 3)
    late = receiver.take(request(total("hits", 1, DELTA, at_s=3), gauge("other", 1.0)))
    assert (late.rejected, len(late.batch)) == ({"delta_out_of_order": 1}, 1)
    late = receiver.take(request(histogram("d", [1.0], [1, 1], DELTA, at_s=3)))
    assert late.rejected == {"delta_out_of_order": 1}


def test_deltas_that_were_not_accepted_do_not_count(otlp_receiver):
    receiver = otlp_receiver()
    body = request(total("hits", 5, DELTA, at_s=1)).SerializeToString()
    for _ in range(3):
        decoded = receiver.decoder.decode(body, NOW_MS)
        assert decoded.batch.value.tolist() == [5.0]
    decoded.commit()
    assert receiver.values(request(total("hits", 5, DELTA, at_s=2))) == {"hits_total": "10.0"}


def test_deltas_of_one_series_in_one_request_add_up(otlp_receiver):
    metric = total("hits", 1, DELTA, at_s=1)
    for at_s in (2, 3, 3):
        point = metric.sum.data_points.add(time_unix_nano=NOW_NS + at_s * 10**9, as_int=10)
        assert not point.attributes
    receiver = otlp_receiver()
    taken = receiver.take(request(metric, total("hits", 7, DELTA, at_s=1, zone="a")))
    assert sorted(taken.batch.value.tolist()) == [1.0, 7.0, 11.0, 21.0]
    assert taken.rejected == {"delta_out_of_order": 1}


def test_sums_expire_and_are_bounded(otlp_receiver):
    receiver = otlp_receiver(delta_expiry="1m", delta_series=2)
    assert receiver.values(request(total("a", 5, DELTA, at_s=1))) == {"a_total": "5.0"}
    assert receiver.values(request(total("b", 1, DELTA, at_s=1)), NOW_MS + 50_000) == {"b_total": "1.0"}
    refused = receiver.take(
        request(total("c", 1, DELTA, at_s=1), total("a", 1, DELTA, at_s=2)), NOW_MS + 51_000
    )
    assert refused.rejected == {"delta_not_summed": 1}
    assert refused.batch.value.tolist() == [6.0]
    later = NOW_MS + 105_000
    assert receiver.values(request(total("c", 2, DELTA, at_s=3)), later) == {}
    assert receiver.values(request(total("c", 2, DELTA, at_s=3)), later + 10_000) == {"c_total": "2.0"}
    assert receiver.values(request(total("b", 3, DELTA, at_s=4)), later + 10_000) == {"b_total": "3.0"}
    assert receiver.values(request(total("a", 3, DELTA, at_s=4)), later + 10_000) == {}


def test_deltas_that_are_no_numbers_do_not_spoil_the_sum(otlp_receiver):
    receiver = otlp_receiver()
    receiver.take(request(total("a", 5, DELTA, at_s=1)))
    assert receiver.take(request(total("a", math.nan, DELTA, at_s=2))).rejected == {"delta_not_summed": 1}
    assert receiver.values(request(total("a", 1, DELTA, at_s=3))) == {"a_total": "6.0"}


def test_limits_hold(otlp_receiver):
    receiver = otlp_receiver()
    metrics = [histogram("h", [1.0, 2.0], [1, 1, 1], i=str(i)) for i in range(10)]
    with pytest.raises(LimitExceeded, match="more samples in a request than 49"):
        receiver.decoder.decode(request(*metrics).SerializeToString(), NOW_MS, 49)
    assert len(receiver.decoder.decode(request(*metrics).SerializeToString(), NOW_MS, 50).batch) == 50
    long = request(*[gauge("g", 1.0, i=str(i)) for i in range(3000)], **{"service.name": "x" * 50_000})
    with pytest.raises(LimitExceeded, match="bytes of labels"):
        receiver.take(long)


@pytest.mark.parametrize("kind", ["array", "pairs"])
def test_nesting_is_bounded(otlp_receiver, kind):
    value = AnyValue(string_value="x")
    for _ in range(30):
        outer = AnyValue()
        if kind == "array":
            outer.array_value.values.append(value)
        else:
            outer.kvlist_value.values.add(key="k", value=value)
        value = outer
    metric = gauge("g", 1.0)
    metric.gauge.data_points[0].attributes.add(key="deep", value=value)
    with pytest.raises(WireError, match="nested deeper"):
        otlp_receiver().take(request(metric))
    deep = b'{"arrayValue":{"values":[' * 300 + b"{}" + b"]}}" * 300
    body = b'{"resourceMetrics":[{"resource":{"attributes":[{"key":"a","value":' + deep + b"}]}}]}"
    with pytest.raises(WireError, match="nested deeper"):
        protobuf_of(body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[]", "body: got [], wanted an object"),
        (b"{", "not JSON"),
        (b'{"resourceMetrics":{}}', "resourceMetrics: got {}, wanted a list"),
        (
            b'{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":3}]}]}]}',
            "metrics[0].name: got 3, wanted a text",
        ),
        (
            b'{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"gauge":{"dataPoints":[{"asInt":"x"}]}}]}]}]}',
            'asInt: got "x", wanted an integer',
        ),
        (
            b'{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"gauge":{"dataPoints":[{"asDouble":"x"}]}}]}]}]}',
            'asDouble: got "x", wanted a number',
        ),
    ],
)
def test_json_of_the_wrong_form_is_told_with_its_place(body, message):
    with pytest.raises(WireError) as error:
        protobuf_of(body)
    assert message in str(error.value)


def test_json_as_people_write_it(otlp_receiver):
    body = b"""{"resourceMetrics": [{"resource": {"attributes": [
      {"key": "service.name", "value": {"stringValue": "shop"}}], "unknown": 1},
      "scopeMetrics": [{"metrics": [
        {"name": "a", "sum": {"isMonotonic": true, "aggregationTemporality": 2, "dataPoints": [
          {"timeUnixNano": 1700000000000000000, "asInt": 3,
           "exemplars": [{"traceId": "5b8efff798038103d269b633813fc60c"}]},
          {"timeUnixNano": "1700000001000000000", "asDouble": "NaN"}]}},
        {"name": "b", "gauge": {"dataPoints": [
          {"timeUnixNano": "1700000000000000000", "asDouble": 4}]}}]}]}]}"""
    receiver = otlp_receiver()
    decoded = receiver.take(protobuf_of(body))
    a, b = (encode_labels({"__name__": name, "job": "shop"}) for name in ("a_total", "b"))
    assert receiver.shown(decoded) == [(a, NOW_MS, "3.0"), (a, NOW_MS + 1000, "nan"), (b, NOW_MS, "4.0")]
    assert decoded.exemplars == 1


def of_points(number: int, points: bytes) -> bytes:
    """A request of one metric, given its data."""
    metric = bytes_field(1, b"a") + bytes_field(number, points)
    return bytes_field(1, bytes_field(2, bytes_field(2, metric)))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"\x0a\x00" * 101, "resources, scopes and metrics"),
        (bytes_field(1, b"\x12\x00" * 101), "resources, scopes and metrics"),
        (bytes_field(1, bytes_field(2, b"\x12\x00" * 101)), "resources, scopes and metrics"),
        (of_points(5, b"\x0a\x00" * 101), "points of a metric"),
        (bytes_field(1, bytes_field(1, b"\x0a\x00" * 10_001)), "attributes"),
        (of_points(5, bytes_field(1, b"\x3a\x00" * 10_001)), "attributes"),
        (of_points(11, bytes_field(1, b"\x32\x00" * 10_001)), "quantiles"),
    ],
)
def test_what_is_short_to_send_and_long_to_read_is_bounded(otlp_receiver, body, message):
    with pytest.raises(LimitExceeded, match=message):
        otlp_receiver().decoder.decode(body, NOW_MS, 100)
