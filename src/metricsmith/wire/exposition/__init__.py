"""Prometheus text 0.0.4 and OpenMetrics 1.0: a columnar parser, and the writer for `/metrics`."""

from metricsmith.wire.exposition.formats import (
    ACCEPT_HEADER,
    ACCEPT_TEXT_HEADER,
    ExpositionFormat,
    Wanted,
    format_of,
    negotiate,
)
from metricsmith.wire.exposition.parser import ExpositionParser, ParsedDocument, parse_openmetrics
from metricsmith.wire.exposition.series_text import SeriesLimits
from metricsmith.wire.exposition.structure import Structure
from metricsmith.wire.exposition.writer import write_exposition

__all__ = [
    "ACCEPT_HEADER",
    "ACCEPT_TEXT_HEADER",
    "ExpositionFormat",
    "ExpositionParser",
    "ParsedDocument",
    "SeriesLimits",
    "Structure",
    "Wanted",
    "format_of",
    "negotiate",
    "parse_openmetrics",
    "write_exposition",
]
