"""The two text formats, their content types, and which of them a client wants."""

from __future__ import annotations

from enum import StrEnum


class ExpositionFormat(StrEnum):
    """Prometheus text 0.0.4, or OpenMetrics 1.0."""

    TEXT = "text"
    OPENMETRICS = "openmetrics"

    @property
    def content_type(self) -> str:
        """The `Content-Type` of a document in this format."""
        return _CONTENT_TYPE[self]


_CONTENT_TYPE = {
    ExpositionFormat.TEXT: "text/plain; version=0.0.4; charset=utf-8",
    ExpositionFormat.OPENMETRICS: "application/openmetrics-text; version=1.0.0; charset=utf-8",
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
ACCEPT_HEADER = f"application/openmetrics-text;version=1.0.0;q=0.6,{ACCEPT_TEXT_HEADER}"
"""What a scraper that reads both formats sends as `Accept`."""


def format_of(content_type: str | None) -> ExpositionFormat:
    """Return the format of a scraped document; what is not OpenMetrics is read as text.

    Prometheus 2 does the same: many exporters send `text/html` or nothing.

    >>> format_of("application/openmetrics-text; version=1.0.0")
    <ExpositionFormat.OPENMETRICS: 'openmetrics'>
    """
    media, _, _ = (content_type or "").partition(";")
    return _MEDIA_RANGES.get(media.strip().lower(), ExpositionFormat.TEXT)


def negotiate(accept: str | None) -> ExpositionFormat:
    """Return the format that an `Accept` header wants most; text when it wants neither.

    Equal weights go to OpenMetrics when it is named, as it says more.

    Source:
        RFC 9110, 12.5.1; an unreadable weight counts as not acceptable.

    >>> negotiate("application/openmetrics-text;version=1.0.0;q=0.6,text/plain;q=0.5").value
    'openmetrics'
    """
    best = {ExpositionFormat.TEXT: 0.0, ExpositionFormat.OPENMETRICS: 0.0}
    for part in (accept or "")[:_MAX_HEADER].split(","):
        media, *parameters = (piece.strip().lower() for piece in part.split(";"))
        wanted = _MEDIA_RANGES.get(media)
        values = dict(p.split("=", 1) for p in parameters if "=" in p)
        if wanted is None or (
            wanted is ExpositionFormat.OPENMETRICS
            and values.get("version", "").strip('"') not in _OPENMETRICS_VERSIONS
        ):
            continue
        best[wanted] = max(best[wanted], _weight(values.get("q", "1")))
    openmetrics = best[ExpositionFormat.OPENMETRICS]
    if openmetrics > 0 and openmetrics >= best[ExpositionFormat.TEXT]:
        return ExpositionFormat.OPENMETRICS
    return ExpositionFormat.TEXT


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0.0 <= weight <= 1.0 else 0.0
