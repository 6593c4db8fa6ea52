"""PromQL as a function: no server, no files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from metricsmith.promql.engine import Engine, EngineConfig
from metricsmith.promql.memory import MemorySeries, Series
from metricsmith.promql.result import to_api


def evaluate(
    series: Iterable[Series],
    expr: str,
    start_ms: int,
    end_ms: int,
    step_ms: int = 0,
    config: EngineConfig | None = None,
) -> dict[str, Any]:
    """Return the `data` object of the HTTP API for a query over series in memory; step 0 asks at the start.

    Raises:
        QueryError: the query is refused.

    >>> evaluate([({"__name__": "up", "job": "shop"}, [(0, 1.0)])], "up + 1", 1000, 1000)
    {'resultType': 'vector', 'result': [{'metric': {'job': 'shop'}, 'value': [1, '2']}]}
    """
    engine = Engine(MemorySeries(series), config)
    if step_ms:
        return to_api(engine.range(expr, start_ms, end_ms, step_ms))
    return to_api(engine.instant(expr, start_ms))
