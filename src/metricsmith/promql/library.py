"""PromQL as a function, for notebooks and scripts: no server, no files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from metricsmith.errors import ExecutionError
from metricsmith.model.query_result import Result
from metricsmith.promql.engine import Engine, EngineConfig
from metricsmith.promql.memory import MemorySeries
from metricsmith.promql.result import to_api
from metricsmith.promql.series_input import Series
from metricsmith.promql.values import MAX_TIME_MS

if TYPE_CHECKING:
    import pyarrow as pa

_TIMES = ("time", "start", "end", "step")


def evaluate(
    expr: str,
    series: Iterable[Series],
    *,
    time: int | None = None,
    start: int | None = None,
    end: int | None = None,
    step: int | None = None,
    lookback: int | None = None,
    left_open: bool | None = None,
    limits: EngineConfig | None = None,
) -> dict[str, Any]:
    """Return the `data` object of Prometheus' HTTP API for a query over series at hand.

    Either `time` is given, or `start`, `end` and `step`. Samples may come in any
    order; of two at one time the last counts. `limits` bounds samples, series, steps
    and time; `lookback`, five minutes, and `left_open`, true, stand in it too, and
    win where given. `left_open=False` includes the start of windows, as Prometheus 2 did.

    Units:
        Milliseconds for all times, of samples too; the answer has seconds, as the API.
    Raises:
        QueryError: the query is refused.
        TypeError, ValueError: a series is malformed.

    >>> shop = [({"__name__": "up", "job": "shop"}, [0, 15_000, 30_000], [1, 0, 1])]
    >>> evaluate("up == 0", shop, time=20_000)["result"]
    [{'metric': {'__name__': 'up', 'job': 'shop'}, 'value': [20, '0']}]
    >>> evaluate("sum(up)", shop, start=0, end=30_000, step=15_000)["result"]
    [{'metric': {}, 'values': [[0, '1'], [15, '0'], [30, '1']]}]
    """
    return to_api(_ask(expr, series, (time, start, end, step), _config(limits, lookback, left_open)))


def evaluate_table(
    expr: str,
    series: Iterable[Series],
    *,
    time: int | None = None,
    start: int | None = None,
    end: int | None = None,
    step: int | None = None,
    lookback: int | None = None,
    left_open: bool | None = None,
    limits: EngineConfig | None = None,
) -> pa.Table:
    """Return the answer as an Arrow table, a row for each sample; arguments are those of `evaluate`.

    Columns: each label as a dictionary column, null where a series has none,
    then `time_ms` and `value`. Labels of these two names become `exported_time_ms`
    and `exported_value`. The schema's metadata has `warnings` and `infos`, one a
    line, where there are any.

    Raises:
        QueryError: the query is refused, or answers a string.
        TypeError, ValueError: a series is malformed.

    >>> shop = [({"__name__": "up", "job": "shop"}, [0, 15_000], [1, 0])]
    >>> evaluate_table("up", shop, start=0, end=15_000, step=15_000).to_pylist()[1]
    {'__name__': 'up', 'job': 'shop', 'time_ms': 15000, 'value': 0.0}
    """
    from metricsmith.promql.table import to_table

    return to_table(_ask(expr, series, (time, start, end, step), _config(limits, lookback, left_open)))


def _config(limits: EngineConfig | None, lookback: int | None, left_open: bool | None) -> EngineConfig:
    if not isinstance(limits, EngineConfig | None):
        raise ExecutionError(f"got limits of type {type(limits).__name__}, wanted an EngineConfig")
    config = limits or EngineConfig()
    if left_open is not None:
        config = replace(config, closed_windows=not left_open)
    if lookback is None:
        return config
    lookback_ms = _whole("lookback", lookback)
    if not 0 < lookback_ms <= MAX_TIME_MS:
        raise ExecutionError(f"got lookback {lookback_ms} ms, wanted 1 to 2^53")
    return replace(config, lookback_ms=lookback_ms)


def _ask(expr: str, series: Iterable[Series], times: tuple[int | None, ...], config: EngineConfig) -> Result:
    if not isinstance(expr, str):
        raise ExecutionError(f"got an expression of type {type(expr).__name__}, wanted text")
    given = {name: _whole(name, t) for name, t in zip(_TIMES, times, strict=True) if t is not None}
    if given.keys() not in ({"time"}, {"start", "end", "step"}):
        got = ", ".join(given) or "no time"
        raise ExecutionError(f"got {got}, wanted either time, or start, end and step")
    engine = Engine(MemorySeries(series), config)
    if "time" in given:
        return engine.instant(expr, given["time"])
    return engine.range(expr, given["start"], given["end"], given["step"])


def _whole(name: str, given: Any) -> int:
    if isinstance(given, bool) or not isinstance(given, int | np.integer):
        raise ExecutionError(f"{name}: got {given!r}, wanted whole milliseconds; use int(…)")
    return int(given)
