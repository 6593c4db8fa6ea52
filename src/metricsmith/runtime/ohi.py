"""What collectors give as a document of New Relic's integration protocol."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from metricsmith.runtime.collectors import Given, Reading
from metricsmith.sources.kafka.tombstone_counts import TombstoneCount
from metricsmith.wire.ohi.document import HOST, Dataset, Document, Entity, Sample, Scalar
from metricsmith.wire.ohi.samples import latest, metrics_of
from metricsmith.wire.ohi.tombstones import TopicTombstones, tombstone_document

_WORD = re.compile(r"[A-Za-z0-9]+")


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
        metrics = tuple(
            metric
            for given in reading.given
            for metric in metrics_of(latest(given.samples, given.timed), given.metadata, reading.time_ms)
        )
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
    for (metric, labels), value in latest(given.samples, given.timed):
        grouped[labels][metric] = value
    for labels, values in grouped.items():
        fields: dict[str, Scalar] = {
            f"label.{label}" if label in values or label == "event_type" else label: text
            for label, text in labels
        }
        yield Sample(event_type(given.unit.name), {**fields, **values})
