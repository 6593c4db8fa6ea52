"""The server as a store: what `contracts.Store` asks of the data, so far without writing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal
from urllib.parse import quote

from pydantic import BaseModel

from metricsmith.contracts import Cardinality, Context, QueryEngine, StoreStatus
from metricsmith.errors import (
    ExecutionError,
    LimitExceeded,
    MetricsmithError,
    QueryLimitExceeded,
)
from metricsmith.model.duration import parse_duration
from metricsmith.model.labels import encode_labels
from metricsmith.model.matchers import Matcher
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.model.selection import Selection
from metricsmith.net.store_client import Form
from metricsmith.store.prometheus.answers import Limits, read
from metricsmith.store.prometheus.engine import ServerEngine, seconds
from metricsmith.store.prometheus.selecting import Reader, bounded, selector
from metricsmith.store.prometheus.server import SHORT_S, Server, malformed
from metricsmith.store.prometheus.settings import PrometheusConfig

TIMEOUT_S = 120.0
_TYPES = {kind.value: kind for kind in MetricType}


class PrometheusStore:
    """Reads a Prometheus-compatible server: `Queryable` and `EvaluatesQueries`, from any thread."""

    Config: ClassVar[type[BaseModel]] = PrometheusConfig

    def __init__(self, config: PrometheusConfig, context: Context) -> None:
        self._server = Server(config, context.telemetry)
        self._clock = context.clock

    def query_engine(
        self, *, lookback_ms: int, timeout_s: float, max_series: int, max_points: int
    ) -> QueryEngine:
        """Return what hands whole expressions to the server."""
        return ServerEngine(self._server, Limits(max_series, max_points), lookback_ms, timeout_s)

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, limit: int | None = None
    ) -> Selection:
        """Return all samples of the matching series in the closed range [start_ms, end_ms]."""
        return Reader(self._server, limit, self._clock, TIMEOUT_S).select(matchers, start_ms, end_ms)

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[bytes]:
        """Return the sorted keys of matching series that may have samples in the range."""
        found = self._list("POST", "series", selector(matchers), start_ms, end_ms)
        return sorted(read(lambda: {encode_labels(labels) for labels in found}))

    def label_names(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        """Return the sorted label names of those series."""
        return _texts(self._list("POST", "labels", _match(matchers), start_ms, end_ms))

    def label_values(self, name: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        """Return the sorted values that a label has in those series."""
        path = f"label/{quote(name, safe='')}/values"
        return _texts(self._list("GET", path, _match(matchers), start_ms, end_ms))

    def metadata(self) -> Mapping[str, Metadata]:
        """Return what is known of each metric family; of several texts the first."""
        found = self._data("GET", "metadata", []) or {}
        return read(lambda: {name: _metadata(entries[0]) for name, entries in found.items() if entries})

    def status(self) -> StoreStatus:
        """Return what the server tells of itself; where it is away, why."""
        detail, connected, retention_ms = "", True, 0
        head: Any = {}
        try:
            self._server.ask("POST", "query", [("query", "1")], timeout_s=SHORT_S)
            head = self._told("status/tsdb").get("headStats") or {}
            retention_ms = _retention_ms(self._told("status/runtimeinfo"))
        except MetricsmithError as error:
            detail, connected = str(error), False
        return StoreStatus(
            type="prometheus",
            status="connected" if connected else "error",
            database=self._server.address,
            retention_ms=retention_ms,
            disk_usage_bytes=0,
            series=_number(head.get("numSeries")) or 0,
            blocks=0,
            head_samples=0,
            last_sample_ms=_number(head.get("maxTime")),
            detail=detail,
        )

    def cardinality(self, limit: int) -> Cardinality:
        """Return what the server tells makes many series.

        Raises:
            ExecutionError: it does not tell.
        """
        told = self._told("status/tsdb", [("limit", str(limit)), ("topN", str(limit))])
        if not told:
            raise ExecutionError("the server that keeps the samples does not tell where its series come from")
        return read(lambda: _cardinality(told, limit))

    def close(self) -> None:
        """Close the connections; queries that run end."""
        self._server.close()

    def _list(
        self, method: Literal["GET", "POST"], path: str, match: str, start_ms: int, end_ms: int
    ) -> list[Any]:
        start_ms, end_ms = bounded(start_ms, end_ms, self._clock)
        if start_ms > end_ms:
            return []
        form = [("start", seconds(start_ms)), ("end", seconds(end_ms))]
        found = self._data(method, path, [*form, *([("match[]", match)] if match else [])])
        if not isinstance(found, list):
            raise malformed(f"data of {path.partition('/')[0]} is no list")
        return found

    def _data(self, method: Literal["GET", "POST"], path: str, form: Form) -> Any:
        try:
            return self._server.ask(method, path, form, timeout_s=TIMEOUT_S).data or []
        except LimitExceeded as error:
            raise QueryLimitExceeded(f"{error}; use a narrower selector", "series") from None

    def _told(self, path: str, form: Form = ()) -> dict[str, Any]:
        """Return what a page of the server's status holds; nothing where it has no such page."""
        try:
            found = self._server.ask("GET", path, form, timeout_s=SHORT_S, may_lack=True).data
        except LimitExceeded:
            return {}
        return found if isinstance(found, dict) else {}


def _match(matchers: Sequence[Matcher]) -> str:
    return selector(matchers) if matchers else ""


def _texts(found: list[Any]) -> list[str]:
    return sorted(text for text in found if isinstance(text, str))


def _metadata(entry: Any) -> Metadata:
    kind = _TYPES.get(entry.get("type", ""), MetricType.UNKNOWN)
    return Metadata(kind, str(entry.get("unit", "")), str(entry.get("help", "")))


def _retention_ms(runtime: Mapping[str, Any]) -> int:
    """Return the retention that Prometheus tells (`15d`, `15d or 10GB`); 0 when it is by size, or untold."""
    for text in str(runtime.get("storageRetention", "")).split(" or "):
        try:
            return parse_duration(text)
        except ValueError:
            continue
    return 0


def _number(found: Any) -> int | None:
    return int(found) if isinstance(found, int | float) and math.isfinite(found) else None


def _cardinality(told: Mapping[str, Any], limit: int) -> Cardinality:
    def counts(name: str) -> list[tuple[str, int]]:
        return [(str(entry["name"]), int(entry["value"])) for entry in told.get(name) or []][:limit]

    head = told.get("headStats") or {}
    series = head.get("numSeries", told.get("totalSeries", 0))
    return Cardinality(
        series=int(series),
        label_pairs=int(head.get("numLabelPairs", told.get("totalLabelValuePairs", 0))),
        series_by_metric=counts("seriesCountByMetricName"),
        values_by_label=counts("labelValueCountByLabelName"),
        bytes_by_label=counts("memoryInBytesByLabelName"),
        series_by_pair=counts("seriesCountByLabelValuePair"),
        first_ms=_number(head.get("minTime")),
        last_ms=_number(head.get("maxTime")),
    )
