"""OTLP requests for tests and benchmarks, built with OpenTelemetry's own messages."""

from __future__ import annotations

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric, Sum

NOW_NS = 1_700_000_000_000_000_000
DELTA, CUMULATIVE = 1, 2


def attributes(**values: str) -> list[KeyValue]:
    """Return attributes that are texts."""
    return [KeyValue(key=k, value=AnyValue(string_value=v)) for k, v in values.items()]


def request(*metrics: Metric, **resource: str) -> ExportMetricsServiceRequest:
    """Return a request of one resource with attributes, and metrics of one scope."""
    message = ExportMetricsServiceRequest()
    part = message.resource_metrics.add()
    for key, value in (resource or {"service.name": "shop"}).items():
        part.resource.attributes.add(key=key, value=AnyValue(string_value=value))
    part.scope_metrics.add().metrics.extend(metrics)
    return message


def gauge(name: str, value: float | int | None, unit: str = "", flags: int = 0, **labels: str) -> Metric:
    """Return a gauge of one point; without a value when it is None."""
    metric = Metric(name=name, unit=unit)
    point = metric.gauge.data_points.add(time_unix_nano=NOW_NS, flags=flags, attributes=attributes(**labels))
    if isinstance(value, float):
        point.as_double = value
    elif value is not None:
        point.as_int = value
    return metric


def total(
    name: str,
    value: float,
    temporality: int = CUMULATIVE,
    monotonic: bool = True,
    at_s: int = 0,
    **labels: str,
) -> Metric:
    """Return a sum of one point, `at_s` seconds after NOW_NS."""
    metric = Metric(name=name)
    metric.sum.MergeFrom(
        Sum(aggregation_temporality=AggregationTemporality.ValueType(temporality), is_monotonic=monotonic)
    )
    metric.sum.data_points.add(
        start_time_unix_nano=NOW_NS,
        time_unix_nano=NOW_NS + at_s * 10**9,
        as_double=value,
        attributes=attributes(**labels),
    )
    return metric


def histogram(
    name: str,
    bounds: list[float],
    counts: list[int],
    temporality: int = CUMULATIVE,
    at_s: int = 0,
    **labels: str,
) -> Metric:
    """Return a histogram in seconds of one point; its sum is 1.5 times its count."""
    metric = Metric(name=name, unit="s")
    metric.histogram.aggregation_temporality = AggregationTemporality.ValueType(temporality)
    metric.histogram.data_points.add(
        time_unix_nano=NOW_NS + at_s * 10**9,
        count=sum(counts),
        sum=1.5 * sum(counts),
        explicit_bounds=bounds,
        bucket_counts=counts,
        min=0.0,
        max=9.0,
        attributes=attributes(**labels),
    )
    return metric
