"""To and from the families of prometheus_client. Imports it, so is imported late."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prometheus_client import Metric
from prometheus_client.samples import Exemplar as TheirExemplar

from metricsmith.sdk.reading import Exemplar, Reading, Sample


def to_metric(reading: Reading) -> Metric:
    """Return the same as a family of prometheus_client."""
    metric = Metric(reading.name, reading.documentation, reading.type, reading.unit)
    for sample in reading.samples:
        exemplar = sample.exemplar and TheirExemplar(dict(sample.exemplar.labels), *sample.exemplar[1:])
        metric.add_sample(sample.name, dict(sample.labels), sample.value, sample.timestamp, exemplar)
    return metric


def from_metrics(metrics: Iterable[Any]) -> Iterable[Reading]:
    """Return the families that a collector yields, without `_created` samples: ours have none, either."""
    for metric in metrics:
        samples = [
            Sample(
                s.name,
                s.labels,
                s.value,
                s.exemplar and Exemplar(*s.exemplar),
                s.timestamp and float(s.timestamp),
            )
            for s in metric.samples
            if s.name != f"{metric.name}_created" and s.value is not None
        ]
        yield Reading(metric.name, metric.type, metric.documentation, metric.unit, samples)
