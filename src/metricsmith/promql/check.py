"""The static rules of PromQL: types, argument counts, what a selector needs, how vectors may be matched.

The parser applies these to each node as soon as it is complete, with the types of its parts: one pass,
no recursion over the finished tree. Wording follows Prometheus, so that its users recognise it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from metricsmith.errors import ParseError
from metricsmith.promql.ast import (
    Aggregation,
    Binary,
    Call,
    Expr,
    Extension,
    Matching,
    MatrixSelector,
    Paren,
    Subquery,
    Unary,
    ValueType,
    VectorSelector,
)
from metricsmith.promql.functions import AGGREGATIONS, FUNCTIONS, Function
from metricsmith.syntax.hints import did_you_mean
from metricsmith.syntax.lexer import MODIFIER_WORDS, OPERATOR_WORDS

COMPARISONS = frozenset({"==", "!=", ">", "<", ">=", "<="})
SET_OPERATORS = frozenset({"and", "or", "unless"})
OPERATOR_AND_MODIFIER_WORDS = (*sorted(OPERATOR_WORDS | MODIFIER_WORDS),)
TRIM_OPERATORS = frozenset({"</", ">/"})
"""Operators that leave out the observations of a native histogram above (below) a value."""
EXTENDED_FUNCTIONS: dict[Extension, tuple[str, ...]] = {
    "anchored": ("changes", "delta", "increase", "rate", "resets"),
    "smoothed": ("delta", "increase", "rate"),
}
"""Functions that look at the ends of their range, and so can take a selector with this modifier."""


class Typed(NamedTuple):
    """An expression and its type, found once."""

    expr: Expr
    type: ValueType


class Checker:
    """Refuses what is no PromQL although its syntax is right; every method raises `ParseError`."""

    def __init__(self, text: str, *, experimental: bool) -> None:
        self._text = text
        self._experimental = experimental

    def fail(self, message: str, position: int) -> NoReturn:
        """Raise the error for a position in the text."""
        raise ParseError(message, self._text, position)

    def range_of(self, inner: Expr, bracket: int) -> VectorSelector:
        """Return the selector that a range may follow: one without modifiers."""
        if not isinstance(inner, VectorSelector):
            what = "ranges only allowed for vector selectors"
            self.fail(f"{what}; elsewhere a subquery such as [5m:] makes one", bracket)
        if inner.offset is not None:
            self.fail("no offset modifiers allowed before range; write x[5m] offset 1m", bracket)
        if inner.at is not None:
            self.fail("no @ modifiers allowed before range; write x[5m] @ end()", bracket)
        if inner.extension is not None:
            self.fail(f"no {inner.extension} modifier allowed before range", bracket)
        return inner

    def extended(self, node: Expr, extension: Extension, position: int) -> VectorSelector | MatrixSelector:
        """Return the node that `anchored` or `smoothed` may follow."""
        self.experiment(f"the modifier {extension}", position)
        if not isinstance(node, VectorSelector | MatrixSelector):
            what = "subqueries" if isinstance(node, Subquery) else "other expressions than selectors"
            self.fail(f"{extension} modifier is not supported for {what}", position)
        vector = node.selector if isinstance(node, MatrixSelector) else node
        if vector.extension is not None:
            self.fail("anchored and smoothed modifiers may be set once, and only one of them", position)
        return node

    def answer(self, expr: Expr) -> None:
        """Refuse a whole query that only a function could answer."""
        self._extension_of("a bare range", expr)

    def _extension_of(self, user: str, expr: Expr) -> None:
        while isinstance(expr, Paren):
            expr = expr.expr
        if not isinstance(expr, MatrixSelector) or expr.selector.extension is None:
            return
        extension = expr.selector.extension
        allowed = EXTENDED_FUNCTIONS[extension]
        if user not in allowed:
            names = ", ".join(allowed)
            message = f"{extension} modifier can only be used with: {names} - not with {user}"
            self.fail(message, expr.span.start)

    def experiment(self, what: str, position: int) -> None:
        """Refuse what is experimental where that is switched off."""
        if not self._experimental:
            self.fail(f"{what} is experimental; the setting query.experimental allows it", position)

    def subquery_of(self, inner: Typed) -> None:
        """Refuse a subquery over anything but an instant vector."""
        if inner.type is not ValueType.INSTANT:
            self.fail(
                f"subquery is only allowed on instant vector, got {inner.type} instead", inner.expr.span.start
            )

    def modified(self, node: Expr, modifier: str) -> VectorSelector | MatrixSelector | Subquery:
        """Return the node that `offset` or `@` may follow."""
        if not isinstance(node, VectorSelector | MatrixSelector | Subquery):
            wanted = "an instant vector selector or range vector selector or a subquery"
            what = f"{modifier} modifier must be preceded by {wanted}"
            self.fail(f"{what}, got {described(node)}", node.span.start)
        return node

    def unary(self, operand: Typed, position: int) -> ValueType:
        """Return the type of a signed expression."""
        if operand.type not in (ValueType.SCALAR, ValueType.INSTANT):
            wanted = "unary expression only allowed on expressions of type scalar or instant vector"
            self.fail(f'{wanted}, got "{operand.type}"', position)
        return operand.type

    def binary(
        self, op: str, position: int, lhs: Typed, rhs: Typed, return_bool: bool, written: Matching | None
    ) -> tuple[ValueType, Matching | None]:
        """Return type and matching of a binary expression; `written` is what stands in the text.

        Matching exists between instant vectors only: one-to-one unless grouped,
        many-to-many for set operators. `position` is that of the operator.
        """
        if return_bool and op not in COMPARISONS:
            what = "bool modifier can only be used on comparison operators"
            self.fail(f'{what}, got "{op}"', position)
        self._refuse_overlap(written, position)
        for side in (lhs, rhs):
            if side.type not in (ValueType.SCALAR, ValueType.INSTANT):
                message = "binary expression must contain only scalar and instant vector types"
                self.fail(f"{message}, got {side.type}", side.expr.span.start)
        scalars = (lhs.type is ValueType.SCALAR) + (rhs.type is ValueType.SCALAR)
        if scalars == 2 and op in TRIM_OPERATORS:
            self.fail(f'operator "{op}" not allowed for scalars; it cuts native histograms', position)
        if scalars == 2 and op in COMPARISONS and not return_bool:
            self.fail(f"comparisons between scalars must use BOOL modifier; write {op} bool", position)
        if scalars:
            if written is not None and written.labels:
                what = "vector matching only allowed between instant vectors"
                self.fail(f"{what}, got {lhs.type} and {rhs.type}", lhs.expr.span.start)
            if written is not None and _fills(written):
                self.fail(
                    "filling in missing series only allowed between instant vectors", lhs.expr.span.start
                )
            if op in SET_OPERATORS:
                what = f'set operator "{op}" not allowed in binary scalar expression'
                self.fail(f"{what}; vector() makes a scalar a vector", lhs.expr.span.start)
            return (ValueType.SCALAR if scalars == 2 else ValueType.INSTANT), None
        return ValueType.INSTANT, self._matching(op, lhs.expr.span.start, written)

    def _refuse_overlap(self, written: Matching | None, position: int) -> None:
        if written is None or not written.on:
            return
        included = frozenset(written.include)
        for label in written.labels:
            if label in included:
                self.fail(f'label "{label}" must not occur in ON and GROUP clause at once', position)

    def _matching(self, op: str, position: int, written: Matching | None) -> Matching:
        if op not in SET_OPERATORS:
            return written or Matching("one-to-one", on=False, labels=())
        if written is None:
            return Matching("many-to-many", on=False, labels=())
        if written.card != "one-to-one":
            got = "group_left" if written.card == "many-to-one" else "group_right"
            self.fail(f'no grouping allowed for "{op}" operation, got {got}', position)
        if _fills(written):
            self.fail("filling in missing series not allowed for set operators", position)
        return Matching("many-to-many", written.on, written.labels)

    def aggregation(self, op: str, args: Sequence[Typed], position: int) -> None:
        """Refuse an aggregation with wrong arguments: parameter, where it takes one, and vector."""
        if AGGREGATIONS[op].experimental:
            self.experiment(f"{op}()", position)
        if not args:
            self.fail(f"no arguments for aggregate expression provided, {op} needs {_counted(op)}", position)
        param_type = AGGREGATIONS[op].parameter
        wanted = 1 if param_type is None else 2
        if len(args) != wanted:
            counts = f"expected {wanted}, got {len(args)}"
            self.fail(f"wrong number of arguments for aggregate expression provided, {counts}", position)
        self._expect(args[-1], ValueType.INSTANT, "aggregation expression")
        if param_type is not None:
            self._expect(args[0], param_type, "aggregation parameter")

    def function(self, name: str, position: int) -> Function:
        """Return the function of a name."""
        function = FUNCTIONS.get(name)
        if function is None:
            hint = did_you_mean(name, (*FUNCTIONS, *AGGREGATIONS, *OPERATOR_AND_MODIFIER_WORDS))
            shown = name if len(name) <= 100 else name[:100] + "…"
            self.fail(f'unknown function with name "{shown}"{hint}', position)
        if function.experimental:
            self.experiment(f"{name}()", position)
        return function

    def call(self, function: Function, args: Sequence[Typed], position: int) -> None:
        """Refuse a call with too few, too many or wrong arguments."""
        given = len(args)
        if not function.least <= given <= function.most:
            exact = function.least == function.most
            bound = "" if exact else "at least " if given < function.least else "at most "
            wanted = function.most if given > function.most else function.least
            call = f'argument(s) in call to "{function.name}"'
            self.fail(f"expected {bound}{wanted} {call}, got {given}", position)
        for index, arg in enumerate(args):
            self._expect(arg, function.arg_type(index), f'call to function "{function.name}"')
            self._extension_of(function.name, arg.expr)

    def _expect(self, got: Typed, wanted: ValueType, context: str) -> None:
        if got.type is not wanted:
            message = f"expected type {wanted} in {context}, got {got.type}{_cure(got, wanted)}"
            self.fail(message, got.expr.span.start)


def _fills(matching: Matching) -> bool:
    return matching.fill_left is not None or matching.fill_right is not None


def described(node: Expr) -> str:
    """Return what kind of expression a node is, for people."""
    match node:
        case Call() | Aggregation():
            return f"{node.function if isinstance(node, Call) else node.op}()"
        case Paren():
            return "parentheses"
        case Binary():
            return f'the result of "{node.op}"'
        case Unary():
            return "a signed expression"
        case _:
            return "a literal"


def _counted(op: str) -> str:
    return "a vector" if AGGREGATIONS[op].parameter is None else "a parameter and a vector"


def _cure(got: Typed, wanted: ValueType) -> str:
    if wanted is ValueType.RANGE and isinstance(got.expr, VectorSelector):
        return "; add a range such as [5m]"
    if (
        wanted is ValueType.RANGE
        and got.type is ValueType.INSTANT
        and isinstance(got.expr, Call | Aggregation)
    ):
        return "; a subquery such as [5m:] makes one"
    if wanted is ValueType.INSTANT and got.type is ValueType.SCALAR:
        return "; vector() makes one"
    return ""
