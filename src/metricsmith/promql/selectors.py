"""Vector selectors and what may follow an operand: range, subquery, `offset` and `@`."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, cast, get_args

from metricsmith.promql.ast import (
    At,
    Expr,
    Extension,
    MatrixSelector,
    Span,
    Subquery,
    ValueType,
    VectorSelector,
)
from metricsmith.promql.check import Checker, Typed
from metricsmith.promql.durations import number_literal, offset_duration, positive_duration
from metricsmith.syntax.selector import read_selector
from metricsmith.syntax.tokens import Tokens

_MAX_TIMESTAMP_MS = 2**63
_MAX_TIMESTAMP_S = _MAX_TIMESTAMP_MS // 1000
_EXTENSIONS = get_args(Extension)


def selector(tokens: Tokens, *, may_match_all: bool = False) -> VectorSelector:
    """Return the selector that must stand here, without modifiers."""
    found = read_selector(tokens)
    found.refuse_accidents(tokens.text, may_match_all=may_match_all)
    return VectorSelector(found.name, found.matchers, Span(found.start, found.end))


def modified(tokens: Tokens, checker: Checker, operand: Typed) -> Typed:
    """Return an operand with the ranges, subqueries and modifiers that follow it."""
    while True:
        if tokens.current.kind == "[":
            operand = _ranged(tokens, checker, operand)
        elif tokens.accept("offset"):
            operand = Typed(_shifted(tokens, checker, operand.expr), operand.type)
        elif tokens.accept("@"):
            operand = Typed(_pinned(tokens, checker, operand.expr), operand.type)
        elif tokens.word() in _EXTENSIONS:
            operand = Typed(_extended(tokens, checker, operand.expr), operand.type)
        else:
            return operand


def _ranged(tokens: Tokens, checker: Checker, operand: Typed) -> Typed:
    bracket = tokens.advance().start
    range_ = positive_duration(tokens, "subquery or range selector")
    start = operand.expr.span.start
    if tokens.accept("]"):
        vector = checker.range_of(operand.expr, bracket)
        return Typed(MatrixSelector(vector, range_, Span(start, tokens.last_end)), ValueType.RANGE)
    tokens.expect(":", "subquery or range", '":" or "]"')
    step = None if tokens.current.kind == "]" else positive_duration(tokens, "subquery selector")
    tokens.expect("]", "subquery selector", '"]"')
    checker.subquery_of(operand)
    return Typed(Subquery(operand.expr, range_, step, Span(start, tokens.last_end)), ValueType.RANGE)


def _shifted(tokens: Tokens, checker: Checker, expr: Expr) -> Expr:
    node = checker.modified(expr, "offset")
    vector = node.selector if isinstance(node, MatrixSelector) else node
    if vector.offset is not None:
        checker.fail("offset may not be set multiple times", node.span.start)
    offset = offset_duration(tokens)
    shifted = replace(vector, offset=offset, span=Span(node.span.start, tokens.last_end))
    return _rewrapped(node, shifted)


def _pinned(tokens: Tokens, checker: Checker, expr: Expr) -> Expr:
    node = checker.modified(expr, "@")
    vector = node.selector if isinstance(node, MatrixSelector) else node
    if vector.at is not None:
        checker.fail("@ <timestamp> may not be set multiple times", node.span.start)
    pinned = replace(vector, at=_timestamp(tokens), span=Span(node.span.start, tokens.last_end))
    return _rewrapped(node, pinned)


def _extended(tokens: Tokens, checker: Checker, expr: Expr) -> Expr:
    word = tokens.advance()
    extension = cast(Extension, word.text.lower())
    node = checker.extended(expr, extension, word.start)
    vector = node.selector if isinstance(node, MatrixSelector) else node
    extended = replace(vector, extension=extension, span=Span(node.span.start, tokens.last_end))
    return _rewrapped(node, extended)


def _rewrapped(node: VectorSelector | MatrixSelector | Subquery, vector: VectorSelector | Subquery) -> Expr:
    if isinstance(node, MatrixSelector) and isinstance(vector, VectorSelector):
        return replace(node, selector=vector, span=vector.span)
    return vector


def _timestamp(tokens: Tokens) -> At:
    word = tokens.word()
    if word in ("start", "end"):
        tokens.advance()
        tokens.expect("(", "@", '"("')
        tokens.expect(")", "@", '")"')
        return At(None, cast(Literal["start", "end"], word))
    position = tokens.current.start
    sign = -1.0 if tokens.current.kind == "-" else 1.0
    if tokens.current.kind in ("+", "-"):
        tokens.advance()
    number = number_literal(tokens)
    if number is None:
        tokens.unexpected("@", "timestamp, start() or end()", ("start", "end"))
    time_ms = sign * number.value * 1000
    if not -_MAX_TIMESTAMP_MS < time_ms < _MAX_TIMESTAMP_MS:
        what = f"timestamp out of bounds for @ modifier: {sign * number.value:f}"
        tokens.fail(f"{what}, wanted -{_MAX_TIMESTAMP_S} to {_MAX_TIMESTAMP_S} seconds", position)
    return At(round(time_ms))
