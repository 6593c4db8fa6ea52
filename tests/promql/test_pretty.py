"""Long queries come on several lines, as the real Prometheus splits them."""

from __future__ import annotations

import json
import re
import urllib.parse
import urllib.request

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from metricsmith.promql.parser import parse
from metricsmith.promql.pretty import LINE_BYTES, MAX_LEVELS, pretty_expr
from metricsmith.promql.printer import format_expr
from metricsmith.testing.query_fuzz import in_order
from metricsmith.testing.services import Server

N = "requests_with_a_long_name_total"

CASES = [
    "x",
    'x{b="1",a="2"}',
    "a" * 100,
    "a" * 101,
    f"abs({'a' * 95})",
    f"abs({'a' * 96})",
    f'sum by (job) (rate({N}{{job="a",env="b"}}[5m])) / ignoring(a) group_left(x) sum(rate({N}[5m]))',
    f"{N} > bool {N} + {N} * {N} - {N} ^ {N}",
    f"{N} and on (a, b) {N} unless ignoring (c) {N} or {N}",
    f"topk(5, {N}{{a='{'y' * 70}'}}) by (a)",
    f"quantile without (a) (scalar({N}{{a='{'y' * 70}'}}), max_over_time({N}[1h:] offset 5m))",
    f"count_values('version', {N} * 1000 + {N} * 1000 + {N})",
    f"label_replace({N}, '{'a' * 30}', '$1', '{'b' * 30}', '(.*)')",
    f"max_over_time(({N} + {N} + {N} + {N})[1h:] offset 5m)",
    f"max_over_time({N}[1h:5m] @ end()) + max_over_time({'x' * 80}[1h:5m])",
    f"max_over_time({'x' * 90}[1h:5m])",
    f"max_over_time(rate({'x' * 80}[5m])[1h:5m])",
    f"max_over_time(max_over_time(rate({'x' * 90}[5m])[1h:5m])[1d:1h] offset 1w)",
    f"-{N}{{a='{'y' * 100}'}} + -sum(-(({N} + {N} + {N} + {N})))",
    f"-({N} + {N} + {N} + {N})",
    f"- -{N} ^ +{N} ^ {N} ^ {N}",
    f"sum(-{N} ^ {N} ^ {N} ^ {N})",
    f"(({N})) + (({N} + {N} + {N}))",
    f"histogram_quantile(0.99, sum by (le, job) (rate({N}{{code=~'5..', job='shop', env!='test'}}[5m])))",
    f"round(sum({N}) by (job), 0.01) == bool on () group_right () vector(1) + {N}",
    f"{N} @ start() offset 1d - {N} @ 1.5 offset -1h - {N}",
    f"clamp({N} - {N} offset 1d, -1000, 1000) and hour() >= 8 and hour() < 18 and day_of_week() < 6",
    " + ".join([N] * 40),
    " ^ ".join([N] * 40),
    f'label_replace(x, "{"é" * 33}", "a", "b", "c")',
    f'label_replace(x, "{"é" * 37}", "a", "b", "c")',
    r"""label_replace(x, "\a\x7f\u200b\u00a0'", '"\\`', '\U0001F600', "\t\n")""",
]
"""Queries whose text is short, long, or as long as a line may be."""


def formatted(server: Server, query: str) -> str:
    """Return a query as the real Prometheus formats it."""
    body = urllib.parse.urlencode({"query": query}).encode()
    with urllib.request.urlopen(f"{server.url}/api/v1/format_query", body, timeout=60) as answer:
        return str(json.load(answer)["data"])


@pytest.mark.parametrize("query", CASES)
def test_lines_are_those_of_prometheus(query: str, prometheus: Server) -> None:
    assert pretty_expr(parse(query)) == formatted(prometheus, query)


@given(data=st.data())
def test_lines_of_generated_queries_are_those_of_prometheus(
    data: st.DataObject, prometheus: Server, shared_queries: SearchStrategy[str]
) -> None:
    for query in data.draw(st.lists(shared_queries, min_size=3, max_size=3)):
        # Infinity is `Inf` here: the sign of `+Inf ^ 2` would apply to the power.
        text = re.sub(
            r"(?i)\binf\b", "7", query.replace("http_requests_total", N).replace("a:b", f"a:{N}{N}")
        )
        assert pretty_expr(parse(text)) == formatted(prometheus, text)


@given(data=st.data())
def test_a_query_on_lines_is_the_query(data: st.DataObject, queries: SearchStrategy[str]) -> None:
    tree = parse(data.draw(queries).replace("http_requests_total", N))
    text = pretty_expr(tree)
    assert in_order(parse(text)) == in_order(tree)
    assert pretty_expr(parse(text)) == text
    assert ("\n" in text) <= (len(format_expr(tree).encode()) > LINE_BYTES)


def test_indentation_ends_where_a_line_would_hold_nothing_else() -> None:
    text = pretty_expr(parse(" + ".join([N] * 2000)))
    blanks = [len(line) - len(line.lstrip()) for line in text.splitlines()]
    assert max(blanks) == blanks[0] == 2 * MAX_LEVELS
    assert blanks[-3:] == [4, 0, 2]
