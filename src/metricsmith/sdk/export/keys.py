"""Series of a reading as canonical keys, for formats that send bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from metricsmith.model.labels import encode_pairs
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.sdk.names import legacy_name
from metricsmith.sdk.reading import Reading

Name: TypeAlias = tuple[str, ...]
"""A sample's name, the names of its labels, and their values.

Flat, as a push makes one for each series: garbage collection, which stops the
application, need not look into it.
"""


def names_and_values(readings: Sequence[Reading]) -> tuple[list[Name], list[float]]:
    """Return the series of all samples and their values, in order."""
    samples = [sample for reading in readings for sample in reading.samples]
    names = [(sample.name, *sample.labels, *sample.labels.values()) for sample in samples]
    return names, [float(sample.value) for sample in samples]


def metadata_of(reading: Reading) -> tuple[str, Metadata]:
    """Return the name of a family as the text format has it, and what is known of it."""
    suffix = {"counter": "_total", "info": "_info"}.get(reading.type, "")
    known = Metadata(MetricType(reading.type), reading.unit, reading.documentation)
    return f"{legacy_name(reading.name)}{suffix}", known


def series_keys(names: Sequence[Name], added: Mapping[str, str]) -> list[bytes]:
    """Return canonical keys; `added` are labels of all series that have none of that name.

    Names are those of the page for scrapers: a server refuses a request for one dot.
    What is no Unicode text, such as a lone surrogate, is a question mark, as on
    the page for scrapers: one label value must not hold up all others.
    """
    return [_key(name, added) for name in names]


def _key(name: Name, added: Mapping[str, str]) -> bytes:
    middle = len(name) // 2 + 1
    labels = {**added, **dict(zip(name[1:middle], name[middle:], strict=True))}
    pairs = [(_bytes(legacy_name(label)), _bytes(value)) for label, value in labels.items() if value]
    return encode_pairs(_bytes(legacy_name(name[0])), pairs)


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")
