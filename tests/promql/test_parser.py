"""Queries are read as Prometheus reads them: the same are accepted, with the same structure."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.errors import ParseError
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.promql.ast import (
    Aggregation,
    At,
    Binary,
    Call,
    Expr,
    MatrixSelector,
    NumberLiteral,
    Span,
    Subquery,
    Unary,
    VectorSelector,
)
from metricsmith.promql.parser import parse
from metricsmith.promql.printer import format_expr
from metricsmith.promql.walk import fold, preorder
from metricsmith.syntax.lexer import END, ERROR, MAX_TOKENS, tokenize
from metricsmith.syntax.tokens import MAX_DEPTH, MAX_TEXT


def bracketed(expr: Expr) -> str:
    """Return the query with every operator's extent shown in parentheses."""

    def show(node: Expr, parts: Sequence[str]) -> str:
        match node:
            case Binary():
                return f"({parts[0]} {node.op} {parts[1]})"
            case Unary():
                return f"({node.op}{parts[0]})"
            case _:
                return format_expr(node)

    return fold(expr, show)


@pytest.mark.parametrize(
    ("text", "structure"),
    [
        ("a + b - c", "((a + b) - c)"),
        ("a + b * c", "(a + (b * c))"),
        ("a * b % c atan2 d / e", "((((a * b) % c) atan2 d) / e)"),
        ("a ^ b ^ c", "(a ^ (b ^ c))"),
        ("a * b ^ c * d", "((a * (b ^ c)) * d)"),
        ("-a ^ b", "(-(a ^ b))"),
        ("-a * b", "((-a) * b)"),
        ("-1 ^ 2", "(-(1 ^ 2))"),
        ("2 ^ -1 * 3", "((2 ^ -1) * 3)"),
        ("2 ^ -a ^ b * 3", "((2 ^ (-(a ^ b))) * 3)"),
        ("a - -b", "(a - (-b))"),
        ("a == b + c", "(a == (b + c))"),
        ("a > b < c", "((a > b) < c)"),
        ("a and b or c unless d", "((a and b) or (c unless d))"),
        ("a or b and c == d", "(a or (b and (c == d)))"),
        ("a unless b and c", "((a unless b) and c)"),
        ("-a offset 5m", "(-a offset 5m)"),
        ("a + b offset 5m", "(a + b offset 5m)"),
        ("a offset 5m + 1", "(a offset 5m + 1)"),
        ("a offset -2 ^ 2", "(a offset -2s ^ 2)"),
        ("- - 3", "3"),
    ],
)
def test_operators_bind_as_in_prometheus(text: str, structure: str) -> None:
    assert bracketed(parse(text)) == structure


def name(text: str) -> Matcher:
    return Matcher("__name__", MatchOp.EQ, text)


S = Span(0, 0)
X = VectorSelector("x", (name("x"),), S)
FIVE = NumberLiteral(300.0, S)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("x", X),
        ("x{}", X),
        ('{"x"}', X),
        ('{__name__="x"}', VectorSelector("", (name("x"),), S)),
        ('{"x", __name__="y"}', VectorSelector("", (name("x"), name("y")), S)),
        ("{a=\"b\",'m.é'}", VectorSelector("m.é", (name("m.é"), Matcher("a", MatchOp.EQ, "b")), S)),
        ('x{"l l"!~`a|b`,}', VectorSelector("x", (name("x"), Matcher("l l", MatchOp.NRE, "a|b")), S)),
        ("x offset -5m", VectorSelector("x", (name("x"),), S, NumberLiteral(-300.0, S))),
        ("x @ 1.0005", VectorSelector("x", (name("x"),), S, at=At(1000))),
        ("x @ -1m offset 5m", VectorSelector("x", (name("x"),), S, FIVE, At(-60_000))),
        ("x @ START ( )", VectorSelector("x", (name("x"),), S, at=At(None, "start"))),
        ("x[5m]", MatrixSelector(X, FIVE, S)),
        ("x[300]", MatrixSelector(X, FIVE, S)),
        (
            "x[ 5m ] @ end()",
            MatrixSelector(VectorSelector("x", (name("x"),), S, at=At(None, "end")), FIVE, S),
        ),
        ("x[5m:]", Subquery(X, FIVE, None, S)),
        ("x[5m:5m] offset 5m", Subquery(X, FIVE, FIVE, S, FIVE)),
        ("x[5m:5m] @ 1", Subquery(X, FIVE, FIVE, S, at=At(1000))),
        ("x[2*step()]", MatrixSelector(X, Binary("*", NumberLiteral(2.0, S), Call("step", (), S), S), S)),
        ("x[max(5m,range())]", MatrixSelector(X, Call("max_of", (FIVE, Call("range", (), S)), S), S)),
        ("SUM(x)", Aggregation("sum", X, S)),
        ("topk without (a,) (5m, x)", Aggregation("topk", X, S, FIVE, ("a",), True)),
        ("topk(5m, x) without (a)", Aggregation("topk", X, S, FIVE, ("a",), True)),
        (
            'sum(x) by (without_, bool, on, "é")',
            Aggregation("sum", X, S, None, ("without_", "bool", "on", "é")),
        ),
        ("info(x, {})", Call("info", (X, VectorSelector("", (), S)), S)),
        ("step()", Call("step", (), S)),
    ],
)
def test_each_form_has_its_tree(text: str, tree: Expr) -> None:
    assert parse(text) == tree


