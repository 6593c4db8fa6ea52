"""Samples with what is known of their families, to metrics of version 4."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.wire.ohi.document import DistributionValue, Metric, MetricKind

Name: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]
"""A metric's name and its labels."""
_ENDS = {MetricType.HISTOGRAM: "le", MetricType.SUMMARY: "quantile"}


def latest(
    samples: Iterable[tuple[Name, float]], timed: Iterable[tuple[Name, float, int]]
) -> list[tuple[Name, float]]:
    """Return all samples, of those with times of their own the last: a document has one value of a series."""
    last = {name: value for name, value, _ in sorted(timed, key=lambda sample: sample[2])}
    return [*samples, *last.items()]


def metrics_of(
    samples: Iterable[tuple[Name, float]], metadata: Mapping[str, Metadata], time_ms: int
) -> Iterator[Metric]:
    """Yield each sample as a metric, those of a histogram or a summary together as one."""
    compound: dict[Name, list[tuple[Name, float]]] = defaultdict(list)
    for name, value in samples:
        metric, labels = name
        family, known = _family(metric, metadata)
        if known.type in _ENDS:
            end = _ENDS[known.type]
            rest = tuple((label, text) for label, text in labels if label != end)
            compound[family, rest].append((name, value))
            continue
        kind = MetricKind.CUMULATIVE_COUNT if known.type is MetricType.COUNTER else MetricKind.GAUGE
        yield Metric(metric, kind, value, time_ms, None, dict(labels))
    for (family, labels), parts in compound.items():
        histogram = metadata[family].type is MetricType.HISTOGRAM
        kind = MetricKind.PROMETHEUS_HISTOGRAM if histogram else MetricKind.PROMETHEUS_SUMMARY
        yield Metric(family, kind, _distribution(parts, family), time_ms, None, dict(labels))


def _distribution(parts: Sequence[tuple[Name, float]], family: str) -> DistributionValue:
    count = total = 0.0
    points = {}
    for (metric, labels), value in parts:
        at = next((text for label, text in labels if label in _ENDS.values()), None)
        if metric == f"{family}_count":
            count = value
        elif metric == f"{family}_sum":
            total = value
        elif at is not None:
            points[float(at)] = value
    return DistributionValue(count, total, tuple(sorted(points.items())))


def _family(metric: str, metadata: Mapping[str, Metadata]) -> tuple[str, Metadata]:
    for name in (metric, *(metric.removesuffix(end) for end in ("_bucket", "_count", "_sum"))):
        if name in metadata:
            return name, metadata[name]
    return metric, Metadata()
