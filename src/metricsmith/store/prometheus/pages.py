"""What the server tells of its series and of itself, apart from queries."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from metricsmith.model.duration import parse_duration
from metricsmith.model.labels import encode_labels
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.store.prometheus.answers import read
from metricsmith.store.prometheus.server import Told
from metricsmith.store_contracts import Cardinality

END_OF_TIME_MS = 1 << 47
MONTH_MS = 31 * 86_400_000
_DISK = (
    b"prometheus_tsdb_storage_blocks_bytes ",
    b"prometheus_tsdb_wal_storage_size_bytes ",
    b"prometheus_tsdb_head_chunks_storage_size_bytes ",
    b"vm_data_size_bytes{",
)
_RETENTION = re.compile(rb'^flag\{name="retentionPeriod", ?value="([0-9a-z]{1,20})"', re.MULTILINE)
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


def head_of(told: Told) -> tuple[int | None, int | None]:
    """Return the number of series, and the last sample's time, of `/api/v1/status/tsdb`; None untold."""
    page = page_of(told)
    head = read(lambda: dict(page.get("headStats") or {}))
    return number(head.get("numSeries", page.get("totalSeries"))), time_ms(head.get("maxTime"))


def retention_of(told: Told) -> int | None:
    """Return the retention that Prometheus tells (`15d`, `15d or 10GB`); None by size, or untold.

    Units:
        Milliseconds.
    """
    for text in str(page_of(told).get("storageRetention", "")).split(" or "):
        try:
            return parse_duration(text)
        except ValueError:
            continue
    return None


def disk_usage_of(page: bytes) -> int | None:
    """Return the bytes on disk that the server's own metrics tell; None where they do not.

    Prometheus tells of blocks, write-ahead log and mapped chunks, VictoriaMetrics of each kind of part.
    """
    lines = [line for line in page.splitlines() if line.startswith(_DISK) and b"inmemory" not in line]
    try:
        return int(sum(float(line.rpartition(b" ")[2]) for line in lines)) if lines else None
    except (ValueError, OverflowError):
        return None


def flag_retention_of(page: bytes) -> int | None:
    """Return the retention that VictoriaMetrics tells among its own metrics; without unit it is months.

    Units:
        Milliseconds.
    """
    found = _RETENTION.search(page)
    if found is None:
        return None
    text = found[1].decode(errors="replace")
    try:
        return int(text) * MONTH_MS if text.isascii() and text.isdigit() else parse_duration(text)
    except ValueError:
        return None


def cardinality_of(told: Told, limit: int) -> Cardinality | None:
    """Return what `/api/v1/status/tsdb` counts; None where the server has no such page."""
    page = page_of(told)
    return read(lambda: _cardinality(page, limit)) if page else None


def number(found: Any) -> int | None:
    """Return a count or time; None for what is none."""
    return int(found) if isinstance(found, int | float) and math.isfinite(found) else None


def time_ms(found: Any) -> int | None:
    """Return a time; None for what is none, such as the ends of all time that an empty server tells."""
    time = number(found)
    return time if time is not None and 0 < time < END_OF_TIME_MS else None


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
        first_ms=time_ms(head.get("minTime")),
        last_ms=time_ms(head.get("maxTime")),
    )
