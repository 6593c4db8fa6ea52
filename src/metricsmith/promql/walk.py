"""Walking an expression tree without recursion, so that a chain of any length is safe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias, TypeVar

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
    VectorSelector,
)

T = TypeVar("T")
Parts: TypeAlias = "list[str | Expr]"
"""Text, and the nodes between it."""


def children(node: Expr) -> tuple[Expr, ...]:
    """Return the expressions directly inside a node: operands and arguments, then range, step, offset."""
    match node:
        case NumberLiteral() | StringLiteral():
            return ()
        case VectorSelector():
            return _present(node.offset)
        case MatrixSelector():
            return node.selector, node.range
        case Subquery():
            return node.expr, node.range, *_present(node.step, node.offset)
        case Paren() | Unary():
            return (node.expr,)
        case Binary():
            return node.lhs, node.rhs
        case Aggregation():
            return *_present(node.param), node.expr
        case Call():
            return node.args


def _present(*nodes: Expr | None) -> tuple[Expr, ...]:
    return tuple(node for node in nodes if node is not None)


def preorder(expr: Expr) -> Iterator[Expr]:
    """Yield every node of a tree, each before its children, in the order of the text."""
    stack = [expr]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(children(node)))


def written(expr: Expr, parts_of: Callable[[Expr], Parts]) -> str:
    """Return the text of a tree, of which `parts_of` gives that of one node, its children standing in it."""
    done: list[str] = []
    ahead: Parts = [expr]
    while ahead:
        part = ahead.pop()
        if isinstance(part, str):
            done.append(part)
        else:
            ahead.extend(reversed(parts_of(part)))
    return "".join(done)


def fold(expr: Expr, combine: Callable[[Expr, Sequence[T]], T]) -> T:
    """Return what `combine` makes of the root: it gets each node with the results of its children.

    >>> from metricsmith.promql.parser import parse
    >>> fold(parse("1 + 2 + x"), lambda node, results: 1 + sum(results))
    5
    """
    results: list[T] = []
    stack: list[tuple[Expr, int]] = [(expr, -1)]
    while stack:
        node, inside = stack.pop()
        if inside < 0:
            below = children(node)
            stack.append((node, len(below)))
            stack.extend((child, -1) for child in reversed(below))
        else:
            first = len(results) - inside
            results[first:] = [combine(node, results[first:])]
    return results[0]
