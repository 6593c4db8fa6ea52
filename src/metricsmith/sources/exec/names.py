"""Names of New Relic's samples, metrics and attributes as Prometheus can write them."""

from __future__ import annotations

import re
from functools import lru_cache

_ILLEGAL = re.compile(r"[^A-Za-z0-9_]+")
_ILLEGAL_IN_METRIC = re.compile(r"[^A-Za-z0-9_:]+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SAMPLE = re.compile(r"(?<=.)Sample$")
RESERVED = frozenset(("integration", "le", "quantile"))
"""Labels that mean something else; an attribute of that name becomes `attr_…`."""


@lru_cache(maxsize=8192)
def snake(text: str) -> str:
    """Return a name in lower case with underscores; what is no letter or digit becomes one.

    >>> snake("topic.tombstoneRatio"), snake("net.bytesInPerSec"), snake("HTTPStatus"), snake("5xx")
    ('topic_tombstone_ratio', 'net_bytes_in_per_sec', 'http_status', '_5xx')
    """
    return _led(_ILLEGAL.sub("_", _HUMP.sub("_", text)).lower().strip("_"))


@lru_cache(maxsize=8192)
def sample_metric(event_type: str, metric: str) -> str:
    """Return the name of a number in a sample: the event type without `Sample`, then the metric.

    >>> sample_metric("KafkaTopicTombstoneSample", "topic.tombstoneRatio")
    'kafka_topic_tombstone_topic_tombstone_ratio'
    """
    return f"{snake(_SAMPLE.sub('', event_type))}_{snake(metric)}"


@lru_cache(maxsize=8192)
def metric(name: str) -> str:
    """Return a name of version 4, which its author chose: only what is not allowed becomes `_`.

    >>> metric("system.cpu.utilization"), metric("go_gc_duration_seconds")
    ('system_cpu_utilization', 'go_gc_duration_seconds')
    """
    return _led(_ILLEGAL_IN_METRIC.sub("_", name))


@lru_cache(maxsize=8192)
def counter(name: str) -> str:
    """Return the name of a counter: with `_total` at its end."""
    plain = metric(name)
    return plain if plain.endswith("_total") else f"{plain}_total"


@lru_cache(maxsize=8192)
def label(attribute: str) -> str:
    """Return the label of an attribute.

    >>> label("topic.name"), label("clusterName"), label("le")
    ('topic_name', 'cluster_name', 'attr_le')
    """
    plain = snake(attribute)
    return f"attr_{plain}" if plain in RESERVED else plain


def _led(name: str) -> str:
    return f"_{name}" if not name or name[0].isdigit() else name
