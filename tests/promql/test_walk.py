"""Trees are walked completely, in the order of the text, however long a chain is."""

from __future__ import annotations

from metricsmith.promql.ast import NumberLiteral, VectorSelector
from metricsmith.promql.parser import parse
from metricsmith.promql.walk import fold, preorder


def test_every_node_is_visited_once_in_order() -> None:
    tree = parse("topk(1, max_over_time(a[2:3] offset 4)) + -(rate(b[5]) / round(c offset 6, 7)) - 8")
    numbers = [node.value for node in preorder(tree) if isinstance(node, NumberLiteral)]
    assert numbers == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [node.name for node in preorder(tree) if isinstance(node, VectorSelector)] == ["a", "b", "c"]


def test_fold_hands_each_node_the_results_of_its_children() -> None:
    tree = parse("(1 + 2) * rate(x[5m])")
    shown = fold(tree, lambda node, inside: f"{type(node).__name__}({' '.join(inside)})")
    assert shown == (
        "Binary(Paren(Binary(NumberLiteral() NumberLiteral())) "
        "Call(MatrixSelector(VectorSelector() NumberLiteral())))"
    )


def test_long_chains_are_walked() -> None:
    tree = parse(" or ".join(["x"] * 20_000))
    assert sum(1 for _ in preorder(tree)) == 39_999
    assert fold(tree, lambda _, inside: 1 + sum(inside)) == 39_999
