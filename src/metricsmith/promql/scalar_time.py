"""Durations in ranges, steps and offsets, which may be arithmetic over literals."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from metricsmith.errors import ExecutionError
from metricsmith.promql.arithmetic import ARITHMETIC
from metricsmith.promql.ast import Binary, Call, Expr, NumberLiteral, Paren, Unary
from metricsmith.promql.values import QueryTimes
from metricsmith.promql.walk import fold

_LIMIT_MS = 2**63 // 1_000_000


def duration_ms(expr: Expr, query: QueryTimes) -> int:
    """Return the milliseconds of a duration expression in seconds.

    Raises:
        ExecutionError: it is not a number, or too large.
    """
    seconds = fold(expr, lambda node, parts: _part(node, parts, query))
    if not math.isfinite(seconds) or abs(seconds * 1000) >= _LIMIT_MS:
        raise ExecutionError(f"got a duration of {seconds} seconds, wanted one below 292 years")
    return round(seconds * 1000)


def _part(node: Expr, parts: Sequence[float], query: QueryTimes) -> float:
    match node:
        case NumberLiteral():
            return node.value
        case Paren() | Unary(op="+"):
            return parts[0]
        case Unary():
            return -parts[0]
        case Binary():
            with np.errstate(all="ignore"):
                return float(ARITHMETIC[node.op](*parts))
        case Call(function="step"):
            return query.step_ms / 1000
        case Call(function="range"):
            return (query.end_ms - query.start_ms) / 1000
        case Call(function="min_of"):
            return min(parts)
        case Call(function="max_of"):
            return max(parts)
    raise TypeError(f"{type(node).__name__} in a duration")
