"""The limits of queries as configured, for the API's engine and that of the rules."""

from __future__ import annotations

from metricsmith.config.settings import QuerySettings
from metricsmith.promql.engine import EngineConfig


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
