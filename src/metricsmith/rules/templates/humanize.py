"""Numbers for people, as Prometheus' templates write them."""

from __future__ import annotations

import math

from metricsmith.rules.templates.numbers import fixed
from metricsmith.rules.templates.times import Time

_LARGE = ("k", "M", "G", "T", "P", "E", "Z", "Y")
_LARGE_1024 = ("ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi")
_SMALL = ("m", "u", "n", "p", "f", "a", "z", "y")


def humanize(value: float) -> str:
    """Return a number with a metric prefix.

    >>> humanize(1234567.0), humanize(0.0021), humanize(0.0)
    ('1.235M', '2.1m', '0')
    """
    if value == 0 or not math.isfinite(value):
        return _four(value)
    if abs(value) >= 1:
        return _large(value, 1000, _LARGE)
    return _small(value)


def humanize1024(value: float) -> str:
    """Return a number with a binary prefix; below one it stays as it is.

    >>> humanize1024(1048576.0)
    '1Mi'
    """
    if abs(value) <= 1 or not math.isfinite(value):
        return _four(value)
    return _large(value, 1024, _LARGE_1024)


def humanize_duration(value: float) -> str:
    """Return seconds in days, hours, minutes and seconds.

    >>> humanize_duration(899.99), humanize_duration(0.0021), humanize_duration(-90061.0)
    ('14m 59s', '2.1ms', '-1d 1h 1m 1s')
    """
    if not math.isfinite(value):
        return _four(value)
    if value == 0 or abs(value) >= 2**63:
        return f"{_four(value)}s"
    if abs(value) < 1:
        return f"{_small(value)}s"
    sign, value = ("-", -value) if value < 0 else ("", value)
    whole = int(value)
    days, hours, minutes, seconds = whole // 86_400, whole // 3600 % 24, whole // 60 % 60, whole % 60
    if days:
        return f"{sign}{days}d {hours}h {minutes}m {seconds}s"
    if hours:
        return f"{sign}{hours}h {minutes}m {seconds}s"
    if minutes:
        return f"{sign}{minutes}m {seconds}s"
    return f"{sign}{_four(value)}s"


def humanize_percentage(value: float) -> str:
    """Return a ratio as per cent.

    >>> humanize_percentage(0.1234567)
    '12.35%'
    """
    return f"{_four(value * 100)}%"


def humanize_timestamp(value: float) -> str:
    """Return a Unix time as date and time.

    Raises:
        ValueError: beyond what a time can be.

    >>> humanize_timestamp(1435065584.128)
    '2015-06-23 13:19:44.128 +0000 UTC'
    """
    return str(Time.of(value)) if math.isfinite(value) else _four(value)


def _four(value: float) -> str:
    return fixed(value, 4, "g")


def _large(value: float, base: int, prefixes: tuple[str, ...]) -> str:
    prefix = ""
    for bigger in prefixes:
        if abs(value) < base:
            break
        prefix = bigger
        value /= base
    return _four(value) + prefix


def _small(value: float) -> str:
    prefix = ""
    for smaller in _SMALL:
        if abs(value) >= 1:
            break
        prefix = smaller
        value *= 1000
    return _four(value) + prefix
