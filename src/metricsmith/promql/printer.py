"""An expression tree as canonical PromQL text on one line.

`parse(format_expr(tree))` is the tree again, but for the order of matchers, which are sorted: parentheses are
nodes of the tree, so none have to be invented. Literals are normalised: `0x10` becomes `16`, `'a'` becomes
`"a"`, a range of `300` becomes `5m`.
"""

from __future__ import annotations

import re

from metricsmith.model.duration import format_duration, parse_duration
from metricsmith.model.matchers import Matcher
from metricsmith.promql.ast import (
    Aggregation,
    At,
    Binary,
    Call,
    Expr,
    Matching,
    MatrixSelector,
    NumberLiteral,
    Paren,
    StringLiteral,
    Subquery,
    Unary,
    VectorSelector,
)
from metricsmith.promql.result import plain_number
from metricsmith.promql.walk import Parts, written
from metricsmith.syntax import lexer
from metricsmith.syntax.selector import METRIC_KINDS

_METRIC_NAME = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*", re.ASCII)
_LABEL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_NUMBER_WORDS = frozenset({"inf", "nan"})
_NO_METRIC = (lexer.KEYWORDS - METRIC_KINDS) | _NUMBER_WORDS
_NO_GROUPING_LABEL = _NUMBER_WORDS | {"without"}
_ESCAPED = re.compile(r"[^ !#-\[\]-~]")
_ESCAPES = dict(zip('"\\\a\b\f\n\r\t\v', (f"\\{letter}" for letter in '"\\abfnrtv'), strict=True))


def format_expr(expr: Expr) -> str:
    """Return the canonical text of a tree; takes time in proportion to its size, without recursion.

    >>> from metricsmith.promql.parser import parse
    >>> format_expr(parse("sum(rate( x{a='b'}[300] )) by(job)/ 0x10"))
    'sum by (job) (rate(x{a="b"}[5m])) / 16'
    """
    return written(expr, parts_of)


def parts_of(node: Expr) -> Parts:
    """Return the canonical text of a node, in which its children stand as themselves."""
    match node:
        case NumberLiteral():
            return _duration(node) if node.is_duration else [_number(node.value)]
        case StringLiteral():
            return [_quoted(node.value)]
        case VectorSelector():
            return [_selector(node), *_modifiers(node)]
        case MatrixSelector():
            return [_selector(node.selector), "[", *_duration(node.range), "]", *_modifiers(node.selector)]
        case Subquery():
            step = [] if node.step is None else _duration(node.step)
            return [node.expr, "[", *_duration(node.range), ":", *step, "]", *_modifiers(node)]
        case Paren():
            return ["(", node.expr, ")"]
        case Unary():
            return [node.op, node.expr]
        case Binary():
            bool_ = " bool" if node.return_bool else ""
            return [node.lhs, f" {node.op}{bool_}{_matching(node.matching)} ", node.rhs]
        case Aggregation():
            param: Parts = [] if node.param is None else [node.param, ", "]
            return [f"{node.op}{_grouping(node)}(", *param, node.expr, ")"]
        case Call():
            args: Parts = [part for arg in node.args for part in (", ", arg)]
            return [f"{node.function}(", *args[1:], ")"]


def _selector(node: VectorSelector) -> str:
    bare = _METRIC_NAME.fullmatch(node.name) is not None and node.name.lower() not in _NO_METRIC
    matchers = node.matchers[1:] if node.name else node.matchers
    inside = sorted(_matcher(matcher) for matcher in matchers)
    if node.name and not bare:
        inside.insert(0, _quoted(node.name))
    braces = "{" + ",".join(inside) + "}" if inside or not bare else ""
    return (node.name if bare else "") + braces


def _matcher(matcher: Matcher) -> str:
    label = matcher.name if _LABEL_NAME.fullmatch(matcher.name) else _quoted(matcher.name)
    return f"{label}{matcher.op.value}{_quoted(matcher.value)}"


def _modifiers(node: VectorSelector | Subquery) -> Parts:
    at = "" if node.at is None else f" @ {_timestamp(node.at)}"
    extension = f" {node.extension}" if isinstance(node, VectorSelector) and node.extension else ""
    before = f"{extension}{at}"
    return [before] if node.offset is None else [f"{before} offset ", *_duration(node.offset)]


def _timestamp(at: At) -> str:
    if at.time_ms is None:
        return f"{at.anchor}()"
    seconds, millis = divmod(abs(at.time_ms), 1000)
    return f"{'-' if at.time_ms < 0 else ''}{seconds}.{millis:03d}"


def _duration(node: Expr) -> Parts:
    if not isinstance(node, NumberLiteral):
        return [node]
    text = format_duration(round(node.value * 1000))
    exact = parse_duration(text.removeprefix("-")) / 1000 == abs(node.value)
    return [text if exact else _number(node.value)]


def _number(value: float) -> str:
    # A sign would take more than the number: `+Inf ^ 2` is `+(Inf ^ 2)`.
    return plain_number(value).removeprefix("+")


def _matching(matching: Matching | None) -> str:
    if matching is None:
        return ""
    groups = {"many-to-one": " group_left ", "one-to-many": " group_right "}
    group = groups.get(matching.card, "")
    if not (matching.on or matching.labels or group):
        return _fill(matching)
    word = "on" if matching.on else "ignoring"
    include = f"{group}({_labels(matching.include)})" if group else ""
    return f" {word} ({_labels(matching.labels)}){include}{_fill(matching)}"


def _fill(matching: Matching) -> str:
    left, right = (None if v is None else _number(v) for v in (matching.fill_left, matching.fill_right))
    if left is not None and left == right:
        return f" fill ({left})"
    sides = (("left", left), ("right", right))
    return "".join(f" fill_{side} ({value})" for side, value in sides if value is not None)


def _grouping(node: Aggregation) -> str:
    if not node.grouping and not node.without:
        return ""
    return f" {'without' if node.without else 'by'} ({_labels(node.grouping)}) "


def _labels(names: tuple[str, ...]) -> str:
    bare = (_LABEL_NAME.fullmatch(name) and name.lower() not in _NO_GROUPING_LABEL for name in names)
    return ", ".join(name if plain else _quoted(name) for name, plain in zip(names, bare, strict=True))


def _quoted(text: str) -> str:
    return '"' + _ESCAPED.sub(lambda found: _escape(found.group()), text) + '"'


def _escape(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
