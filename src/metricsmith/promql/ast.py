"""The expression tree of PromQL. Every node knows where it stands in the text.

Spans do not take part in comparison and hashing, so the same expression written twice is equal.

Durations (range, step, offset) are scalar expressions in seconds: nearly always a `NumberLiteral`; in
duration expressions also `Paren`, `Unary`, `Binary` with arithmetic operators, and `Call` of `step`,
`range`, `min_of` and `max_of`.

Left-associative chains lean left without bound (a sum of 5,000 terms is 5,000 `Binary` nodes deep in
`lhs`); everything else nests at most `tokens.MAX_DEPTH` deep. Use `walk` instead of recursion over `lhs`.
`==`, `hash` and `repr` do recurse: not for whole queries of strangers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, TypeAlias

from metricsmith.model.matchers import Matcher


class ValueType(StrEnum):
    """Static type of an expression, named as Prometheus names them in errors."""

    SCALAR = "scalar"
    STRING = "string"
    INSTANT = "instant vector"
    RANGE = "range vector"


@dataclass(frozen=True, slots=True)
class Span:
    """Half-open character range in the query text."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class NumberLiteral:
    """A number or a duration literal (then `value` is in seconds): the same, but for how they are printed."""

    value: float
    span: Span = field(compare=False)
    is_duration: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class StringLiteral:
    """A quoted string, escapes processed."""

    value: str
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class At:
    """The `@` modifier: a fixed time, or the start or end of the query."""

    time_ms: int | None
    anchor: Literal["start", "end"] | None = None


Extension: TypeAlias = Literal["anchored", "smoothed"]
"""Modifiers that let a selector see samples outside of its range, for the values at its ends."""


@dataclass(frozen=True, slots=True)
class VectorSelector:
    """`name{matchers} offset d @ t`; the name is a matcher on `__name__` too."""

    name: str
    matchers: tuple[Matcher, ...]
    span: Span = field(compare=False)
    offset: Expr | None = None  # scalar expression in seconds
    at: At | None = None
    extension: Extension | None = None


@dataclass(frozen=True, slots=True)
class MatrixSelector:
    """`selector[range]`; offset, `@` and `anchored` or `smoothed` stand on the inner selector."""

    selector: VectorSelector
    range: Expr  # scalar expression in seconds
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Subquery:
    """`expr[range:step] offset d @ t`; step None is the default step."""

    expr: Expr
    range: Expr
    step: Expr | None
    span: Span = field(compare=False)
    offset: Expr | None = None
    at: At | None = None


@dataclass(frozen=True, slots=True)
class Paren:
    """`(expr)`; kept so that printing gives the text's structure back."""

    expr: Expr
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Unary:
    """`-expr` or `+expr`."""

    op: Literal["+", "-"]
    expr: Expr
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Matching:
    """How a binary operator pairs series: `on/ignoring (labels)`, `group_left/right (include)`.

    A series without partner gets one with the value `fill_left` (`fill_right`)
    where that one is missing on the left (right).
    """

    card: Literal["one-to-one", "many-to-one", "one-to-many", "many-to-many"]
    on: bool
    labels: tuple[str, ...]
    include: tuple[str, ...] = ()
    fill_left: float | None = None
    fill_right: float | None = None


@dataclass(frozen=True, slots=True)
class Binary:
    """`lhs op rhs`; `matching` is None unless both sides are instant vectors."""

    op: str  # + - * / % ^ atan2 == != > < >= <= and or unless
    lhs: Expr
    rhs: Expr
    span: Span = field(compare=False)
    return_bool: bool = False
    matching: Matching | None = None


@dataclass(frozen=True, slots=True)
class Aggregation:
    """`op by|without (grouping) (param, expr)`."""

    op: str
    expr: Expr
    span: Span = field(compare=False)
    param: Expr | None = None
    grouping: tuple[str, ...] = ()
    without: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """`function(args)`."""

    function: str
    args: tuple[Expr, ...]
    span: Span = field(compare=False)


Expr: TypeAlias = (
    NumberLiteral
    | StringLiteral
    | VectorSelector
    | MatrixSelector
    | Subquery
    | Paren
    | Unary
    | Binary
    | Aggregation
    | Call
)
