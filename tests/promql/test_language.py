"""Every function, aggregation, operator and modifier of the language has a case in the query scripts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from metricsmith.promql.arithmetic import ARITHMETIC
from metricsmith.promql.ast import (
    Aggregation,
    Binary,
    Call,
    Expr,
    Matching,
    MatrixSelector,
    Subquery,
    Unary,
    VectorSelector,
)
from metricsmith.promql.check import COMPARISONS, EXTENDED_FUNCTIONS, SET_OPERATORS
from metricsmith.promql.functions import AGGREGATIONS, FUNCTIONS
from metricsmith.promql.parser import parse
from metricsmith.promql.walk import preorder
from metricsmith.testing.query_script import read_script

SCRIPTS = Path(__file__).parent / "queries"
MODIFIERS = {
    *("bool", "on", "ignoring", "group_left", "group_right", "fill_left", "fill_right"),
    *("by", "without", "offset", "@", "@ start()", "@ end()", "range", "subquery"),
    *("anchored instant", "smoothed instant"),
    *(f"{extension} {name}" for extension, names in EXTENDED_FUNCTIONS.items() for name in names),
}


def used_by(node: Expr) -> Iterator[str]:
    match node:
        case Call():
            yield node.function
            for arg in node.args:
                if isinstance(arg, MatrixSelector) and arg.selector.extension:
                    yield f"{arg.selector.extension} {node.function}"
        case Aggregation():
            yield node.op
            yield "without" if node.without else "by"
        case Binary():
            yield node.op
            yield from ["bool"] * node.return_bool
            yield from matching_words(node.matching)
        case Unary():
            yield "unary " + node.op
        case MatrixSelector():
            yield "range"
        case VectorSelector() | Subquery():
            yield from ["offset"] * (node.offset is not None)
            yield from ["subquery"] * isinstance(node, Subquery)
            if node.at is not None:
                yield f"@ {node.at.anchor}()" if node.at.anchor else "@"
            if isinstance(node, VectorSelector) and node.extension:
                yield f"{node.extension} instant"


def matching_words(matching: Matching | None) -> Iterator[str]:
    if matching is None:
        return
    yield "on" if matching.on else "ignoring"
    yield {"many-to-one": "group_left", "one-to-many": "group_right"}.get(matching.card, "")
    yield from ["fill_left"] * (matching.fill_left is not None)
    yield from ["fill_right"] * (matching.fill_right is not None)


@pytest.fixture(scope="module")
def answered() -> set[str]:
    """What of the language stands in queries whose answer a script says."""
    cases = [case for path in SCRIPTS.glob("*.test") for case in read_script(path.read_text(), path.name)]
    answers = [parse(case.expr) for case in cases if case.error is None]
    return {word for expr in answers for node in preorder(expr) for word in used_by(node)}


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(FUNCTIONS.keys(), id="functions"),
        pytest.param(AGGREGATIONS.keys(), id="aggregations"),
        pytest.param({*ARITHMETIC, *COMPARISONS, *SET_OPERATORS, "unary -"}, id="operators"),
        pytest.param(MODIFIERS, id="modifiers"),
    ],
)
def test_every_word_has_a_case(words: set[str], answered: set[str]) -> None:
    assert not set(words) - answered
