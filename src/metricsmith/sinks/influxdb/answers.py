"""What InfluxDB's answers say about points that it did not take."""

from __future__ import annotations

import re
from collections.abc import Callable

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
BEYOND_RETENTION = "points beyond retention policy"


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
