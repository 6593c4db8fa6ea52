"""Values of version 4's metric types as samples of Prometheus' types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from metricsmith.model.metadata import MetricType
from metricsmith.sources.exec import names
from metricsmith.sources.exec.memory import Remembered
from metricsmith.wire.ohi.document import DistributionValue, Metric, MetricKind, SummaryValue

NO_LABELS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Point:
    """One sample: its name, its family and what the family is."""

    name: str
    family: str
    type: MetricType
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


def points(metric: Metric, last: Remembered, time_ms: int) -> tuple[list[Point], str]:
    """Return the samples of a metric, and why there are none that should be, empty when all is well.

    `last` is what the metric's last value left; it is brought up to date. A
    `count` or `summary` tells what happened within an interval: it is added
    up, so that `rate` works as on any counter. A `rate` and the first value of a
    `cumulative-rate` need an interval: without one they give nothing.
    """
    value = metric.value
    if isinstance(value, DistributionValue):
        return _distribution(metric, value), ""
    if isinstance(value, SummaryValue):
        return _summary(metric.name, value, last)
    name = names.metric(metric.name)
    match metric.kind:
        case MetricKind.COUNT:
            if value < 0:
                return [], "negative_count"
            last.total += value
            return [_counter(metric.name, last.total)], ""
        case MetricKind.CUMULATIVE_COUNT:
            return [_counter(metric.name, value)], ""
        case MetricKind.RATE:
            rate = _rate(value, metric.interval_ms or _elapsed_ms(last, time_ms))
        case MetricKind.CUMULATIVE_RATE:
            grown = value - last.value if value >= last.value else value  # it began anew, from zero
            rate = _rate(grown, _elapsed_ms(last, time_ms))
        case _:
            return [_gauge(name, value)], ""
    if last.time_ms is not None and time_ms <= last.time_ms and rate is None:
        return [], "out_of_order"
    last.value, last.time_ms = value, time_ms
    return ([] if rate is None else [_gauge(name, rate)]), ""


def _elapsed_ms(last: Remembered, time_ms: int) -> float | None:
    return None if last.time_ms is None else time_ms - last.time_ms


def _rate(amount: float, elapsed_ms: float | None) -> float | None:
    return amount / (elapsed_ms / 1000) if elapsed_ms is not None and elapsed_ms > 0 else None


def _gauge(name: str, value: float) -> Point:
    return Point(name, name, MetricType.GAUGE, value)


def _counter(raw: str, value: float) -> Point:
    name = names.counter(raw)
    return Point(name, name, MetricType.COUNTER, value)


def _summary(raw: str, value: SummaryValue, last: Remembered) -> tuple[list[Point], str]:
    # Its sum may fall, as sums of a summary may; its count may not.
    if value.count < 0:
        return [], "negative_count"
    last.total += value.count
    last.value += value.sum
    name = names.metric(raw)
    found = [
        Point(f"{name}_count", name, MetricType.SUMMARY, last.total),
        Point(f"{name}_sum", name, MetricType.SUMMARY, last.value),
    ]
    extremes = (("min", value.min), ("max", value.max))
    return found + [_gauge(f"{name}_{which}", v) for which, v in extremes if v is not None], ""


def _distribution(metric: Metric, value: DistributionValue) -> list[Point]:
    name = names.metric(metric.name)
    histogram = metric.kind is MetricKind.PROMETHEUS_HISTOGRAM
    type_ = MetricType.HISTOGRAM if histogram else MetricType.SUMMARY
    if histogram:  # the bucket that holds all is implied by the count
        bounds = [(repr(bound), count) for bound, count in value.points]
        found = [
            Point(f"{name}_bucket", name, type_, count, {"le": le})
            for le, count in (*bounds, ("+Inf", value.count))
        ]
    else:
        found = [Point(name, name, type_, v, {"quantile": repr(q)}) for q, v in value.points]
    return [
        *found,
        Point(f"{name}_sum", name, type_, value.sum),
        Point(f"{name}_count", name, type_, value.count),
    ]
