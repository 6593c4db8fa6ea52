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
_TAG_VALUES = re.compile(
    r'max-values-per-tag limit exceeded \(\d+/\d+\): measurement="(?P<measurement>.*)"'
    r' tag="(?P<tag>.*)" value="(?P<value>.*)"(?: dropped=\d+)?$',
    re.DOTALL,
)
BEYOND_RETENTION = "points beyond retention policy"


def refused_places(text: str) -> Callable[[Place], bool] | None:
    """Return which places an answer refuses, all others being written; None when it does not say.

    It tells of the first only: the others come with the next answer.
    """
    if found := _CONFLICT.search(text):
        measurement, field = found["measurement"].encode(), found["field"].encode()
        return lambda place: place.measurement == measurement and place.field == field
    if found := _TAG_VALUES.search(text):
        measurement, pair = found["measurement"].encode(), (found["tag"].encode(), found["value"].encode())
        return lambda place: place.measurement == measurement and pair in place.tags
    return None
