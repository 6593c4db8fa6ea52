"""An expression tree as canonical PromQL text on lines that a person can read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from metricsmith.promql.ast import Aggregation, Binary, Call, Expr, Paren, Subquery, Unary
from metricsmith.promql.printer import format_expr, parts_of

LINE_BYTES = 100
"""What is longer is split."""

MAX_LEVELS = 50
"""Deeper nesting is split and not indented further: a sum of n terms is n levels deep."""

_INDENT = "  "


def pretty_expr(expr: Expr) -> str:
    """Return the canonical text of a tree, split over lines where it is longer than 100 bytes.

    Takes time in proportion to the tree's size, without recursion.

    Source:
        Prometheus, `promql/parser/prettier.go`; there the indentation has no limit.

    >>> from metricsmith.promql.parser import parse
    >>> print(pretty_expr(parse("sum(rate(" + "x" * 50 + "[5m])) / on () sum(" + "y" * 50 + ")")))
      sum(rate(xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx[5m]))
    / on ()
      sum(yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy)
    """
    sizes = _sizes(expr)
    done: list[str] = []
    after_sign = False
    ahead: list[_Piece] = [_Node(expr, 0)]
    while ahead:
        piece = ahead.pop()
        match piece:
            case _Node():
                pieces = _split(piece) if sizes[id(piece.expr)] > LINE_BYTES else _on_one_line(piece)
                ahead.extend(reversed(list(pieces)))
            case _Indent() if not after_sign:
                done.append(_INDENT * min(piece.level, MAX_LEVELS))
            case str():
                done.append(piece)
                after_sign = False
            case _Sign():
                done.append(piece.op)
                after_sign = True
    return "".join(done)


@dataclass(frozen=True, slots=True)
class _Node:
    """What is still to be written, with the indentation of its first line."""

    expr: Expr
    level: int


@dataclass(frozen=True, slots=True)
class _Indent:
    """Begin of a line; nothing where a sign stands before it."""

    level: int


@dataclass(frozen=True, slots=True)
class _Sign:
    op: str


_Piece: TypeAlias = str | _Node | _Indent | _Sign


def _on_one_line(node: _Node) -> Iterator[_Piece]:
    # Prometheus does not indent a subquery that needs no splitting.
    if not isinstance(node.expr, Subquery):
        yield _Indent(node.level)
    yield format_expr(node.expr)


def _split(node: _Node) -> Iterator[_Piece]:
    expr, level = node.expr, node.level
    match expr:
        case Binary():
            _, operator, _ = parts_of(expr)
            yield _Node(expr.lhs, level + 1)
            yield "\n"
            yield _Indent(level)
            yield f"{str(operator).strip()}\n"
            yield _Node(expr.rhs, level + 1)
        case Unary():
            yield _Indent(level)
            yield _Sign(expr.op)
            yield _Node(expr.expr, level)
        case Aggregation() | Call() | Paren():
            head, *inside, tail = parts_of(expr)
            yield _Indent(level)
            yield f"{head}\n"
            for part in inside:
                yield ",\n" if isinstance(part, str) else _Node(part, level + 1)
            yield "\n"
            yield _Indent(level)
            yield str(tail)
        case Subquery():
            yield _Node(expr.expr, level)
            for part in parts_of(expr)[1:]:
                yield part if isinstance(part, str) else format_expr(part)
        case _:
            yield from _on_one_line(node)


def _sizes(expr: Expr) -> dict[int, int]:
    """Return how many bytes each node takes on one line, by its id."""
    nodes, ahead = [], [expr]
    while ahead:
        node = ahead.pop()
        parts = parts_of(node)
        nodes.append((node, parts))
        ahead.extend(part for part in parts if not isinstance(part, str))
    sizes: dict[int, int] = {}
    for node, parts in reversed(nodes):
        sizes[id(node)] = sum(
            len(part.encode()) if isinstance(part, str) else sizes[id(part)] for part in parts
        )
    return sizes
