"""Units of Prometheus as OpenTelemetry writes them."""

from __future__ import annotations

_UCUM = {
    "seconds": "s", "milliseconds": "ms", "bytes": "By", "ratio": "1", "percent": "%", "celsius": "Cel",
    "meters": "m", "volts": "V", "amperes": "A", "joules": "J", "watts": "W", "grams": "g", "hertz": "Hz",
}  # fmt: skip


def ucum(name: str, unit: str) -> str:
    """Return a unit as UCUM writes it if the metric's name says it, else as a remark.

    Receivers for Prometheus put a unit behind names that do not have it, and leave remarks alone:
    so a metric keeps its name on the way.

    >>> ucum("took_seconds", "seconds"), ucum("took", "seconds"), ucum("queue_jobs", "jobs")
    ('s', '{seconds}', '{jobs}')
    """
    if not unit:
        return ""
    known = _UCUM.get(unit, "")
    return known if known and unit in name.split("_") else f"{{{unit.replace('{', '').replace('}', '')}}}"
