"""What must hold of any bytes that somebody sends as a query: for fuzzers and property tests."""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import fields, replace
from typing import Any

from metricsmith.errors import ParseError, QueryError
from metricsmith.promql import Engine, EngineConfig, to_api
from metricsmith.promql.ast import Expr, VectorSelector
from metricsmith.promql.memory import MemorySeries
from metricsmith.promql.parser import parse
from metricsmith.promql.pretty import pretty_expr
from metricsmith.promql.printer import format_expr

MOST_SECONDS = 10.0
"""Far more than any small query takes, also on a busy machine; the engine's own limit is a second."""

TIMES_MS = (0, 600_000, -(2**53), 2**53)
RANGES_MS = ((0, 600_000, 60_000), (599_999, 600_000, 1), (0, 2**53, 2**52))


def small_series() -> MemorySeries:
    """Return a few series of every kind that functions tell apart, over ten minutes."""
    times = list(range(0, 600_001, 30_000))
    count = len(times)
    odd = [math.nan, math.inf, -math.inf, -0.0, 5e-324, 1e308, 1.0]
    series: list[tuple[dict[str, str], list[int], list[float]]] = []
    for index in range(4):
        labels = {"job": "ab"[index % 2], "i": str(index)}
        series += [
            ({"__name__": "x", **labels}, times, [float((index * k) % 5) for k in range(count)]),
            ({"__name__": "http_requests_total", **labels}, times, [float(k) for k in range(count)]),
            ({"__name__": "odd", **labels}, times, [odd[(k + index) % len(odd)] for k in range(count)]),
            ({"__name__": "a:b", **labels}, times[index::4], [1.0] * len(times[index::4])),
        ]
    for bound, height in (("0.1", 1.0), ("1", 2.0), ("+Inf", 3.0), ("wide", 1.0)):
        series.append(({"__name__": "b_bucket", "le": bound}, times, [height * k for k in range(count)]))
    series.append(({"__name__": "target_info", "job": "a", "i": "0", "zone": "é"}, times, [1.0] * count))
    return MemorySeries(series)


def in_order(tree: Any) -> Any:
    """Return a tree with the matchers of each selector sorted, as canonical text has them; recurses."""
    if isinstance(tree, tuple):
        return tuple(map(in_order, tree))
    if not isinstance(tree, Expr):
        return tree
    tree = replace(tree, **{field.name: in_order(getattr(tree, field.name)) for field in fields(tree)})
    return (
        replace(tree, matchers=tuple(sorted(tree.matchers, key=str)))
        if isinstance(tree, VectorSelector)
        else tree
    )


class QueryCheck:
    """Takes any bytes as a query, and raises AssertionError where the parser or the engine misbehaves."""

    def __init__(self) -> None:
        limits = EngineConfig(max_samples=50_000, timeout_s=1.0, max_subquery_steps=10_000)
        self._engine = Engine(small_series(), limits)

    def __call__(self, data: bytes) -> None:
        """Read a query and evaluate it; whatever is wrong with it must come as a QueryError."""
        text = data.decode("utf-8", errors="surrogateescape")
        began = time.monotonic()
        expr = self._read(text)
        if expr is not None:
            self._evaluate(text)
        seconds = time.monotonic() - began
        assert seconds < MOST_SECONDS, f"{text[:200]!r} took {seconds:.1f} s"

    def _read(self, text: str) -> Expr | None:
        try:
            expr = parse(text)
        except ParseError as error:
            assert 0 <= error.position <= len(text)
            str(error).encode()
            return None
        except QueryError:
            return None
        printed = format_expr(expr)
        again = parse(printed)
        assert format_expr(parse(pretty_expr(expr))) == printed, f"{printed!r} is another query on lines"
        # Chains of thousands of operators compare by recursion: their text is compared instead.
        assert format_expr(again) == printed, f"{printed!r} is printed as {format_expr(again)!r}"
        assert len(text) > 5000 or in_order(again) == in_order(expr), (
            f"{text!r} is printed as {printed!r}, another query"
        )
        return expr

    def _evaluate(self, text: str) -> None:
        for time_ms in TIMES_MS:
            with contextlib.suppress(QueryError):
                to_api(self._engine.instant(text, time_ms))
        for start_ms, end_ms, step_ms in RANGES_MS:
            with contextlib.suppress(QueryError):
                to_api(self._engine.range(text, start_ms, end_ms, step_ms))
