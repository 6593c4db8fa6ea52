"""Whole expressions, evaluated by the server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from metricsmith.errors import LimitExceeded, QueryLimitExceeded, QueryTimeout
from metricsmith.model.progress import Progress
from metricsmith.model.query_result import Result
from metricsmith.store.prometheus.answers import Limits, instant_result, range_result
from metricsmith.store.prometheus.server import Server, Told

EXACT = [("nocache", "1"), ("stats", "1")]
"""VictoriaMetrics moves the times of a range unless told not to cache; statistics are for who pays."""


class ServerEngine:
    """`contracts.QueryEngine`: hands expressions to the server as they are."""

    def __init__(self, server: Server, limits: Limits, lookback_ms: int, timeout_s: float) -> None:
        self._server, self._limits = server, limits
        self._lookback_ms, self._timeout_s = lookback_ms, timeout_s

    def instant(
        self,
        text: str,
        time_ms: int,
        *,
        timeout_s: float | None = None,
        lookback_ms: int | None = None,
        progress: Progress | None = None,
    ) -> Result:
        """Return the server's answer at one time; see `contracts.QueryEngine`."""
        times = [("time", seconds(time_ms))]
        decode = partial(instant_result, time_ms=time_ms, limits=self._limits)
        return self._ask("query", text, times, decode, timeout_s, lookback_ms, progress)

    def range(
        self,
        text: str,
        start_ms: int,
        end_ms: int,
        step_ms: int,
        *,
        timeout_s: float | None = None,
        lookback_ms: int | None = None,
        progress: Progress | None = None,
    ) -> Result:
        """Return the server's answer at each step; see `contracts.QueryEngine`."""
        times = [("start", start_ms), ("end", end_ms), ("step", step_ms)]
        form = [(name, seconds(time_ms)) for name, time_ms in times]
        steps = np.arange(start_ms, end_ms + 1, step_ms, dtype=np.int64)
        decode = partial(range_result, steps=steps, limits=self._limits)
        return self._ask("query_range", text, form, decode, timeout_s, lookback_ms, progress)

    def _ask(
        self,
        path: str,
        text: str,
        times: list[tuple[str, str]],
        decode: Callable[[Told], Result],
        timeout_s: float | None,
        lookback_ms: int | None,
        progress: Progress | None,
    ) -> Result:
        progress = progress or Progress()
        limit_s = self._timeout_s if timeout_s is None else min(timeout_s, self._timeout_s)
        lookback_ms = self._lookback_ms if lookback_ms is None else lookback_ms
        if limit_s <= 0:
            raise QueryTimeout("query timed out before it was asked")
        form = [("query", text), *times, *EXACT]
        form += [("timeout", milliseconds(limit_s)), ("lookback_delta", f"{lookback_ms}ms")]
        progress.check()
        try:
            return self._server.ask(
                "POST",
                path,
                form,
                lambda told: _noted(decode(told), told, progress),
                timeout_s=limit_s,
                check=progress.check,
            )
        except LimitExceeded as error:
            hint = "aggregate, or use a shorter range or a larger step"
            raise QueryLimitExceeded(f"query would answer too much: {error}; {hint}", "points") from None


def seconds(time_ms: int) -> str:
    """Return a time or duration in seconds, as the API takes it.

    >>> seconds(1500), seconds(-1)
    ('1.500', '-0.001')
    """
    return f"{time_ms / 1000:.3f}"


def milliseconds(seconds: float) -> str:
    """Return a duration of at least a millisecond, as the API takes it."""
    return f"{max(1, round(seconds * 1000))}ms"


def _noted(result: Result, told: Told, progress: Progress) -> Result:
    """Take note of what the server says that the query took."""
    progress.series += len(result.keys)
    progress.samples += _count(told.data, "totalQueryableSamples")
    progress.peak_samples = max(progress.peak_samples, _count(told.data, "peakSamples"))
    return result


def _count(data: Mapping[str, Any], name: str) -> int:
    found: Any = data
    for key in ("stats", "samples", name):
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, int) else 0
