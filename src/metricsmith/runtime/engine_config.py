"""How queries are evaluated as configured, for the API and for the rules."""

from __future__ import annotations

from metricsmith.config.settings import QuerySettings
from metricsmith.promql.engine import EngineConfig
from metricsmith.store_contracts import EvaluatesQueries, QueryEngine, Selectable


def engine_config(query: QuerySettings) -> EngineConfig:
    """Return how queries are evaluated, and what one may use."""
    return EngineConfig(
        lookback_ms=query.lookback,
        timeout_s=query.timeout / 1000,
        max_samples=query.max_samples,
        max_series=query.max_series,
        max_points=query.max_points,
        closed_windows=query.closed_windows,
        experimental=query.experimental,
    )


def evaluating_server(store: Selectable | None, config: EngineConfig) -> QueryEngine | None:
    """Return what evaluates whole expressions in place of our engine: the server that is the store."""
    if not isinstance(store, EvaluatesQueries):
        return None
    return store.query_engine(
        lookback_ms=config.lookback_ms,
        timeout_s=config.timeout_s,
        max_series=config.max_series,
        max_points=config.max_points,
    )
