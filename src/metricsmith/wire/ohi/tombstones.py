"""Tombstones of Kafka topics as the documents that existing New Relic dashboards and alerts expect."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from metricsmith.wire.ohi.document import (
    Dataset,
    Document,
    Entity,
    Metric,
    MetricKind,
    Sample,
)

INTEGRATION, VERSION = "com.custom.kafka.tombstone", "1.0.0"
ENTITY = Entity("kafka-tombstone-monitor", "tombstone-monitor")
EVENT_TYPE = "KafkaTopicTombstoneSample"
TOPIC, TOTAL, TOMBSTONES = "topic.name", "topic.totalMessages", "topic.tombstoneMessages"
RATIO, CHECK_TIME = "topic.tombstoneRatio", "topic.tombstoneCheckTime"


@dataclass(frozen=True, slots=True)
class TopicTombstones:
    """What was counted in one topic; `ratio_percent` is None when nothing of it could be read."""

    topic: str
    total: int
    tombstones: int
    ratio_percent: float | None


def tombstone_document(topics: Iterable[TopicTombstones], checked_s: int, protocol: int = 3) -> Document:
    """Return the document of protocol version 3 or 4 for topics that were looked at.

    A topic that could not be read has no ratio. The time of the check is an
    attribute, so it is text, as New Relic's SDK makes it.

    Units:
        ratio_percent 0 to 100; checked_s seconds since the Unix epoch.
    Raises:
        ValueError: another protocol version.
    """
    if protocol == 3:
        dataset = Dataset(ENTITY, samples=tuple(_sample(t, checked_s) for t in topics))
    elif protocol == 4:
        metrics = tuple(m for t in topics for m in _metrics(t, checked_s))
        dataset = Dataset(ENTITY, metrics=metrics)
    else:
        raise ValueError(f"got protocol {protocol}, wanted 3 or 4")
    return Document(protocol, INTEGRATION, VERSION, (dataset,))


def _sample(topic: TopicTombstones, checked_s: int) -> Sample:
    return Sample(EVENT_TYPE, {TOPIC: topic.topic, **_gauges(topic), CHECK_TIME: str(checked_s)})


def _metrics(topic: TopicTombstones, checked_s: int) -> Iterable[Metric]:
    attributes = {TOPIC: topic.topic, CHECK_TIME: str(checked_s)}
    for name, value in _gauges(topic).items():
        yield Metric(name, MetricKind.GAUGE, value, checked_s * 1000, None, attributes)


def _gauges(topic: TopicTombstones) -> dict[str, float]:
    found = {TOTAL: float(topic.total), TOMBSTONES: float(topic.tombstones)}
    return found if topic.ratio_percent is None else {**found, RATIO: topic.ratio_percent}