@pytest.mark.parametrize(
    "word",
    [
        *("sum", "avg", "topk", "limitk", "by", "without", "offset", "and", "or", "unless"),
        *("start", "end", "step", "range", "fill", "anchored"),
    ],
)
def test_keywords_are_metric_names_where_an_operand_is_expected(word: str) -> None:
    for text in (
        word,
        f"{word} + 1",
        f"{word}{{a='b'}}",
        f"abs({word})",
        f"rate({word}[5m])",
        f"1 + {word} offset 5m",
    ):
        names = [node.name for node in preorder(parse(text)) if isinstance(node, VectorSelector)]
        assert names == [word]


@pytest.mark.parametrize(
    ("text", "matching"),
    [
        ("a + b", ("one-to-one", False, (), ())),
        ("a and b", ("many-to-many", False, (), ())),
        ("a or on () b", ("many-to-many", True, (), ())),
        ("a * on (x) b", ("one-to-one", True, ("x",), ())),
        ("a / ignoring (x, by) group_left b", ("many-to-one", False, ("x", "by"), ())),
        ("a == bool on (x) group_right (y,) b", ("one-to-many", True, ("x",), ("y",))),
        ("a * on () group_left (x) (b)", ("many-to-one", True, (), ("x",))),
    ],
)
def test_vectors_are_matched_as_written(text: str, matching: tuple[object, ...]) -> None:
    tree = parse(text)
    assert isinstance(tree, Binary) and tree.matching is not None
    assert (tree.matching.card, tree.matching.on, tree.matching.labels, tree.matching.include) == matching


def test_scalars_are_not_matched() -> None:
    for text in ("1 + 1", "a + 1", "1 + on () a"):
        tree = parse(text)
        assert isinstance(tree, Binary) and tree.matching is None


def test_every_node_knows_where_it_stands() -> None:
    text = "sum(rate(x{a='b'}[5m] offset 1m)) / -(y + 2)"
    spans = {text[node.span.start : node.span.end] for node in preorder(parse(text))}
    assert spans == {
        text,
        "sum(rate(x{a='b'}[5m] offset 1m))",
        "rate(x{a='b'}[5m] offset 1m)",
        "x{a='b'}[5m] offset 1m",
        "5m",
        "1m",
        "-(y + 2)",
        "(y + 2)",
        "y + 2",
        "y",
        "2",
    }


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("x[5m] anchored", "1:1: parse error: anchored modifier can only be used with: changes, delta, incr"),
        (
            "deriv(x[5m] smoothed)",
            "1:7: parse error: smoothed modifier can only be used with: delta, increas",
        ),
        ("sum(x) smoothed", "1:8: parse error: smoothed modifier is not supported for other expressions"),
        ("rate(x[5m:] anchored)", "1:13: parse error: anchored modifier is not supported for subqueries"),
        ("x anchored smoothed", "1:12: parse error: anchored and smoothed modifiers may be set once"),
        ("x anchored[5m]", "1:11: parse error: no anchored modifier allowed before range"),
        ("a + fill(b) c", '1:10: parse error: unexpected identifier "b" in fill modifier, expected number'),
        ("a + fill(1) fill_left(0) b", "1:13: parse error: a side may be filled only once"),
        ("a and fill(1) b", "1:1: parse error: filling in missing series not allowed for set operators"),
        ("1 + fill(1) b", "1:1: parse error: filling in missing series only allowed between instant vectors"),
    ],
)
def test_modifiers_stand_where_they_mean_something(text: str, error: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse(text)
    assert str(caught.value).startswith(error)


@pytest.mark.parametrize(
    "text",
    [
        "a + fill (-1) b",
        "a / on (x) group_left (y) fill_left (3600) fill_right (NaN) b",
        "fill + fill (0) fill",
        "rate(x[5m] anchored @ end() offset 1m)",
        'x{a="b"} smoothed',
        "anchored smoothed",
    ],
)
def test_modifiers_are_printed_as_they_are_read(text: str) -> None:
    assert format_expr(parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "(" * 200,
        "(" * 200 + "x" + ")" * 200,
        "abs(" * 200,
        "-" * 200 + "x",
        "2 ^ " * 200 + "2",
        "x[" + "(" * 200,
        "x[" + "-" * 200,
    ],
)
def test_nesting_has_a_limit(text: str) -> None:
    with pytest.raises(ParseError, match=f"nested more than {MAX_DEPTH} levels deep"):
        parse(text)


