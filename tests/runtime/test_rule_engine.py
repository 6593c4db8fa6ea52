"""What rules ask of PromQL."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.errors import ParseError, QueryError
from metricsmith.model.labels import decode_labels
from metricsmith.promql.memory import MemorySeries
from metricsmith.runtime.rule_engine import RuleEngine

ENGINE = RuleEngine()


@pytest.mark.parametrize("expr", ["1", "up", "(up)", "time()", "sum(up) > 1", "rate(x[5m])", "-up"])
def test_scalars_and_vectors_stand_in_rules(expr: str) -> None:
    ENGINE.check(expr)


@pytest.mark.parametrize(
    "expr", ["up[5m]", "('text')", "((up[5m:1m]))", "up +", "", "nope(up)", "a" * 2_000_000]
)
def test_what_has_no_value_per_series_is_refused(expr: str) -> None:
    with pytest.raises(QueryError):
        ENGINE.check(expr)


def test_the_place_of_a_mistake_is_known() -> None:
    with pytest.raises(ParseError) as error:
        ENGINE.check("up + + )")
    assert error.value.position == 7


@pytest.mark.parametrize(
    ("expr", "names"),
    [
        ("1", set()),
        ("up + on (job) group_left rate(x[5m]) / {__name__='y'}", {"up", "x", "y"}),
        ("{job='shop'}", {""}),
        ("{__name__=~'a.*'}", {""}),
        ("max_over_time(a[5m:]) + b offset 1h", {"a", "b"}),
    ],
)
def test_names_that_are_read(expr: str, names: set[str]) -> None:
    assert ENGINE.reads(expr) == names


@pytest.mark.parametrize(
    ("expr", "wanted"),
    [
        ("a > 5", "a"),
        ("5 < a", "a"),
        ("(a > 5)", "a"),
        ("a == 1 > 0", "a"),
        ("a > scalar(b > 3)", "a"),
        ("rate(a[5m]) / rate(b[5m]) > 0.1", "rate(a[5m]) / rate(b[5m])"),
        ("a > b", "a + b"),
        ("a > b + c", "a + (b + c)"),
        ("a > on (x) group_left (y) b", "a + on (x) group_left (y) b"),
        ("a > on (x) b and c", "a + on (x) b"),
        ("a > 5 and on (x) b < 3", "a and on (x) b"),
        ("a and b", "a"),
        ("a and b > 3", "a and b"),
        ("a > 5 and absent(b)", "a"),
        ("a > 5 unless b", "a"),
        ("a unless b > 5", "a"),
        ("a > 5 or b > 3", "a or b"),
        ("(a > 5) * 2", "(a) * 2"),
        ("count by (job) (up == 0) > 2", "count by (job) (up)"),
        ("topk(3, a > 5)", "a"),
        ("label_replace(a > 5, 'x', '$1', 'y', '(.*)')", 'label_replace(a, "x", "$1", "y", "(.*)")'),
        ("count_over_time((up == 0)[5m:1m]) > 3", "count_over_time((up)[5m:1m])"),
        ("(count(up == 0) or vector(0)) > 2", None),
        ("vector(1) > 2", "vector(1)"),
        ("a", None),
        ("a / b", None),
        ("a > bool 5", None),
        ("absent(a)", None),
        ("absent(a > 1) == 1", None),
        ("a > 5 or absent(a)", None),
        ("a > 5 or b", None),
        ("count_values('v', a) > 5", None),
        ("1", None),
    ],
)
def test_a_condition_without_its_comparisons(expr: str, wanted: str | None) -> None:
    assert ENGINE.with_data(expr) == wanted


def test_a_chain_of_any_length_is_looked_into() -> None:
    assert ENGINE.with_data("+".join(["a"] * 4000) + " > 1") == " + ".join(["a"] * 4000)


_NAMES = st.sampled_from(["a", "b", "c", "d"])
_CONDITIONS = st.recursive(
    _NAMES | st.builds("({} {} {})".format, _NAMES, st.sampled_from([">", "<=", "=="]), st.integers(0, 3)),
    lambda inner: (
        st.builds(
            "({} {} {})".format,
            inner,
            st.sampled_from(["and", "unless", "or", ">", "+", "and on (x)"]),
            inner,
        )
        | st.builds("sum by (x) ({})".format, inner)
        | st.builds("abs({})".format, inner)
    ),
    max_leaves=5,
)


@given(_CONDITIONS, st.lists(st.tuples(_NAMES, st.sampled_from("pq"), st.integers(0, 3)), max_size=8))
def test_what_holds_has_data(expr: str, samples: list[tuple[str, str, int]]) -> None:
    """Each series of a condition is, but for its name, one of those that have data."""
    series = {(name, x): value for name, x, value in samples}
    store = MemorySeries([({"__name__": n, "x": x}, [1000], [v]) for (n, x), v in series.items()])
    without = ENGINE.with_data(expr)
    if without is None:
        return
    try:
        true, data = (ENGINE.instant(text, 1000, store) for text in (expr, without))
    except QueryError:
        return  # series that pair with several
    assert _nameless(true.keys) <= _nameless(data.keys)


def _nameless(keys: list[bytes]) -> set[tuple[tuple[str, str], ...]]:
    labels = (decode_labels(key) for key in keys)
    return {tuple((n, v) for n, v in each.items() if n != "__name__") for each in labels}


def test_answers_of_the_store_and_of_an_overlay() -> None:
    store = MemorySeries([({"__name__": "a", "x": "1"}, [1000], [5])])
    engine = RuleEngine(store)
    answer = engine.instant("a * 2", 1000)
    assert (answer.keys, answer.values.tolist(), answer.samples) == ([b"\xffx\xfe1"], [10.0], 1)
    over = engine.instant("a", 1000, MemorySeries([({"__name__": "a", "x": "2"}, [1000], [7])]))
    assert (over.keys, over.values.tolist()) == ([b"a\xffx\xfe2"], [7.0])
    scalar = engine.instant("1 + 1", 1000)
    assert (scalar.keys, scalar.values.tolist()) == ([b""], [2.0])
    assert engine.instant("none", 1000).keys == []
