"""Names of OTLP metrics and attributes as Prometheus has them."""

from __future__ import annotations

import re
from collections.abc import Iterable

_NOT_IN_NAME = re.compile(r"[^a-zA-Z0-9:]+")
_NOT_IN_LABEL = re.compile(r"[^a-zA-Z0-9_]")
_NOT_IN_UNIT = re.compile(r"[^a-zA-Z0-9:]+")
_UNITS = {
    "d": "days", "h": "hours", "min": "minutes", "s": "seconds", "ms": "milliseconds", "us": "microseconds",
    "ns": "nanoseconds", "By": "bytes", "KiBy": "kibibytes", "MiBy": "mebibytes", "GiBy": "gibibytes",
    "TiBy": "tibibytes", "KBy": "kilobytes", "MBy": "megabytes", "GBy": "gigabytes", "TBy": "terabytes",
    "m": "meters", "V": "volts", "A": "amperes", "J": "joules", "W": "watts", "g": "grams",
    "Cel": "celsius", "Hz": "hertz", "1": "", "%": "percent",
}  # fmt: skip
_PER = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year"}


def metric_name(name: str, unit: str, *, counter: bool = False, gauge: bool = False) -> str:
    """Return a metric's name with unit and type as suffixes; empty when nothing of the name is left.

    Source:
        OpenTelemetry's "Prometheus and OpenMetrics compatibility", in Prometheus' strategy
        UnderscoreEscapingWithSuffixes.

    >>> metric_name("http.server.duration", "s"), metric_name("hits", "{hit}/s", counter=True)
    ('http_server_duration_seconds', 'hits_per_second_total')
    """
    words = [word for word in _NOT_IN_NAME.split(name) if word]
    main, per = _unit_words(unit)
    words += [part for part in (main, per) if part and part not in words]
    if counter:
        words = [*_without(words, "total"), "total"]
    if gauge and unit == "1":
        words = [*_without(words, "ratio"), "ratio"]
    joined = "_".join(words)
    return f"_{joined}" if joined[:1].isdigit() else joined


def unit_name(unit: str) -> str:
    """Return a unit in words, as metadata has it.

    >>> unit_name("By/s"), unit_name("1")
    ('bytes_per_second', '')
    """
    return "_".join(part for part in _unit_words(unit) if part)


def label_name(name: str) -> str:
    """Return an attribute's name as a label; empty when nothing of it is left.

    >>> label_name("http.method"), label_name("1st"), label_name("_x")
    ('http_method', 'key_1st', 'key_x')
    """
    plain = _NOT_IN_LABEL.sub("_", name)
    if not plain.strip("_"):
        return ""
    if plain[0].isdigit():
        return f"key_{plain}"
    return f"key{plain}" if plain[0] == "_" and plain[:2] != "__" else plain


def _unit_words(unit: str) -> tuple[str, str]:
    # The unit and what it is per, such as ("bytes", "per_second"); what stands in braces is a remark.
    main, _, per = unit.partition("/")
    main, per = ("" if "{" in u or "}" in u else u.strip() for u in (main, per))
    per_word = _clean(_PER.get(per, per))
    return _clean(_UNITS.get(main, main)), f"per_{per_word}" if per_word else ""


def _clean(unit: str) -> str:
    return _NOT_IN_UNIT.sub("_", unit).strip("_")


def _without(words: Iterable[str], word: str) -> list[str]:
    return [w for w in words if w != word]
