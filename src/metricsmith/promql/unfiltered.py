"""A condition without what filters it: the same series, whether the condition holds or not.

An alert needs this to tell a condition that no longer holds from series that have no samples any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from metricsmith.promql.ast import (
    Aggregation,
    Binary,
    Call,
    Expr,
    MatrixSelector,
    NumberLiteral,
    Paren,
    StringLiteral,
    Subquery,
    Unary,
    ValueType,
    VectorSelector,
)
from metricsmith.promql.check import COMPARISONS
from metricsmith.promql.functions import FUNCTIONS
from metricsmith.promql.walk import fold

_PICKS = frozenset({"topk", "bottomk", "limitk", "limit_ratio"})


class _Part(NamedTuple):
    """What is left of an expression; `tellable` is false where having no result may be having data."""

    expr: Expr
    filtered: bool = False
    tellable: bool = True
    scalar: bool = False


def unfiltered(expr: Expr) -> Expr | None:
    """Return an expression that has every series of a condition that has data, true or not.

    Comparisons give way to what they compare, at any depth. Label sets are those
    of the condition, metric names apart; values mean nothing. In `a and b`, `b`
    must have data only if it compares something; otherwise, as in `a unless b`,
    that it is there or not is the condition. None where nothing is compared, and
    where absence is the condition.

    >>> from metricsmith.promql.parser import parse
    >>> from metricsmith.promql.printer import format_expr
    >>> format_expr(unfiltered(parse("rate(x[5m]) == 0 and on (job) running > 0")))
    'rate(x[5m]) and on (job) running'
    >>> unfiltered(parse("absent(up == 1)")) is None
    True
    """
    whole = fold(expr, _part)
    return whole.expr if whole.filtered and whole.tellable else None


def _part(node: Expr, below: Sequence[_Part]) -> _Part:
    filtered = any(part.filtered for part in below)
    tellable = all(part.tellable for part in below)
    match node:
        case NumberLiteral() | StringLiteral():
            return _Part(node, scalar=True)
        case VectorSelector() | MatrixSelector():
            return _Part(node)
        case Subquery():
            return _Part(replace(node, expr=below[0].expr), below[0].filtered, below[0].tellable)
        case Paren() | Unary():
            return _Part(replace(node, expr=below[0].expr), filtered, tellable, below[0].scalar)
        case Aggregation():
            return _aggregation(node, below[-1])
        case Call():
            args = tuple(part.expr for part in below)
            scalar = FUNCTIONS[node.function].returns is ValueType.SCALAR
            absence = node.function in ("absent", "absent_over_time")
            return _Part(replace(node, args=args), filtered, tellable and not absence, scalar)
        case Binary():
            return _binary(node, *below)


def _aggregation(node: Aggregation, inner: _Part) -> _Part:
    if node.op in _PICKS:
        return inner  # any of the series may be picked
    tellable = inner.tellable and node.op != "count_values"
    return _Part(replace(node, expr=inner.expr), inner.filtered, tellable)


def _binary(node: Binary, lhs: _Part, rhs: _Part) -> _Part:
    filtered, tellable = lhs.filtered or rhs.filtered, lhs.tellable and rhs.tellable
    match node.op:
        case "and" if rhs.filtered and rhs.tellable:
            return _Part(replace(node, lhs=lhs.expr, rhs=rhs.expr), True, lhs.tellable)
        case "and" | "unless":
            return _Part(lhs.expr, True, lhs.tellable)
        case "or":
            both = replace(node, lhs=lhs.expr, rhs=rhs.expr)
            return _Part(both, filtered, tellable and lhs.filtered == rhs.filtered)
    if node.op not in COMPARISONS or node.return_bool:
        scalar = lhs.scalar and rhs.scalar
        return _Part(replace(node, lhs=lhs.expr, rhs=rhs.expr), filtered, tellable, scalar)
    if node.matching is None:
        vector = rhs if lhs.scalar else lhs
        return _Part(vector.expr, True, vector.tellable)
    # An addition pairs and names the series as a comparison does.
    summed = replace(node, op="+", lhs=_term(lhs.expr), rhs=_term(rhs.expr))
    return _Part(summed, True, tellable)


def _term(expr: Expr) -> Expr:
    return Paren(expr, expr.span) if isinstance(expr, Binary) else expr
