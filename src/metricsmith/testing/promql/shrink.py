"""A failing question made small: the least expression, asked once, that still fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

from metricsmith.errors import QueryError
from metricsmith.promql.ast import (
    Aggregation,
    Binary,
    Call,
    Expr,
    MatrixSelector,
    Paren,
    Subquery,
    Unary,
    VectorSelector,
)
from metricsmith.promql.parser import parse
from metricsmith.promql.printer import format_expr
from metricsmith.testing.promql.duel import MINUTE_MS, Question

MOST_TRIES = 300


def shrunk(question: Question, fails: Callable[[Question], bool]) -> Question:
    """Return a smaller question that fails too, found in a bounded number of tries."""
    left = MOST_TRIES
    progress = True
    while progress:
        progress = False
        for smaller in _smaller(question):
            if not left:
                return question
            left -= 1
            if fails(smaller):
                question, progress = smaller, True
                break
    return question


def as_case(question: Question) -> str:
    """Return the line to paste into the table of permanent cases."""
    given = {
        f.name: getattr(question, f.name) for f in fields(question) if getattr(question, f.name) != f.default
    }
    return "Question(" + ", ".join(f"{name}={value!r}" for name, value in given.items()) + "),"


def _smaller(question: Question) -> Iterator[Question]:
    if question.step_s:
        yield replace(question, minutes=0, step_s=0)
        steps = int(question.minutes * MINUTE_MS / 1000 / question.step_s)
        for step in range(steps + 1):
            yield replace(question, at=question.at + step * question.step_s / 60, minutes=0, step_s=0)
        yield replace(question, minutes=question.minutes / 2)
    try:
        expr = parse(question.query)
    except QueryError:
        return
    # What is inside may not be computed to the last bit, even where the whole is.
    for candidate in _simpler(expr):
        yield replace(question, query=format_expr(candidate), precision="close", ordered=False)
    if question.at != round(question.at):
        yield replace(question, at=round(question.at))


def _simpler(node: Any) -> Iterator[Any]:
    """Yield what is inside a node, the node with something left out, and with a part simpler."""
    yield from _instead(node)
    for field in fields(node):
        value = getattr(node, field.name)
        if _is_expr(value):
            yield from (replace(node, **{field.name: simpler}) for simpler in _simpler(value))
        elif field.name == "args":
            for i, argument in enumerate(value):
                for simpler in _simpler(argument):
                    yield replace(node, args=(*value[:i], simpler, *value[i + 1 :]))


def _instead(node: Expr) -> Iterator[Expr]:
    match node:
        case Paren() | Unary():
            yield node.expr
        case Binary():
            yield from (node.lhs, node.rhs)
            if node.return_bool:
                yield replace(node, return_bool=False)
        case Aggregation():
            yield node.expr
            if node.grouping:
                yield replace(node, grouping=node.grouping[1:])
        case Call():
            yield from (_without_range(argument) for argument in node.args)
        case MatrixSelector():
            yield from (
                replace(node, selector=simpler)
                for simpler in _instead(node.selector)
                if isinstance(simpler, VectorSelector)
            )
        case VectorSelector():
            if len(node.matchers) > 1:
                yield replace(node, matchers=(node.matchers[0], *node.matchers[2:]))
    if isinstance(node, Subquery | VectorSelector):
        if node.at is not None:
            yield replace(node, at=None)
        if node.offset is not None:
            yield replace(node, offset=None)


def _without_range(argument: Expr) -> Expr:
    match argument:
        case Subquery():
            return argument.expr
        case MatrixSelector():
            return argument.selector
    return argument


def _is_expr(value: Any) -> bool:
    return is_dataclass(value) and any(f.name == "span" for f in fields(value))
