"""The tree of an expression as JSON, as Prometheus 3 answers `parse_query`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from metricsmith.promql.functions import FUNCTIONS
from metricsmith.promql.parser import parse
from metricsmith.promql.tree import tree_json


def tree(query: str) -> Any:
    return json.loads(tree_json(parse(query)))


def number(text: str) -> dict[str, str]:
    return {"type": "numberLiteral", "val": text}


def selector(name: str, *matchers: tuple[str, str, str], **changes: Any) -> dict[str, Any]:
    named = [("__name__", "=", name)] if name else []
    return {
        "type": "vectorSelector",
        "name": name,
        "offset": 0,
        "matchers": [{"name": n, "type": op, "value": v} for n, op, v in [*matchers, *named]],
        "timestamp": None,
        "startOrEnd": None,
        "anchored": False,
        "smoothed": False,
    } | changes


X, Y = selector("x"), selector("y")
NO_FILL = {"lhs": None, "rhs": None}


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("1", number("1")),
        ("-0.25", number("-0.25")),
        ("-x", {"type": "unaryExpr", "op": "-", "expr": X}),
        ("0x10", number("16")),
        ("1e21", number("1000000000000000000000")),
        ("NaN", number("NaN")),
        ("Inf", number("+Inf")),
        ("5m", number("300")),
        ('"a\\n"', {"type": "stringLiteral", "val": "a\n"}),
        ("(x)", {"type": "parenExpr", "expr": X}),
        ('x{a="b",c!~"d"}', selector("x", ("a", "=", "b"), ("c", "!~", "d"))),
        ('{"my x"}', selector("my x")),
        ('{a=~"b"}', selector("", ("a", "=~", "b"))),
        ("x offset 5m @ 1.5", selector("x", offset=300_000, timestamp=1500)),
        ("x offset -1s @ end()", selector("x", offset=-1000, startOrEnd="end")),
        ("x[5m] @ start()", X | {"type": "matrixSelector", "range": 300_000, "startOrEnd": "start"}),
        (
            "(x)[1h:5m] offset 1m",
            {
                "type": "subquery",
                "expr": {"type": "parenExpr", "expr": X},
                "range": 3_600_000,
                "offset": 60_000,
                "step": 300_000,
                "timestamp": None,
                "startOrEnd": None,
            },
        ),
        ("1 > bool 2", {"type": "binaryExpr", "op": ">", "lhs": number("1"), "rhs": number("2"),
                        "bool": True, "matching": None}),
        ("x and on (a) y", {"type": "binaryExpr", "op": "and", "lhs": X, "rhs": Y, "bool": False,
                            "matching": {"card": "many-to-many", "labels": ["a"], "on": True, "include": [],
                                         "fillValues": NO_FILL}}),
        ("x / ignoring (a) group_left (b) y",
         {"type": "binaryExpr", "op": "/", "lhs": X, "rhs": Y, "bool": False,
          "matching": {"card": "many-to-one", "labels": ["a"], "on": False, "include": ["b"],
                       "fillValues": NO_FILL}}),
        ("sum without (a) (x)", {"type": "aggregation", "op": "sum", "expr": X, "param": None,
                                 "grouping": ["a"], "without": True}),
        ("topk by (a) (3, x)", {"type": "aggregation", "op": "topk", "expr": X, "param": number("3"),
                                "grouping": ["a"], "without": False}),
        ("time()", {"type": "call", "args": [], "func": {"name": "time", "argTypes": [], "variadic": 0,
                                                         "returnType": "scalar"}}),
        ("round(x)", {"type": "call", "args": [X], "func": {"name": "round", "argTypes": ["vector", "scalar"],
                                                            "variadic": 1, "returnType": "vector"}}),
    ],
)  # fmt: skip
def test_trees(query: str, wanted: Any) -> None:
    assert tree(query) == wanted


@pytest.mark.parametrize(
    ("name", "types", "variadic"),
    [
        ("rate", ["matrix"], 0),
        ("quantile_over_time", ["scalar", "matrix"], 0),
        ("hour", ["vector"], 1),
        ("label_join", ["vector", "string", "string", "string"], -1),
        ("label_replace", ["vector", "string", "string", "string", "string"], 0),
        ("sort_by_label", ["vector", "string"], -1),
    ],
)
def test_signatures_are_in_the_words_of_prometheus(name: str, types: list[str], variadic: int) -> None:
    arguments = {"vector": "x", "matrix": "x[1m]", "string": '"a"', "scalar": "1"}
    least = FUNCTIONS[name].least
    call = tree(f"{name}({', '.join(arguments[t] for t in types[:least])})")
    assert call["func"]["argTypes"] == types
    assert call["func"]["variadic"] == variadic


def test_long_chains_need_no_recursion() -> None:
    text = tree_json(parse("1" + "+1" * 20_000))
    assert text.count('"binaryExpr"') == 20_000
    assert text.endswith('{"type":"numberLiteral","val":"1"}}')
