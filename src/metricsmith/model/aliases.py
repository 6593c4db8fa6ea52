"""Short names that rules and requests use for well-known metrics.

The seed's rules and REST examples say `cpu_usage` where the data say `cpu_usage_percent`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

ALIASES: Mapping[str, str] = {
    "cpu_usage": "cpu_usage_percent",
    "memory_usage": "memory_usage_percent",
    "disk_usage": "disk_usage_percent",
    "response_time": "response_time_ms",
}


def resolve_alias(name: str, exists: Callable[[str], bool]) -> str:
    """Return the metric that a name means: an existing series of exactly that name wins.

    >>> resolve_alias("cpu_usage", lambda name: False), resolve_alias("cpu_usage", lambda name: True)
    ('cpu_usage_percent', 'cpu_usage')
    """
    long = ALIASES.get(name)
    return name if long is None or exists(name) else long
