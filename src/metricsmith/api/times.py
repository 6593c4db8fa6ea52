"""Times in Prometheus' JSON."""

from __future__ import annotations

from datetime import UTC, datetime

NEVER = "0001-01-01T00:00:00Z"
"""What Prometheus answers as the time of what has not been."""


def rfc3339(time_ms: int) -> str:
    """Return a Unix time in RFC 3339, in UTC, with milliseconds.

    >>> rfc3339(1_500)
    '1970-01-01T00:00:01.500Z'
    """
    time = datetime.fromtimestamp(time_ms // 1000, UTC).replace(microsecond=time_ms % 1000 * 1000)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
