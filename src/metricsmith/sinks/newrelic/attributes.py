"""Names and attributes as New Relic takes them.

Source:
    "Metric API: requirements and limits" and "Data requirements and limits for custom event data" of
    New Relic's documentation.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Set

MAX_NAME = 254
MAX_KEY = 255
MAX_VALUE_BYTES = 4096
MAX_ATTRIBUTES = 100
MAX_EVENT_ATTRIBUTES = 254
RESERVED_IN_METRICS = frozenset(
    ("interval.ms", "timestamp", "value", "common", "min", "max", "count", "sum", "metrics")
)
RESERVED_IN_EVENTS = frozenset(("accountId", "appId", "eventType", "timestamp"))
RENAMED = "attr."
"""Before a name that New Relic keeps for itself."""

_NOT_IN_KEYS = re.compile(r"[^A-Za-z0-9:._]")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9:._/-]")


def metric_name(name: str) -> str:
    """Return a metric's name; what is not allowed in one becomes `_`."""
    return _NOT_IN_NAMES.sub("_", name)


def attributes(
    pairs: Iterable[tuple[str, str | float | bool]], reserved: Set[str]
) -> dict[str, str | float | bool]:
    """Return attributes that are taken: keys rewritten, long values cut, numbers that are none left out.

    >>> attributes([("count", "2"), ("my-zone", "a"), ("x", float("nan"))], RESERVED_IN_METRICS)
    {'attr.count': '2', 'my_zone': 'a'}
    """
    found: dict[str, str | float | bool] = {}
    for name, value in pairs:
        if isinstance(value, float) and not math.isfinite(value):
            continue
        key = _NOT_IN_KEYS.sub("_", name)
        key = (f"{RENAMED}{key}" if key in reserved else key)[:MAX_KEY]
        if key in found or key in reserved:  # the rewriting made two one
            key = f"{key[: MAX_KEY - 4]}_{len(found)}"
        found[key] = cut(value) if isinstance(value, str) else value
    return found


def cut(text: str) -> str:
    """Return a text of at most MAX_VALUE_BYTES, whole characters."""
    if len(text) * 4 <= MAX_VALUE_BYTES:
        return text
    return text.encode(errors="replace")[:MAX_VALUE_BYTES].decode(errors="ignore")


def common_attributes(given: Mapping[str, str | bool | int | float]) -> dict[str, str | float | bool]:
    """Return what every request says of all that it holds."""
    return attributes({"instrumentation.provider": "metricsmith", **given}.items(), RESERVED_IN_METRICS)
