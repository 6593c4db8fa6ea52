"""The canonical text of a query is the same query again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from metricsmith.promql.parser import parse
from metricsmith.promql.printer import format_expr
from metricsmith.testing.query_fuzz import in_order


@given(data=st.data())
def test_the_text_of_a_query_is_the_query_again(data: st.DataObject, queries: SearchStrategy[str]) -> None:
    tree = parse(data.draw(queries))
    text = format_expr(tree)
    assert in_order(parse(text)) == in_order(tree)
    assert format_expr(parse(text)) == text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("sum(rate( x { a='b', c =~ `d.*` } [300] )) by(job)", 'sum by (job) (rate(x{a="b",c=~"d.*"}[5m]))'),
        ("SUM WITHOUT () (x)", "sum without () (x)"),
        ("sum by () (x)", "sum(x)"),
        ("topk(3,x)", "topk(3, x)"),
        ("a+b*  -c", "a + b * -c"),
        ("(( a ))", "((a))"),
        ("a==bool on(x)group_left b", "a == bool on (x) group_left () b"),
        ("a and ignoring() b", "a and b"),
        ("a / ignoring() group_right(x) b", "a / ignoring () group_right (x) b"),
        ('{"sum"}', "sum"),
        ('{"my.metric", a="b"}', '{"my.metric",a="b"}'),
        ('{"bool"}', '{"bool"}'),
        ('{"Inf"}', '{"Inf"}'),
        ('{__name__="x"}', '{__name__="x"}'),
        ('x{"l.é"="v", "a:b"="w"}', 'x{"a:b"="w","l.é"="v"}'),
        ('sum by ("l.é", "without", by) (x)', 'sum by ("l.é", "without", by) (x)'),
        ("x offset 5400 @ -1.5", "x @ -1.500 offset 1h30m"),
        ("x[5m] @ START()", "x[5m] @ start()"),
        ("x[1d:] offset -0.5", "x[1d:] offset -500ms"),
        ("x > 90m - -1d", "x > 1h30m - -1d"),
        ("x[0.0001]", "x[0.0001]"),
        ("x[MAX(step(), 2*1m)]", "x[max_of(step(), 2 * 1m)]"),
        ("x offset -(5m+range())", "x offset -(5m + range())"),
        (
            "0x10 + 1_000 + 1e20 + 1e-7 + inf - nan",
            "16 + 1000 + 100000000000000000000 + 0.0000001 + Inf - NaN",
        ),
        ("-0 + 1e15 + 123456789012345", "-0 + 1000000000000000 + 123456789012345"),
        ("""'"\\n\\x01\\'`é' """, '"\\"\\n\\x01\'`é"'),
        (r'"\a\x7f\u200b\u00a0é世\U000e0001"', r'"\a\x7f\u200b\u00a0é世\U000e0001"'),
        ("a # note\n + b", "a + b"),
    ],
)
def test_the_canonical_text(text: str, canonical: str) -> None:
    assert format_expr(parse(text)) == canonical
    assert in_order(parse(canonical)) == in_order(parse(text))


def test_matchers_are_sorted() -> None:
    assert format_expr(parse('x{z=~"b",aa="1",a!="2","é"="3"}')) == 'x{"é"="3",a!="2",aa="1",z=~"b"}'


def test_long_chains_are_printed() -> None:
    text = " + ".join(["x"] * 20_000)
    assert format_expr(parse(text)) == text
