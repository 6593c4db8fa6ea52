"""The real Prometheus accepts the same queries, and reads them with the same structure."""

from __future__ import annotations

import json
import math
import re
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from metricsmith.errors import QueryError
from metricsmith.promql.ast import Binary, Expr, NumberLiteral, Unary
from metricsmith.promql.parser import parse
from metricsmith.promql.printer import format_expr
from metricsmith.promql.walk import fold
from metricsmith.testing.query_fuzz import in_order
from metricsmith.testing.services import Server

SUITE = Path(__file__).parents[3] / "shared" / "conformance" / "promqltest-2.42"

SINCE_2_42 = (
    ("unexpected duration", "", "3.0: durations are numbers"),
    ("missing unit character in duration", "", "3.0: numbers are durations, in seconds"),
    ("in offset, expected duration", "", "3.0: numbers are durations, in seconds"),
    ("duration must be greater than 0", "offset", "3.0: an offset may be zero"),
    ("in grouping opts, expected label", r"[:\"'`]", "3.0: any UTF-8 label name"),
    ('in label matching, expected identifier or "}"', r"[\"'`]", "3.0: quoted names"),
    ("bad duration syntax", "", "3.5: arithmetic in durations"),
    ("unexpected <op:", r"\[[^]]*[-+*/%^]", "3.5: arithmetic in durations"),
    ('unexpected "("', r"(\[|offset)[^]]*\(", "3.5: arithmetic in durations"),
    ("bad number or duration syntax", "[0-9]_", "3.0: underscores in numbers"),
    ('unexpected "("', r"(start|end)\s*\(\s*\)", "3.x: start() and end() are functions"),
)
"""What 2.42 says of queries that 3.x accepts, a pattern of such queries, and why they differ."""


@given(data=st.data())
def test_prometheus_accepts_the_same_queries(
    data: st.DataObject, refusal: Callable[[str], str | None], damaged_queries: SearchStrategy[str]
) -> None:
    for query in data.draw(st.lists(damaged_queries, min_size=2, max_size=2)):
        theirs = refusal(query)
        try:
            parse(query)
        except QueryError as ours:
            assert theirs is not None, f"Prometheus accepts {query!r}, we say {ours}"
        else:
            known = theirs is None or any(
                said in theirs and re.search(pattern, query) for said, pattern, _ in SINCE_2_42
            )
            assert known, f"we accept {query!r}, Prometheus says {theirs}"


def formatted(server: Server, query: str) -> str:
    """Return a query as the real Prometheus formats it."""
    body = urllib.parse.urlencode({"query": query}).encode()
    with urllib.request.urlopen(f"{server.url}/api/v1/format_query", body, timeout=60) as answer:
        return str(json.load(answer)["data"])


@given(data=st.data())
def test_prometheus_reads_our_text_of_a_query_as_the_query(
    data: st.DataObject, prometheus: Server, shared_queries: SearchStrategy[str]
) -> None:
    query = data.draw(shared_queries)
    assert formatted(prometheus, format_expr(parse(query))) == formatted(prometheus, query)


def computed(expr: Expr) -> float:
    """Return the value of constant arithmetic, following the structure of the tree."""
    operations = {
        "+": np.add,
        "-": np.subtract,
        "*": np.multiply,
        "/": np.divide,
        "%": np.fmod,
        "^": np.power,
    }
    comparisons = {"==": np.equal, "<": np.less, ">=": np.greater_equal, "atan2": np.arctan2}

    def value(node: Expr, parts: Sequence[np.float64]) -> np.float64:
        match node:
            case NumberLiteral():
                return np.float64(node.value)
            case Unary():
                return -parts[0] if node.op == "-" else parts[0]
            case Binary():
                return np.float64((operations | comparisons)[node.op](*parts))
            case _:
                return parts[0]

    with np.errstate(all="ignore"):
        return float(fold(expr, value))


TERMS = ["2", "3", "0.5", "-2", "0x10", "017", "-(3 - 2)", "(2 ^ 3)", "- -1"]
OPERATORS = ["+", "-", "*", "/", "%", "^", "atan2", "== bool", "< bool", ">= bool"]
PAIRS = st.tuples(st.sampled_from(OPERATORS), st.sampled_from(TERMS))
SUMS = st.tuples(st.sampled_from(TERMS), st.lists(PAIRS, min_size=3, max_size=6)).map(
    lambda drawn: " ".join([drawn[0], *(part for pair in drawn[1] for part in pair)])
)


@given(query=SUMS)
def test_prometheus_computes_what_our_structure_says(query: str, prometheus: Server) -> None:
    url = f"{prometheus.url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    with urllib.request.urlopen(url, timeout=60) as answer:
        theirs = float(json.load(answer)["data"]["result"][1])
    assert math.isclose(computed(parse(query)), theirs, rel_tol=1e-12) or (
        math.isnan(theirs) and math.isnan(computed(parse(query)))
    )


@pytest.mark.skipif(not SUITE.exists(), reason="the suite of Prometheus 2.42 is not beside the repository")
def test_every_query_of_the_prometheus_suite_is_read() -> None:
    line = re.compile(r"^eval\w*\s+(?:instant at \S+|range from \S+ to \S+ step \S+)\s+(.*)$")
    queries = [
        found.group(1)
        for file in sorted(SUITE.glob("*.test"))
        for found in map(line.match, file.read_text().splitlines())
        if found
    ]
    assert len(queries) > 500
    for query in queries:
        assert in_order(parse(format_expr(parse(query)))) == in_order(parse(query))