def test_nesting_below_the_limit_is_fine() -> None:
    deep = MAX_DEPTH - 1
    for opening, closing in (("(", ")"), ("abs(", ")"), ("sum by (a) (", ")"), ("-", "")):
        parse(opening * deep + "x" + closing * deep)
    parse("2 ^ " * deep + "2")


@pytest.mark.parametrize("term", ["1", "x", "sum(rate(x[5m])) by (job)"])
def test_chains_may_be_long(term: str) -> None:
    tree = parse(" + ".join([term] * 5000))
    assert sum(isinstance(node, Binary) for node in preorder(tree)) == 4999


def test_the_longest_text_is_read_and_a_longer_one_refused() -> None:
    longest = "x{a='" + "b" * (MAX_TEXT - 7) + "'}"
    parse(longest)
    with pytest.raises(ParseError, match=f"wanted at most {MAX_TEXT}"):
        parse(longest + " ")


def test_the_number_of_tokens_is_limited() -> None:
    longest = "1+" * (MAX_TOKENS // 2)
    assert tokenize(longest)[-1].kind == END
    last = tokenize(longest + "1")[-1]
    assert (last.kind, last.text) == (ERROR, f"query has more than {MAX_TOKENS} tokens")


SCRAPS = (
    *(
        "x",
        "sum",
        "rate",
        "by",
        "on",
        "bool",
        "offset",
        "@",
        "start",
        "and",
        "group_left",
        "5m",
        "1",
        "'a'",
        "Inf",
    ),
    *("(", ")", "{", "}", "[", "]", ",", ":", "=", "=~", "==", "+", "-", "^", "#", "\n", " ", '"', "\\", "é"),
)


@given(st.one_of(st.text(max_size=80), st.lists(st.sampled_from(SCRAPS), max_size=40).map("".join)))
def test_any_text_is_parsed_or_refused_as_a_query(text: str) -> None:
    try:
        parse(text)
    except ParseError as error:
        assert 0 <= error.position <= len(text)


def test_the_queries_of_the_pipeline_dashboard_are_read() -> None:
    for query in (
        "dataflow_pipelines_running",
        "rate(dataflow_state_transitions_total[1m])",
        'rate(dataflow_batches_processed_total{pipeline_id="pipeline-123"}[1m])',
        "rate(dataflow_batch_processing_time_ms_sum[5m]) /\n"
        "rate(dataflow_batch_processing_time_ms_count[5m])",
        "histogram_quantile(0.95,\n  rate(dataflow_batch_processing_time_ms_bucket[5m])\n)",
        'dataflow_records_throughput_per_second{pipeline_id="pipeline-123"}',
        "sum(rate(dataflow_retries_scheduled_total[5m])) by (error_code)",
        "jvm_memory_heap_used_bytes / jvm_memory_heap_max_bytes * 100",
        "rate(dataflow_batches_processed_total[10m]) == 0\nand dataflow_pipelines_running > 0\n",
        "jvm_memory_heap_used_bytes / jvm_memory_heap_max_bytes > 0.9\n",
        "# GC pressure\nrate(jvm_gc_pause_seconds_sum[1m])",
    ):
        parse(query)
