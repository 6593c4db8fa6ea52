"""Aggregations over series give what plain Python gives for each group and step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.model.clock import SystemClock
from metricsmith.model.progress import Progress
from metricsmith.promql import aggregate
from metricsmith.promql.aggregate import REDUCTIONS, group_series, reduce_groups
from metricsmith.promql.budget import Budget
from metricsmith.promql.rank import quantiles, select_extreme
from metricsmith.promql.values import Scalar, Vector

NAN = math.nan
UNLIMITED = Budget(SystemClock(), math.inf, math.inf, 1 << 60, 1 << 60, 1 << 60, Progress())


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("sum(x)", {"{}": 15}),
        ("sum by (a) (x)", {"{a='1'}": 3, "{a='2'}": 12}),
        ("sum without (a) (x)", {"{b='u'}": 5, "{b='v'}": 10}),
        ("sum by (b, missing) (x)", {"{b='u'}": 5, "{b='v'}": 10}),
        ("sum by (__name__) (x)", {"x": 15}),
        ("avg by (a) (x)", {"{a='1'}": 1.5, "{a='2'}": 6}),
        ("min(x)", {"{}": 1}),
        ("max by (b) (x)", {"{b='u'}": 4, "{b='v'}": 8}),
        ("count(x > 1)", {"{}": 3}),
        ("group by (a) (x)", {"{a='1'}": 1, "{a='2'}": 1}),
        ("stdvar by (a) (x)", {"{a='1'}": 0.25, "{a='2'}": 4}),
        ("stddev by (a) (x)", {"{a='1'}": 0.5, "{a='2'}": 2}),
        ("topk(1, x)", {"x{a='2', b='v'}": 8}),
        ("topk by (a) (1, x)", {"x{a='1', b='v'}": 2, "x{a='2', b='v'}": 8}),
        ("bottomk(2, x)", {"x{a='1', b='u'}": 1, "x{a='1', b='v'}": 2}),
        ("topk(0, x)", {}),
        ("topk(-1, x)", {}),
        ("topk(99, x) - x", {f"{{a='{a}', b='{b}'}}": 0 for a in "12" for b in "uv"}),
        ("quantile(0.5, x)", {"{}": 3}),
        ("quantile by (a) (0.25, x)", {"{a='1'}": 1.25, "{a='2'}": 5}),
        ("quantile(2, x)", {"{}": math.inf}),
        ("quantile(-1, x)", {"{}": -math.inf}),
        ('count_values("v", x > bool 1)', {"{v='0'}": 1, "{v='1'}": 3}),
        (
            'count_values by (a) ("v", x > bool 1)',
            {"{a='1', v='0'}": 1, "{a='1', v='1'}": 1, "{a='2', v='1'}": 2},
        ),
        ('count_values ("v", x{a="1",b="u"} * 1e30)', {"{v='1" + "0" * 30 + "'}": 1}),
    ],
)
def test_aggregations(given_series: Any, query: str, answer: dict[str, float]) -> None:
    ask = given_series('x{a="1",b="u"} 1\nx{a="1",b="v"} 2\nx{a="2",b="u"} 4\nx{a="2",b="v"} 8')
    assert ask.at(query) == answer


def test_the_best_come_first_and_nan_last(given_series: Any) -> None:
    ask = given_series("\n".join(f'x{{i="{i}"}} {v}' for i, v in enumerate(["3", "nan", "5", "-inf", "5"])))
    assert list(ask.at("topk(3, x)")) == ["x{i='2'}", "x{i='4'}", "x{i='0'}"]
    assert list(ask.at("topk(5, x)")) == [f"x{{i='{i}'}}" for i in (2, 4, 0, 3, 1)]
    assert list(ask.at("bottomk(2, x)")) == ["x{i='3'}", "x{i='0'}"]
    assert list(ask.at("bottomk(5, x)"))[-1] == "x{i='1'}"
    assert ask.at("max(x)") == {"{}": 5}
    assert list(ask.at("sort(x)")) == [f"x{{i='{i}'}}" for i in (3, 0, 2, 4, 1)]
    assert list(ask.at("sort_desc(x)")) == [f"x{{i='{i}'}}" for i in (2, 4, 0, 3, 1)]


def test_each_step_has_its_own_best(given_series: Any) -> None:
    ask = given_series('x{i="a"} 1 5 1\nx{i="b"} 2 2 _\nx{i="c"} 0 0 0')
    assert ask.over("topk(1, last_over_time(x[1m]))", 2) == {
        "x{i='a'}": [None, 5, 1],
        "x{i='b'}": [2, None, None],
    }
    assert ask.over("topk(scalar(last_over_time(x{i='c'}[1m])) + time() / 60, last_over_time(x[1m]))", 2) == {
        "x{i='a'}": [None, 5, 1],
        "x{i='c'}": [None, None, 0],
    }


vectors = st.integers(1, 12).flatmap(
    lambda series: st.integers(1, 5).flatmap(
        lambda steps: st.tuples(
            st.lists(st.integers(0, 3), min_size=series, max_size=series),
            st.lists(
                st.lists(
                    st.one_of(
                        st.none(),
                        st.integers(-9, 9).map(float),
                        st.sampled_from([NAN, math.inf, 1e100, -1e100]),
                    ),
                    min_size=steps,
                    max_size=steps,
                ),
                min_size=series,
                max_size=series,
            ),
        )
    )
)


def _vector(groups: list[int], rows: list[list[float | None]]) -> Vector:
    keys = [b"x\xffg\xfe%d\xffi\xfe%03d" % (group, i) for i, group in enumerate(groups)]
    # What stands at an absent place must not matter.
    values = np.array([[987654.0 if v is None else v for v in row] for row in rows])
    return Vector(keys, values, np.array([[v is not None for v in row] for row in rows]))


def _exact_sum(values: list[float]) -> float:
    return math.fsum(values) if all(map(math.isfinite, values)) else float(np.sum(values))


def _variance(values: list[float]) -> float:
    if not all(map(math.isfinite, values)):
        return NAN
    mean = math.fsum(values) / len(values)
    return math.fsum((v - mean) ** 2 for v in values) / len(values)


LOOPS: dict[str, Callable[[list[float]], float]] = {
    "sum": _exact_sum,
    "avg": lambda v: _exact_sum(v) / len(v),
    "min": lambda v: min([x for x in v if x == x], default=NAN),
    "max": lambda v: max([x for x in v if x == x], default=NAN),
    "count": len,
    "group": lambda v: 1.0,
    "stdvar": _variance,
    "stddev": lambda v: math.sqrt(_variance(v)),
}


@pytest.mark.parametrize("name", sorted(REDUCTIONS))
@given(given_vector=vectors, size=st.sampled_from([1, 7, 32_768]))
def test_reductions_equal_loops(
    name: str, given_vector: tuple[list[int], list[list[float | None]]], size: int
) -> None:
    groups, rows = given_vector
    with np.errstate(all="ignore"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(aggregate, "CHUNK_VALUES", size)
        found = reduce_groups(_vector(groups, rows), REDUCTIONS[name], ("g",), without=False)
        for row, key in enumerate(found.keys):
            for step in range(len(rows[0])):
                values = [r[step] for g, r in zip(groups, rows, strict=True) if key == b"\xffg\xfe%d" % g]
                there = [v for v in values if v is not None]
                assert bool(found.mask()[row, step]) == bool(there)
                if there:
                    got, wanted = float(found.values[row, step]), LOOPS[name](there)
                    size_of = max(abs(v) for v in there)
                    allowed = 1e-14 * size_of**2 if name == "stdvar" else 1e-28 * size_of
                    same = got == wanted or (got != got and wanted != wanted)
                    assert same or math.isclose(got, wanted, rel_tol=1e-9, abs_tol=allowed), (
                        there,
                        got,
                        wanted,
                    )


@given(given_vector=vectors, k=st.integers(0, 6), largest=st.booleans())
def test_topk_takes_what_sorting_takes(
    given_vector: tuple[list[int], list[list[float | None]]], k: int, largest: bool
) -> None:
    groups, rows = given_vector
    vector = _vector(groups, rows)
    steps = len(rows[0])
    sizes = Scalar(np.full(steps, float(k)))
    found = select_extreme(vector, sizes, ("g",), without=False, largest=largest, budget=UNLIMITED)
    taken = {
        (key, step)
        for row, key in enumerate(found.keys)
        for step in np.flatnonzero(found.mask()[row]).tolist()
    }
    wanted = set()
    for step in range(steps):
        for group in set(groups):
            members = [
                (r[step] != r[step], (-r[step] if largest else r[step]) if r[step] == r[step] else 0.0, i)
                for i, (g, r) in enumerate(zip(groups, rows, strict=True))
                if g == group and r[step] is not None
            ]
            wanted |= {(vector.keys[i], step) for _, _, i in sorted(members)[:k]}
    assert taken == wanted


@given(given_vector=vectors, q=st.floats(-0.5, 1.5))
def test_quantiles_equal_sorting(given_vector: tuple[list[int], list[list[float | None]]], q: float) -> None:
    groups, rows = given_vector
    steps = len(rows[0])
    with np.errstate(all="ignore"):
        q_steps = Scalar(np.full(steps, q))
        found = quantiles(_vector(groups, rows), q_steps, ("g",), without=False, budget=UNLIMITED)
        for row, key in enumerate(found.keys):
            for step in range(steps):
                values = [r[step] for g, r in zip(groups, rows, strict=True) if key == b"\xffg\xfe%d" % g]
                there = np.array(sorted((v for v in values if v is not None), key=lambda v: (v == v, v)))
                assert bool(found.mask()[row, step]) == bool(len(there))
                if len(there):
                    rank = min(max(q, 0), 1) * (len(there) - 1)
                    low = math.floor(rank)
                    share = rank - low
                    wanted = there[low] * (1 - share) + there[min(low + 1, len(there) - 1)] * share
                    wanted = math.copysign(math.inf, q) if not 0 <= q <= 1 else wanted
                    np.testing.assert_equal(found.values[row, step], wanted)


def test_groups_keep_the_order_of_their_first_series() -> None:
    vector = Vector([b"x\xffg\xfe" + g for g in (b"b", b"a", b"b")], np.zeros((3, 1)))
    grouped = group_series(vector, ("g",), without=False)
    assert grouped.groups == [b"\xffg\xfeb", b"\xffg\xfea"]
    assert [rows.tolist() for rows in grouped.rows()] == [[0, 2], [1]]
