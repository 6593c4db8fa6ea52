"""Durations in ranges, steps and offsets: literals, or arithmetic over them, `step()` and `range()`."""

from __future__ import annotations

import math

from metricsmith.promql.ast import Binary, Call, Expr, NumberLiteral, Paren, Span, Unary
from metricsmith.syntax.tokens import Tokens

_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "%": 2, "^": 3}
_SIGN_PRECEDENCE = 2
_QUERY_TIMES = ("step", "range")
# The two-argument functions were named `min` and `max` before Prometheus 3.13.
_CHOICES = {"min": "min_of", "max": "max_of", "min_of": "min_of", "max_of": "max_of"}
_MAX_SECONDS = 2**63 / 1e9


def positive_duration(tokens: Tokens, context: str) -> Expr:
    """Return the duration expression that must stand here; a literal must be above zero."""
    expr = _arithmetic(tokens, 0, context)
    if isinstance(expr, NumberLiteral) and not expr.value > 0:
        tokens.fail(f"duration must be greater than 0, got {expr.value:g} seconds", expr.span.start)
    return expr


def offset_duration(tokens: Tokens) -> Expr:
    """Return the offset that must stand here.

    Arithmetic needs parentheses: `x offset 1m + 1` adds 1 to the shifted `x`.
    """
    return _signed(tokens, "offset", power=False)


def negated(number: NumberLiteral, start: int) -> NumberLiteral:
    """Return the literal with its sign turned, from the position of the sign on."""
    # Literals hold the one NaN object, so that equal trees compare equal.
    value = number.value if math.isnan(number.value) else -number.value
    return NumberLiteral(value, Span(start, number.span.end), number.is_duration)


def number_literal(tokens: Tokens) -> NumberLiteral | None:
    """Return a number or duration literal and go on, if the current token is one."""
    found = tokens.number()
    return found and NumberLiteral(found.value, Span(found.start, found.end), found.is_duration)


def _arithmetic(tokens: Tokens, lowest: int, context: str) -> Expr:
    tokens.deepen(tokens.current.start)
    left = _signed(tokens, context, power=True)
    while (precedence := _PRECEDENCE.get(tokens.current.kind, 0)) > lowest:
        operator = tokens.advance()
        right = _arithmetic(tokens, precedence - (operator.kind == "^"), context)
        if operator.kind in "/%" and isinstance(right, NumberLiteral) and right.value == 0:
            tokens.fail("division by zero" if operator.kind == "/" else "modulo by zero", operator.start)
        left = Binary(operator.kind, left, right, Span(left.span.start, right.span.end))
    tokens.rise()
    return left


def _signed(tokens: Tokens, context: str, *, power: bool) -> Expr:
    if tokens.current.kind not in ("+", "-"):
        return _atom(tokens, context)
    sign = tokens.advance()
    tokens.deepen(sign.start)
    expr = _arithmetic(tokens, _SIGN_PRECEDENCE, context) if power else _signed(tokens, context, power=False)
    tokens.rise()
    if sign.kind == "+":
        return expr
    if isinstance(expr, NumberLiteral):
        return negated(expr, sign.start)
    return Unary("-", expr, Span(sign.start, expr.span.end))


def _atom(tokens: Tokens, context: str) -> Expr:
    start, word = tokens.current.start, tokens.word()
    number = number_literal(tokens)
    if number is not None:
        if not abs(number.value) <= _MAX_SECONDS:
            what = f"duration out of range, got {number.value:g} seconds"
            tokens.fail(f"{what}, wanted at most 292 years", start)
        return number
    if tokens.accept("("):
        expr = _arithmetic(tokens, 0, context)
        tokens.expect(")", "duration expression", '")"')
        return Paren(expr, Span(start, tokens.last_end))
    if word not in _QUERY_TIMES and word not in _CHOICES:
        tokens.unexpected(context, "number, duration, step(), or range()", (*_QUERY_TIMES, *_CHOICES))
    tokens.advance()
    tokens.expect("(", "duration expression", '"("')
    args = _choice_args(tokens, context) if word in _CHOICES else ()
    tokens.expect(")", "duration expression", '")"')
    return Call(_CHOICES.get(word, word), args, Span(start, tokens.last_end))


def _choice_args(tokens: Tokens, context: str) -> tuple[Expr, Expr]:
    first = _arithmetic(tokens, 0, context)
    tokens.expect(",", "duration expression", '","')
    return first, _arithmetic(tokens, 0, context)
