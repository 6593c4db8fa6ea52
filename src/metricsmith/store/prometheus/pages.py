"""What the server tells of its series and of itself, apart from queries."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from metricsmith.contracts import Cardinality
from metricsmith.model.duration import parse_duration
from metricsmith.model.labels import encode_labels
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.store.prometheus.answers import read
from metricsmith.store.prometheus.server import Told

_TYPES = {kind.value: kind for kind in MetricType}


def keys_of(told: Told) -> list[bytes]:
    """Return the sorted keys of `/api/v1/series`."""
    return read(lambda: sorted({encode_labels(labels) for labels in told.data or []}))


def texts_of(told: Told) -> list[str]:
    """Return the sorted names or values of `/api/v1/labels` and `/api/v1/label/…/values`."""
    return read(lambda: sorted(str(text) for text in told.data or []))


def metadata_of(told: Told) -> dict[str, Metadata]:
    """Return what `/api/v1/metadata` knows of each metric family; of several texts the first."""
    found = told.data or {}
    return read(lambda: {name: _metadata(entries[0]) for name, entries in found.items() if entries})


def page_of(told: Told) -> dict[str, Any]:
    """Return the data of a page of the server's status."""
    return read(lambda: dict(told.data or {}))


def head_of(told: Told) -> tuple[int, int | None]:
    """Return the number of series, and the last sample's time, of `/api/v1/status/tsdb`."""
    head = read(lambda: dict(page_of(told).get("headStats") or {}))
    return number(head.get("numSeries")) or 0, number(head.get("maxTime"))


def retention_of(told: Told) -> int:
    """Return the retention that Prometheus tells (`15d`, `15d or 10GB`); 0 when it is by size, or untold.

    Units:
        Milliseconds.
    """
    for text in str(page_of(told).get("storageRetention", "")).split(" or "):
        try:
            return parse_duration(text)
        except ValueError:
            continue
    return 0


def cardinality_of(told: Told, limit: int) -> Cardinality | None:
    """Return what `/api/v1/status/tsdb` counts; None where the server has no such page."""
    page = page_of(told)
    return read(lambda: _cardinality(page, limit)) if page else None


def number(found: Any) -> int | None:
    """Return a count or time; None for what is none."""
    return int(found) if isinstance(found, int | float) and math.isfinite(found) else None


def _metadata(entry: Any) -> Metadata:
    kind = _TYPES.get(entry.get("type", ""), MetricType.UNKNOWN)
    return Metadata(kind, str(entry.get("unit", "")), str(entry.get("help", "")))


def _cardinality(page: Mapping[str, Any], limit: int) -> Cardinality:
    def counts(name: str) -> list[tuple[str, int]]:
        return [(str(entry["name"]), int(entry["value"])) for entry in page.get(name) or []][:limit]

    head = page.get("headStats") or {}
    return Cardinality(
        series=int(head.get("numSeries", page.get("totalSeries", 0))),
        label_pairs=int(head.get("numLabelPairs", page.get("totalLabelValuePairs", 0))),
        series_by_metric=counts("seriesCountByMetricName"),
        values_by_label=counts("labelValueCountByLabelName"),
        bytes_by_label=counts("memoryInBytesByLabelName"),
        series_by_pair=counts("seriesCountByLabelValuePair"),
        first_ms=number(head.get("minTime")),
        last_ms=number(head.get("maxTime")),
    )
