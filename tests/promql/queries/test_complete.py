"""Nothing of the language is without a case that has an answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from metricsmith.model.matchers import MatchOp
from metricsmith.promql.ast import (
    Aggregation,
    Binary,
    Call,
    Expr,
    NumberLiteral,
    Subquery,
    Unary,
    VectorSelector,
)
from metricsmith.promql.functions import AGGREGATIONS, FUNCTIONS
from metricsmith.promql.parser import parse
from metricsmith.promql.walk import preorder
from metricsmith.testing.query_script import read_script

ARITHMETIC = ["+", "-", "*", "/", "%", "^", "atan2"]
COMPARISONS = ["==", "!=", "<", ">", "<=", ">="]
ANSWERS_NOTHING = [f"histogram_{name}" for name in ("avg", "count", "sum", "stddev", "stdvar")]
FORMS = {
    *(f"{op} with a scalar" for op in ARITHMETIC + COMPARISONS),
    *(f"{op} of vectors" for op in [*ARITHMETIC, *COMPARISONS, "and", "or", "unless"]),
    *(f"{op} bool" for op in COMPARISONS),
    *(f"matcher {op}" for op in MatchOp),
    *("on", "ignoring", "group_left", "group_right", "included labels", "fill_left", "fill_right"),
    *("by", "without", "unary +", "unary -", "subquery", "subquery without step", "subquery @ or offset"),
    *("offset", "negative offset", "@ time", "@ start", "@ end", "anchored", "smoothed"),
}


@pytest.fixture(scope="module")
def met() -> set[str]:
    """All functions, aggregations and forms in queries that are not refused and answer something."""
    found: set[str] = set()
    for file in sorted(Path(__file__).parent.glob("*.test")):
        for case in read_script(file.read_text(), file.name):
            if case.error is None and not case.nothing:
                found.update(each for node in preorder(parse(case.expr)) for each in forms(node))
    return found


def forms(node: Expr) -> Iterator[str]:
    match node:
        case Call():
            yield f"{node.function}()"
        case Aggregation():
            yield f"{node.op}()"
            if node.without or node.grouping:
                yield "without" if node.without else "by"
        case Unary():
            yield f"unary {node.op}"
        case Binary():
            yield from of_binary(node)
        case VectorSelector():
            yield from (f"matcher {matcher.op}" for matcher in node.matchers)
            yield from of_time(node)
        case Subquery():
            yield "subquery" if node.step else "subquery without step"
            if node.at or node.offset:
                yield "subquery @ or offset"


def of_binary(node: Binary) -> Iterator[str]:
    matching = node.matching
    yield f"{node.op} of vectors" if matching else f"{node.op} with a scalar"
    if node.return_bool:
        yield f"{node.op} bool"
    if matching is None:
        return
    if matching.on or matching.labels:
        yield "on" if matching.on else "ignoring"
    card = {"many-to-one": "group_left", "one-to-many": "group_right"}.get(matching.card)
    named = {
        "included labels": matching.include,
        "fill_left": matching.fill_left is not None,
        "fill_right": matching.fill_right is not None,
    }
    yield from filter(None, [card, *(name for name, there in named.items() if there)])


def of_time(node: VectorSelector) -> Iterator[str]:
    if node.offset:
        negative = isinstance(node.offset, NumberLiteral) and node.offset.value < 0
        yield "negative offset" if negative or isinstance(node.offset, Unary) else "offset"
    if node.at:
        yield f"@ {node.at.anchor or 'time'}"
    if node.extension:
        yield node.extension


@pytest.mark.parametrize("name", [*FUNCTIONS, *AGGREGATIONS])
def test_every_function_and_aggregation_has_a_case(name: str, met: set[str]) -> None:
    assert f"{name}()" in met or name in ANSWERS_NOTHING


def test_every_operator_and_modifier_has_a_case(met: set[str]) -> None:
    assert sorted(FORMS - met) == []
