"""Times and numbers as they are written in notifications, and what an alert is about in a sentence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from metricsmith.rules.model import Notification

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SPECIAL = {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}


def time_text(time_ms: int) -> str:
    """Return a time in RFC 3339, with milliseconds where there are some.

    >>> time_text(1704110400000), time_text(1704110400120)
    ('2024-01-01T12:00:00Z', '2024-01-01T12:00:00.120Z')
    """
    spec = "milliseconds" if time_ms % 1000 else "seconds"
    moment = _EPOCH + timedelta(milliseconds=time_ms)
    return moment.isoformat(timespec=spec).replace("+00:00", "Z")


def number(value: float) -> float | int | str:
    """Return a number as JSON can hold it: whole ones as such, NaN and the infinities as text.

    >>> number(80.0), number(85.2), number(float("-inf"))
    (80, 85.2, '-Inf')
    """
    if value != value or abs(value) == float("inf"):
        return _SPECIAL[str(value)]
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def message(told: Notification) -> str:
    """Return what an alert says to people: the first of its usual annotations, or its expression."""
    for name in ("message", "summary", "description"):
        if text := told.annotations.get(name):
            return text
    return told.rule.expr
