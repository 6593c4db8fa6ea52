"""Binary operators: which series meet, what the result is called, and when it is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from metricsmith.errors import ExecutionError

LINES = """
    err{code="500",job="a"} 1
    err{code="404",job="a"} 2
    err{code="500",job="b"} 3
    all{job="a"} 10
    all{job="b"} 20
    team{job="a",team="red"} 1
    team{job="b",team="blue"} 1
    odd 5
"""


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("odd + 1", {"{}": 6}),
        ("1 - odd", {"{}": -4}),
        ("odd % 3 + odd ^ 2", {"{}": 27}),
        ("-odd % 3", {"{}": -2}),
        ("odd / 0", {"{}": math.inf}),
        ("odd > 3", {"odd": 5}),
        ("3 < odd", {"odd": 5}),
        ("odd < 3", {}),
        ("odd < bool 3", {"{}": 0}),
        ("all + all", {"{job='a'}": 20, "{job='b'}": 40}),
        ("all > all - 1", {"all{job='a'}": 10, "all{job='b'}": 20}),
        ("all == on (job) all", {"{job='a'}": 10, "{job='b'}": 20}),
        ("all == bool all", {"{job='a'}": 1, "{job='b'}": 1}),
        ('err{code="500"} / on (job) all', {"{job='a'}": 0.1, "{job='b'}": 0.15}),
        ('err{code="500"} / ignoring (code) all', {"{job='a'}": 0.1, "{job='b'}": 0.15}),
        ('err{code="404"} / ignoring (code) all', {"{job='a'}": 0.2}),
        (
            "err / ignoring (code) group_left () all",
            {"{code='500', job='a'}": 0.1, "{code='404', job='a'}": 0.2, "{code='500', job='b'}": 0.15},
        ),
        (
            "all / on (job) group_right () err",
            {"{code='500', job='a'}": 10, "{code='404', job='a'}": 5, "{code='500', job='b'}": 20 / 3},
        ),
        (
            "all * on (job) group_left (team) team",
            {"{job='a', team='red'}": 10, "{job='b', team='blue'}": 20},
        ),
        ("all + on (job) group_left (missing) team", {"{job='a'}": 11, "{job='b'}": 21}),
        ("err > on (job) group_left () all", {}),
        ("err and on (job) team{team='red'}", {"err{code='500', job='a'}": 1, "err{code='404', job='a'}": 2}),
        ("err unless on (job) team{team='red'}", {"err{code='500', job='b'}": 3}),
        ("odd or all", {"odd": 5, "all{job='a'}": 10, "all{job='b'}": 20}),
        ("all or on () odd", {"all{job='a'}": 10, "all{job='b'}": 20}),
        ("odd and on () vector(1)", {"odd": 5}),
        ("odd + nothing", {}),
        ("err + on (job) nothing", {}),
        ("odd atan2 5", {"{}": math.pi / 4}),
    ],
)
def test_operators(given_series: Any, query: str, answer: dict[str, float]) -> None:
    assert given_series(LINES).at(query) == pytest.approx(answer)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            "all + on (job) err",
            'found duplicate series for the match group {job="a"} on the right hand-side of the operation: '
            '[{__name__="err", code="500", job="a"}, {__name__="err", code="404", job="a"}];'
            "many-to-many matching not allowed: matching labels must be unique on one side",
        ),
        (
            "err + on (job) group_right () err",
            'found duplicate series for the match group {job="a"} on the left hand-side',
        ),
        (
            "err + on (job) all",
            "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
        ),
        (
            "err + on (job) group_left (code) team",
            "multiple matches for labels: grouping labels must ensure unique matches",
        ),
        ('{job="a",team=""} + 1', "vector cannot contain metrics with the same labelset"),
        ('-{__name__=~"all|odd"} + {__name__=~"all|team"} or -{__name__=~"err|all"}', None),
        ('rate({__name__=~"team|all",team=""}[5m])', None),
        ('abs({__name__=~"all|twin"})', "vector cannot contain metrics with the same labelset"),
    ],
)
def test_ambiguity_is_refused(given_series: Any, query: str, message: str | None) -> None:
    ask = given_series(
        LINES + 'twin{job="a"} 1\nerr{job="a"} 3' if message and "labelset" in message else LINES
    )
    if message is None:
        ask.at(query)
        return
    with pytest.raises(ExecutionError) as caught:
        ask.at(query)
    assert message in str(caught.value)


def test_matching_is_decided_at_each_step(given_series: Any) -> None:
    ask = given_series(
        """
        left 1 2 3 4
        one{v="1"} 10 20 stale _
        one{v="2"} _ _ 30 40
        """
    )
    assert ask.over("left + on () one", 3) == {"{}": [11, 22, 33, 44]}
    assert ask.over("left + on () group_left (v) one", 3) == {
        "{v='1'}": [11, 22, None, None],
        "{v='2'}": [None, None, 33, 44],
    }
    assert ask.over("sum by (v) (one) or left", 3) == {
        "left": [1, 2, 3, 4],
        "{v='1'}": [10, 20, None, None],
        "{v='2'}": [None, None, 30, 40],
    }
    assert ask.over("left unless on () one{v='2'}", 3) == {"left": [1, 2, None, None]}
    assert ask.over("one + 0 > 15", 3) == {"{v='1'}": [None, 20, None, None], "{v='2'}": [None, None, 30, 40]}


def test_series_that_lose_their_name_are_joined_only_where_they_never_meet(given_series: Any) -> None:
    apart = given_series("a 1 stale _\nb _ _ 3")
    assert apart.over('{__name__=~"a|b"} * 2', 2) == {"{}": [2, None, 6]}
    meeting = given_series("a 1 2 3\nb _ _ 3")
    with pytest.raises(ExecutionError, match="same labelset"):
        meeting.over('{__name__=~"a|b"} * 2', 2)
    with pytest.raises(ExecutionError, match="same labelset"):
        given_series("a 1 2 _ \nb 3 4 _").at('rate({__name__=~"a|b"}[5m])', 1)


def test_nothing_is_refused_where_there_is_no_step(given_series: Any) -> None:
    ask = given_series(LINES)
    for query in (
        "err + on (job) all",
        'rate({__name__=~"err|all|team"}[5m])',
        "all + on (job) err",
        "topk(1, vector(1))",
        "quantile(1, vector(1))",
        "sum(vector(1) - 1)",
        "stddev(vector(1)) or vector(1)",
        'count_values("v", vector(1))',
        "histogram_quantile(1, label_replace(vector(1), 'le', '1', '', ''))",
        "vector(scalar(absent(vector(1))))",
        "vector(1) > on () vector(1)",
        "sort(vector(time()) + hour())",
        "sum_over_time(vector(1)[1m:10s])",
        "absent_over_time(vector(1)[1m:10s])",
    ):
        assert ask.at(f"count_over_time(({query})[10s:1m])", 0.5) == {}, query


def test_series_that_follow_each_other_match_in_linear_time(given_series: Any) -> None:
    lines = "\n".join(f'many{{i="{i}"}} {"_ " * (i // 40)}{i}' for i in range(0, 4000, 40))
    found = given_series(f"{lines}\nlate {'1 ' * 100}").over("late + on () last_over_time(many[1m])", 99)
    assert found == {"{}": [i + 1 for i in range(0, 4000, 40)]}


def test_duplicates_do_not_matter_where_the_other_side_is_empty(given_series: Any) -> None:
    ask = given_series('many{i="1"} 1 1\nmany{i="2"} 1 1\nlate _ 5')
    assert ask.at("late + on () many", 0) == {}
    with pytest.raises(ExecutionError, match="many-to-many"):
        ask.at("late + on () many", 1)


@pytest.mark.parametrize("op", ["+", "-", "*", "/", "%", "^", "atan2"])
def test_arithmetic_is_ieee(given_series: Any, op: str) -> None:
    odd = [0.0, -0.0, 1.0, -2.5, math.inf, -math.inf, math.nan]
    lines = "\n".join(f'x{{i="{i}"}} {v}' for i, v in enumerate(odd))
    found = given_series(lines).at(f"x {op} on () group_left () y or x {op} Inf")
    reference = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "%": np.fmod, "^": np.power}
    with np.errstate(all="ignore"):
        wanted = reference.get(op, np.arctan2)(np.array(odd), math.inf)
    np.testing.assert_array_equal(list(found.values()), wanted)
