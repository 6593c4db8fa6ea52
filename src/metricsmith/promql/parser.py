"""Query text to the expression tree.

Binary operators are parsed with an explicit stack of pending operators, so a sum of thousands of terms
needs no recursion; only brackets recurse, and their depth is limited.

Source:
    Prometheus 3.x, `promql/parser/generated_parser.y`: the same language for float
    samples. Refused here and accepted there: nesting deeper than `MAX_DEPTH`, more than
    `MAX_TOKENS` tokens or `MAX_MATCHERS` matchers in a selector, escapes that are not UTF-8,
    a second `offset` after `offset 0s`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, NamedTuple, cast

from metricsmith.promql.ast import (
    Aggregation,
    Binary,
    Call,
    Expr,
    Matching,
    NumberLiteral,
    Paren,
    Span,
    StringLiteral,
    Unary,
    ValueType,
)
from metricsmith.promql.check import Checker, Typed
from metricsmith.promql.durations import negated, number_literal
from metricsmith.promql.functions import AGGREGATIONS
from metricsmith.promql.selectors import modified, selector
from metricsmith.syntax import lexer
from metricsmith.syntax.hints import did_you_mean
from metricsmith.syntax.lexer import Token
from metricsmith.syntax.selector import METRIC_KINDS
from metricsmith.syntax.tokens import Tokens

PRECEDENCE = {
    "or": 1,
    **dict.fromkeys(("and", "unless"), 2),
    **dict.fromkeys(("==", "!=", "<", ">", "<=", ">=", "</", ">/"), 3),
    **dict.fromkeys(("+", "-"), 4),
    **dict.fromkeys(("*", "/", "%", "atan2"), 5),
    "^": 6,
}
"""How tight each binary operator binds; all group to the left but `^`."""

SIGN_PRECEDENCE = 5
"""A sign binds like a product: `-x ^ 2` is `-(x ^ 2)`."""

_LABEL_KINDS = (lexer.KEYWORDS - {"without"}) | {lexer.IDENTIFIER, lexer.METRIC_IDENTIFIER}
_WORDS = lexer.OPERATOR_WORDS | lexer.MODIFIER_WORDS
_FILL = ("fill", "fill_left", "fill_right")


def parse(text: str, *, experimental: bool = True) -> Expr:
    """Return the tree of a query, its types and arguments checked.

    Takes time in proportion to the length of the text. `experimental` admits the
    functions and modifiers that Prometheus hides behind feature flags.

    Raises:
        ParseError: not PromQL, or beyond `MAX_TEXT`, `MAX_TOKENS` or `MAX_DEPTH`.

    >>> parse("-x ^ 2").op
    '-'
    """
    parser = _Parser(Tokens(text), Checker(text, experimental=experimental))
    return parser.query()


class _Pending(NamedTuple):
    """An operator whose right-hand side is not complete."""

    token: Token
    precedence: int
    is_sign: bool = False
    return_bool: bool = False
    matching: Matching | None = None


class _Parser:
    def __init__(self, tokens: Tokens, checker: Checker) -> None:
        self._tokens = tokens
        self._checker = checker

    def query(self) -> Expr:
        if self._tokens.current.kind == lexer.END:
            self._tokens.fail("no expression found in input", 0)
        expr = self._expression().expr
        if self._tokens.current.kind != lexer.END:
            hint = self._hint()
            self._tokens.unexpected(expected=f"operator or end of input{hint}", words=_WORDS)
        self._checker.answer(expr)
        return expr

    def _expression(self) -> Typed:
        tokens = self._tokens
        tokens.deepen(tokens.current.start)
        operands: list[Typed] = []
        pending: list[_Pending] = []
        while True:
            while tokens.current.kind in ("+", "-"):
                self._push(pending, _Pending(tokens.advance(), SIGN_PRECEDENCE, is_sign=True))
            operands.append(modified(tokens, self._checker, self._operand()))
            precedence = PRECEDENCE.get(tokens.current.kind)
            if precedence is None:
                break
            # `^` groups to the right: it waits behind its equals.
            bound = precedence + (tokens.current.kind == "^")
            while pending and pending[-1].precedence >= bound:
                self._reduce(operands, pending.pop())
            self._push(pending, self._binary_operator(precedence))
        while pending:
            self._reduce(operands, pending.pop())
        tokens.rise()
        return operands.pop()

    def _push(self, pending: list[_Pending], operator: _Pending) -> None:
        self._tokens.deepen(operator.token.start)
        pending.append(operator)

    def _reduce(self, operands: list[Typed], operator: _Pending) -> None:
        self._tokens.rise()
        rhs = operands.pop()
        if operator.is_sign:
            operands.append(self._signed(operator.token, rhs))
            return
        lhs = operands.pop()
        op, start = operator.token.kind, operator.token.start
        type_, matching = self._checker.binary(op, start, lhs, rhs, operator.return_bool, operator.matching)
        span = Span(lhs.expr.span.start, rhs.expr.span.end)
        operands.append(Typed(Binary(op, lhs.expr, rhs.expr, span, operator.return_bool, matching), type_))

    def _signed(self, sign: Token, operand: Typed) -> Typed:
        type_ = self._checker.unary(operand, sign.start)
        if isinstance(operand.expr, NumberLiteral):
            return Typed(negated(operand.expr, sign.start) if sign.kind == "-" else operand.expr, type_)
        span = Span(sign.start, operand.expr.span.end)
        return Typed(Unary(cast(Literal["+", "-"], sign.kind), operand.expr, span), type_)

    def _binary_operator(self, precedence: int) -> _Pending:
        tokens = self._tokens
        operator = tokens.advance()
        return_bool = tokens.accept("bool")
        matching = self._matching() if tokens.current.kind in ("on", "ignoring") else None
        if self._at_fill():
            matching = self._filled(matching or Matching("one-to-one", on=False, labels=()))
        return _Pending(operator, precedence, False, return_bool, matching)

    def _matching(self) -> Matching:
        tokens = self._tokens
        on = tokens.advance().kind == "on"
        labels = self._labels()
        group = tokens.current.kind
        if group not in ("group_left", "group_right"):
            return Matching("one-to-one", on, labels)
        tokens.advance()
        include = self._labels() if tokens.current.kind == "(" else ()
        return Matching("many-to-one" if group == "group_left" else "one-to-many", on, labels, include)

    def _at_fill(self) -> bool:
        # Metrics may be called so: the parenthesis makes the modifier.
        return self._tokens.word() in _FILL and self._tokens.following().kind == "("

    def _filled(self, matching: Matching) -> Matching:
        tokens = self._tokens
        while self._at_fill():
            word, position = tokens.word(), tokens.advance().start
            self._checker.experiment(f"the modifier {word}", position)
            value = self._fill_value()
            left, right = word != "fill_right", word != "fill_left"
            if (left and matching.fill_left is not None) or (right and matching.fill_right is not None):
                tokens.fail("a side may be filled only once", position)
            matching = replace(
                matching,
                fill_left=value if left else matching.fill_left,
                fill_right=value if right else matching.fill_right,
            )
        return matching

    def _fill_value(self) -> float:
        tokens = self._tokens
        tokens.advance()
        sign = tokens.advance() if tokens.current.kind in ("+", "-") else None
        number = number_literal(tokens)
        if number is None:
            tokens.unexpected("fill modifier", "number")
        tokens.expect(")", "fill modifier", '")"')
        return negated(number, 0).value if sign is not None and sign.kind == "-" else number.value

    def _labels(self) -> tuple[str, ...]:
        tokens = self._tokens
        tokens.expect("(", "grouping opts", '"("')
        labels = []
        while not tokens.accept(")"):
            labels.append(self._label())
            if tokens.current.kind != ")" and not tokens.accept(","):
                tokens.unexpected("grouping opts", '"," or ")"')
        return tuple(labels)

    def _label(self) -> str:
        tokens = self._tokens
        start = tokens.current.start
        if tokens.current.kind == lexer.STRING:
            label = tokens.string("grouping opts")
            if not label:
                tokens.fail('invalid label name for grouping: ""', start)
            return label
        if tokens.current.kind not in _LABEL_KINDS:
            tokens.unexpected("grouping opts", "label")
        return tokens.advance().text

    def _operand(self) -> Typed:
        tokens = self._tokens
        token = tokens.current
        if token.kind == "(":
            return self._parenthesis()
        if token.kind == lexer.STRING:
            value = tokens.string("")
            return Typed(StringLiteral(value, Span(token.start, token.end)), ValueType.STRING)
        number = number_literal(tokens)
        if number is not None:
            return Typed(number, ValueType.SCALAR)
        if token.kind in AGGREGATIONS and tokens.following().kind in ("(", "by", "without"):
            return self._aggregation()
        if token.kind == lexer.IDENTIFIER and tokens.following().kind == "(":
            return self._call()
        if token.kind not in METRIC_KINDS and token.kind != "{":
            tokens.unexpected(expected="expression")
        node = selector(tokens)
        return Typed(node, ValueType.INSTANT)

    def _parenthesis(self) -> Typed:
        start = self._tokens.advance().start
        inner = self._expression()
        self._tokens.expect(")", "", f'operator or ")"{self._hint()}', _WORDS)
        return Typed(Paren(inner.expr, Span(start, self._tokens.last_end)), inner.type)

    def _aggregation(self) -> Typed:
        tokens = self._tokens
        operator = tokens.advance()
        grouping = self._grouping()
        if tokens.current.kind != "(":
            tokens.unexpected("aggregation", '"("')
        args = self._arguments(operator.kind)
        if grouping is None:
            grouping = self._grouping()
        without, labels = grouping or (False, ())
        self._checker.aggregation(operator.kind, args, operator.start)
        param = args[0].expr if len(args) == 2 else None
        span = Span(operator.start, tokens.last_end)
        node = Aggregation(operator.kind, args[-1].expr, span, param, labels, without)
        return Typed(node, ValueType.INSTANT)

    def _grouping(self) -> tuple[bool, tuple[str, ...]] | None:
        if self._tokens.current.kind not in ("by", "without"):
            return None
        return self._tokens.advance().kind == "without", self._labels()

    def _hint(self) -> str:
        """Return what may have been meant by `=`, or by a grouping after a word which is no aggregation."""
        tokens = self._tokens
        if tokens.current.kind == "=":
            return ", did you mean `==`?"
        word = tokens.previous()
        if tokens.current.kind not in ("by", "without") or word.kind != lexer.IDENTIFIER:
            return ""
        return f"; {word.text[:40]!r} is no aggregation{did_you_mean(word.text, AGGREGATIONS)}"

    def _call(self) -> Typed:
        name = self._tokens.advance()
        function = self._checker.function(name.text, name.start)
        args = self._arguments(name.text)
        self._checker.call(function, args, name.start)
        span = Span(name.start, self._tokens.last_end)
        return Typed(Call(name.text, tuple(arg.expr for arg in args), span), function.returns)

    def _arguments(self, function: str) -> list[Typed]:
        tokens = self._tokens
        tokens.advance()
        args: list[Typed] = []
        while not tokens.accept(")"):
            is_info_labels = function == "info" and len(args) == 1
            args.append(self._info_labels() if is_info_labels else self._expression())
            comma = tokens.current
            if comma.kind != ")":
                tokens.expect(",", "function call", f'"," or ")"{self._hint()}', _WORDS)
                if tokens.current.kind == ")":
                    tokens.fail("trailing commas not allowed in function call args", comma.start)
        return args

    def _info_labels(self) -> Typed:
        # These matchers only restrict the labels that info() adds, so they may match everything.
        if self._tokens.current.kind != "{":
            self._tokens.unexpected('call to "info"', "label selectors only")
        return Typed(selector(self._tokens, may_match_all=True), ValueType.INSTANT)
