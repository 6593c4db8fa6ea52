"""What collectors give as a document of New Relic's integration protocol."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.runtime.collectors import Given, Reading
from metricsmith.sources.kafka.tombstone_counts import TombstoneCount
from metricsmith.sources.python.values import Name
from metricsmith.wire.ohi.document import (
    HOST,
    Dataset,
    DistributionValue,
    Document,
    Entity,
    Metric,
    MetricKind,
    Sample,
    Scalar,
)
from metricsmith.wire.ohi.tombstones import TopicTombstones, tombstone_document

_WORD = re.compile(r"[A-Za-z0-9]+")
_ENDS = {MetricType.HISTOGRAM: "le", MetricType.SUMMARY: "quantile"}


@dataclass(frozen=True, slots=True)
class Identity:
    """What a document says of the integration that made it; without an entity it tells of the host."""

    name: str
    version: str = "1.0.0"
    entity: Entity = HOST


def document(reading: Reading, identity: Identity, protocol: int) -> Document:
    """Return a document of protocol version 3 or 4.

    In version 3 the samples of a collector that have the same labels are one
    sample, whose event type is the collector's name. Version 4 keeps types.

    Raises:
        ValueError: another protocol version.
    """
    if protocol == 3:
        samples = tuple(sample for given in reading.given for sample in _samples(given))
        dataset = Dataset(identity.entity, samples=samples)
    elif protocol == 4:
        metrics = tuple(m for given in reading.given for m in _metrics(given, reading.time_ms))
        dataset = Dataset(identity.entity, metrics=metrics)
    else:
        raise ValueError(f"got protocol {protocol}, wanted 3 or 4")
    return Document(protocol, identity.name, identity.version, (dataset,))


def event_type(collector: str) -> str:
    """Return the event type of a collector's samples.

    >>> event_type("shop.queue_depth"), event_type("FooCollector")
    ('ShopQueueDepthSample', 'FooCollectorSample')
    """
    words = _WORD.findall(collector.replace("_", " "))
    return "".join(word[0].upper() + word[1:] for word in words) + "Sample"


def tombstones(counts: Iterable[TombstoneCount], checked_ms: int, protocol: int) -> Document:
    """Return the document of a check of topics; one of which nothing could be read has no ratio."""
    topics = [
        TopicTombstones(each.topic, each.records, each.tombstones, each.ratio_percent)
        for each in counts
        if each.partition is None
    ]
    return tombstone_document(topics, checked_ms // 1000, protocol)


def _samples(given: Given) -> Iterator[Sample]:
    grouped: dict[tuple[tuple[str, str], ...], dict[str, float]] = defaultdict(dict)
    for (metric, labels), value in _latest(given):
        grouped[labels][metric] = value
    for labels, values in grouped.items():
        fields: dict[str, Scalar] = {
            f"label.{label}" if label in values or label == "event_type" else label: text
            for label, text in labels
        }
        yield Sample(event_type(given.unit.name), {**fields, **values})


def _metrics(given: Given, time_ms: int) -> Iterator[Metric]:
    compound: dict[tuple[str, tuple[tuple[str, str], ...]], list[tuple[Name, float]]] = defaultdict(list)
    for name, value in _latest(given):
        metric, labels = name
        family, known = _family(metric, given.metadata)
        if known.type in _ENDS:
            end = _ENDS[known.type]
            rest = tuple((label, text) for label, text in labels if label != end)
            compound[family, rest].append((name, value))
            continue
        kind = MetricKind.CUMULATIVE_COUNT if known.type is MetricType.COUNTER else MetricKind.GAUGE
        yield Metric(metric, kind, value, time_ms, None, dict(labels))
    for (family, labels), parts in compound.items():
        histogram = given.metadata[family].type is MetricType.HISTOGRAM
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


def _latest(given: Given) -> list[tuple[Name, float]]:
    """All samples, of those with times of their own the last: a document has one value of a series."""
    timed = {name: value for name, value, _ in sorted(given.timed, key=lambda sample: sample[2])}
    return [*given.samples, *timed.items()]


def _family(metric: str, metadata: Mapping[str, Metadata]) -> tuple[str, Metadata]:
    for name in (metric, *(metric.removesuffix(end) for end in ("_bucket", "_count", "_sum"))):
        if name in metadata:
            return name, metadata[name]
    return metric, Metadata()
