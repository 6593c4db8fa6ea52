"""What InfluxDB's answers say about points that it did not take."""

from __future__ import annotations

import re
from collections.abc import Callable

from metricsmith.model.duration import parse_duration
from metricsmith.wire.line_protocol_places import Place

_CONFLICT = re.compile(
    r'input field "(?P<field>.*)" on measurement "(?P<measurement>.*)" is type \w+,'
    r" already exists as type \w+",
    re.DOTALL,
)
_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_TAG_VALUES = re.compile(
    rf"max-values-per-tag limit exceeded \(\d+/\d+\): measurement={_QUOTED} tag={_QUOTED} value={_QUOTED}"
)
_QUOTE = re.compile(r'\\(["\\])')
_BEYOND_RETENTION = re.compile(
    r"points (?:beyond|outside) retention policy(?: of duration (?P<duration>[0-9hms]+))?"
)


def beyond_retention(text: str) -> bool:
    """Return whether an answer refuses points for their age."""
    return _BEYOND_RETENTION.search(text) is not None


def retention_told(text: str) -> int | None:
    """Return how long points are kept, where such an answer says so; newer versions do.

    Units:
        Milliseconds.

    >>> retention_told("partial write: dropped 1 points outside retention policy of duration 24h0m0s")
    86400000
    """
    found = _BEYOND_RETENTION.search(text)
    try:
        return parse_duration(found["duration"]) if found is not None and found["duration"] else None
    except ValueError:
        return None


def refused_places(text: str) -> Callable[[Place], bool] | None:
    """Return which places an answer refuses, all others being written; None when it does not say.

    It tells of the first only: the others come with the next answer.
    """
    if found := _CONFLICT.search(text):
        measurement, field = found["measurement"].encode(), found["field"].encode()
        return lambda place: place.measurement == measurement and place.field == field
    if found := _TAG_VALUES.search(text):
        measurement, tag, value = (_QUOTE.sub(r"\1", text).encode() for text in found.groups())
        return lambda place: place.measurement == measurement and (tag, value) in place.tags
    return None
