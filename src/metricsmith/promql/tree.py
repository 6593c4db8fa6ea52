"""An expression tree as JSON, as Prometheus' `parse_query` answers it."""

from __future__ import annotations

from typing import Any

import orjson

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
    ValueType,
    VectorSelector,
)
from metricsmith.promql.functions import FUNCTIONS, Function
from metricsmith.promql.result import plain_number
from metricsmith.promql.walk import Parts, written

_TYPES = {
    ValueType.SCALAR: "scalar",
    ValueType.STRING: "string",
    ValueType.INSTANT: "vector",
    ValueType.RANGE: "matrix",
}
_MANY_ARGUMENTS = 1000


def tree_json(expr: Expr) -> str:
    """Return the tree as JSON text; takes time in proportion to its size, without recursion.

    Durations are in milliseconds; one that only the query's times decide is 0.

    Source:
        Prometheus 3, `GET /api/v1/parse_query`.

    >>> from metricsmith.promql.parser import parse
    >>> tree_json(parse("-(1)"))
    '{"type":"unaryExpr","op":"-","expr":{"type":"parenExpr","expr":{"type":"numberLiteral","val":"1"}}}'
    """
    return written(expr, _parts)


def _parts(node: Expr) -> Parts:
    match node:
        case NumberLiteral():
            return [_object("numberLiteral", val=plain_number(node.value)), "}"]
        case StringLiteral():
            return [_object("stringLiteral", val=node.value), "}"]
        case VectorSelector():
            return [_object("vectorSelector", **_selector(node)), "}"]
        case MatrixSelector():
            fields = _selector(node.selector)
            name = fields.pop("name")
            return [_object("matrixSelector", name=name, range=_millis(node.range), **fields), "}"]
        case Subquery():
            fields = {
                "range": _millis(node.range),
                "offset": _millis(node.offset),
                "step": _millis(node.step),
            }
            return [_object("subquery", **fields, **_at(node.at)), ',"expr":', node.expr, "}"]
        case Paren():
            return [_object("parenExpr"), ',"expr":', node.expr, "}"]
        case Unary():
            return [_object("unaryExpr", op=node.op), ',"expr":', node.expr, "}"]
        case Binary():
            head = _object("binaryExpr", op=node.op, matching=_matching(node.matching), bool=node.return_bool)
            return [head, ',"lhs":', node.lhs, ',"rhs":', node.rhs, "}"]
        case Aggregation():
            head = _object("aggregation", op=node.op, grouping=node.grouping, without=node.without)
            param: Parts = ["null"] if node.param is None else [node.param]
            return [head, ',"expr":', node.expr, ',"param":', *param, "}"]
        case Call():
            args: Parts = [part for arg in node.args for part in (",", arg)]
            head = _object("call", func=_function(FUNCTIONS[node.function]))
            return [head, ',"args":[', *args[1:], "]}"]


def _object(type_: str, **fields: Any) -> str:
    """Return an object's text without its closing brace."""
    return orjson.dumps({"type": type_, **fields}).decode()[:-1]


def _selector(node: VectorSelector) -> dict[str, Any]:
    matchers = (*node.matchers[1:], node.matchers[0]) if node.name else node.matchers
    return {
        "name": node.name,
        "offset": _millis(node.offset),
        "matchers": [{"name": m.name, "value": m.value, "type": m.op.value} for m in matchers],
        **_at(node.at),
        "anchored": node.extension == "anchored",
        "smoothed": node.extension == "smoothed",
    }


def _at(at: At | None) -> dict[str, Any]:
    return {"timestamp": at and at.time_ms, "startOrEnd": at and at.anchor}


def _millis(duration: Expr | None) -> int:
    return round(duration.value * 1000) if isinstance(duration, NumberLiteral) else 0


def _matching(matching: Matching | None) -> dict[str, Any] | None:
    if matching is None:
        return None
    return {
        "card": matching.card,
        "labels": matching.labels,
        "on": matching.on,
        "include": matching.include,
        "fillValues": {"lhs": matching.fill_left, "rhs": matching.fill_right},
    }


def _function(function: Function) -> dict[str, Any]:
    """Return a signature in Prometheus' form: the last type may be left out, or come `variadic` times."""
    least, most = function.least, function.most
    count = least if most == least else least + 1
    return {
        "name": function.name,
        "argTypes": [_TYPES[function.arg_type(i)] for i in range(count)],
        "variadic": 0 if most == least else -1 if most > _MANY_ARGUMENTS else most - least,
        "returnType": _TYPES[function.returns],
    }
