"""The two text formats, their content types, and which of them a client wants."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class ExpositionFormat(StrEnum):
    """Prometheus text 0.0.4, or OpenMetrics 1.0."""

    TEXT = "text"
    OPENMETRICS = "openmetrics"


class Wanted(NamedTuple):
    """What a client wants: a format, and whether it reads quoted names, which hold any UTF-8."""

    format: ExpositionFormat
    utf8_names: bool

    @property
    def content_type(self) -> str:
        """The `Content-Type` of such a document."""
        return _CONTENT_TYPE[self]


_CONTENT_TYPE = {
    (ExpositionFormat.TEXT, False): "text/plain; version=0.0.4; charset=utf-8",
    (ExpositionFormat.TEXT, True): "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
    (ExpositionFormat.OPENMETRICS, False): "application/openmetrics-text; version=1.0.0; charset=utf-8",
    (
        ExpositionFormat.OPENMETRICS,
        True,
    ): "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
}
_MEDIA_RANGES = {
    "application/openmetrics-text": ExpositionFormat.OPENMETRICS,
    "text/plain": ExpositionFormat.TEXT,
    "text/*": ExpositionFormat.TEXT,
    "*/*": ExpositionFormat.TEXT,
}
_OPENMETRICS_VERSIONS = ("", "0.0.1", "1.0.0")
_MAX_HEADER = 4096

ACCEPT_TEXT_HEADER = "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
"""What a scraper sends as `Accept` to a target whose OpenMetrics is not OpenMetrics."""
ACCEPT_HEADER = f"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,{ACCEPT_TEXT_HEADER}"
"""What a scraper that reads both formats sends as `Accept`."""


def format_of(content_type: str | None) -> ExpositionFormat:
    """Return the format of a scraped document; what is not OpenMetrics is read as text.

    Prometheus 2 does the same: many exporters send `text/html` or nothing.

    >>> format_of("application/openmetrics-text; version=1.0.0")
    <ExpositionFormat.OPENMETRICS: 'openmetrics'>
    """
    media, _, _ = (content_type or "").partition(";")
    return _MEDIA_RANGES.get(media.strip().lower(), ExpositionFormat.TEXT)


def negotiate(accept: str | None) -> Wanted:
    """Return what an `Accept` header wants most; plain text when it wants nothing we have.

    Equal weights go to OpenMetrics when it is named, as it says more. Quoted names are for those who say
    that they read them: one such name breaks the whole page for the parsers of Prometheus 2.

    Source:
        RFC 9110, 12.5.1; an unreadable weight counts as not acceptable.

    >>> negotiate("application/openmetrics-text;version=1.0.0;q=0.6,text/plain;q=0.5").format.value
    'openmetrics'
    >>> negotiate("text/plain;version=1.0.0;escaping=allow-utf-8").utf8_names
    True
    """
    best = {ExpositionFormat.TEXT: (0.0, False), ExpositionFormat.OPENMETRICS: (0.0, False)}
    for part in (accept or "")[:_MAX_HEADER].split(","):
        media, *parameters = (piece.strip().lower() for piece in part.split(";"))
        wanted = _MEDIA_RANGES.get(media)
        values = dict(p.split("=", 1) for p in parameters if "=" in p)
        version = values.get("version", "").strip('"')
        strict = wanted is ExpositionFormat.OPENMETRICS
        if wanted is None or (strict and version not in _OPENMETRICS_VERSIONS):
            continue
        utf8 = values.get("escaping", "").strip('"') == "allow-utf-8" or (
            not strict and version == "1.0.0" and "escaping" not in values
        )
        best[wanted] = max(best[wanted], (_weight(values.get("q", "1")), utf8))
    (text, text_utf8), (openmetrics, openmetrics_utf8) = best.values()
    if openmetrics > 0 and openmetrics >= text:
        return Wanted(ExpositionFormat.OPENMETRICS, openmetrics_utf8)
    return Wanted(ExpositionFormat.TEXT, text > 0 and text_utf8)


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0.0 <= weight <= 1.0 else 0.0
