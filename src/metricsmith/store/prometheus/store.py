"""The server as a store: it answers questions, and remote write brings it samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Literal, TypeVar
from urllib.parse import quote

from metricsmith.contracts import Context
from metricsmith.errors import ExecutionError, LimitExceeded, MetricsmithError, QueryLimitExceeded
from metricsmith.model.findings import Findings
from metricsmith.model.matchers import Matcher
from metricsmith.model.metadata import Metadata
from metricsmith.model.selection import Selection
from metricsmith.net.store_client import Form
from metricsmith.store.examination import examine_store
from metricsmith.store.prometheus.answers import Limits
from metricsmith.store.prometheus.engine import ServerEngine, seconds
from metricsmith.store.prometheus.pages import (
    cardinality_of,
    disk_usage_of,
    flag_retention_of,
    head_of,
    keys_of,
    metadata_of,
    retention_of,
    texts_of,
)
from metricsmith.store.prometheus.selecting import Reader, bounded, selector
from metricsmith.store.prometheus.server import SHORT_S, Server, Told, result_type
from metricsmith.store.prometheus.settings import PrometheusConfig
from metricsmith.store_contracts import Cardinality, QueryEngine, StoreStatus

T = TypeVar("T")
TIMEOUT_S = 120.0


class PrometheusStore:
    """Reads a Prometheus-compatible server: `Delivered` and `EvaluatesQueries`, from any thread."""

    Config: ClassVar[type[PrometheusConfig]] = PrometheusConfig

    @classmethod
    async def examine(cls, config: PrometheusConfig, context: Context, findings: Findings) -> None:
        """Ask the server."""
        await examine_store(cls(config, context), findings)

    def __init__(self, config: PrometheusConfig, context: Context) -> None:
        self._config = config
        self._server = Server(config, context.telemetry)
        self._clock = context.clock

    def written_by(self) -> tuple[str, Mapping[str, Any]] | None:
        """Return remote write to the server, unless that scrapes."""
        return ("remote_write", self._config.sink()) if self._config.push else None

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
        return self._list("POST", "series", selector(matchers), start_ms, end_ms, keys_of)

    def label_names(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        """Return the sorted label names of those series."""
        return self._list("POST", "labels", _match(matchers), start_ms, end_ms, texts_of)

    def label_values(self, name: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        """Return the sorted values that a label has in those series."""
        path = f"label/{quote(name, safe='')}/values"
        return self._list("GET", path, _match(matchers), start_ms, end_ms, texts_of)

    def metadata(self) -> Mapping[str, Metadata]:
        """Return what is known of each metric family; of several texts the first."""
        return self._ask("GET", "metadata", [], metadata_of)

    def status(self) -> StoreStatus:
        """Return what the server tells of itself; where it is away, why."""
        detail, retention_ms, page = "", None, b""
        series, last_ms = None, None
        try:
            self._server.ask("POST", "query", [("query", "1")], result_type, timeout_s=SHORT_S)
            series, last_ms = self._page("status/tsdb", head_of)
            retention_ms = self._page("status/runtimeinfo", retention_of)
            page = self._server.own_metrics()
        except MetricsmithError as error:
            detail = str(error)
        return StoreStatus(
            type="prometheus",
            status="error" if detail else "connected",
            database=self._server.address,
            retention_ms=flag_retention_of(page) if retention_ms is None else retention_ms,
            disk_usage_bytes=disk_usage_of(page),
            series=series,
            blocks=None,
            head_samples=None,
            last_sample_ms=last_ms,
            detail=detail,
        )

    def cardinality(self, limit: int) -> Cardinality:
        """Return what the server tells makes many series.

        Raises:
            ExecutionError: it does not tell.
        """
        form = [("limit", str(limit)), ("topN", str(limit))]
        found = self._page("status/tsdb", partial(cardinality_of, limit=limit), form)
        if found is None:
            raise ExecutionError("the server that keeps the samples does not tell where its series come from")
        return found

    def close(self) -> None:
        """Close the connections; queries that run end."""
        self._server.close()

    def _list(
        self,
        method: Literal["GET", "POST"],
        path: str,
        match: str,
        start_ms: int,
        end_ms: int,
        decode: Callable[[Told], list[T]],
    ) -> list[T]:
        start_ms, end_ms = bounded(start_ms, end_ms, self._clock)
        if start_ms > end_ms:
            return []
        form = [("start", seconds(start_ms)), ("end", seconds(end_ms))]
        return self._ask(method, path, [*form, *([("match[]", match)] if match else [])], decode)

    def _ask(self, method: Literal["GET", "POST"], path: str, form: Form, decode: Callable[[Told], T]) -> T:
        try:
            return self._server.ask(method, path, form, decode, timeout_s=TIMEOUT_S)
        except LimitExceeded as error:
            raise QueryLimitExceeded(f"{error}; use a narrower selector", "series") from None

    def _page(self, path: str, decode: Callable[[Told], T], form: Form = ()) -> T:
        return self._server.ask("GET", path, form, decode, timeout_s=SHORT_S, may_lack=True)


def _match(matchers: Sequence[Matcher]) -> str:
    return selector(matchers) if matchers else ""
