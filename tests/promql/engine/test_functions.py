"""Functions of instant vectors: histograms, labels, dates, rounding, absence."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.errors import ExecutionError
from metricsmith.promql.dates import DATE_PARTS

HISTOGRAM = """
    h_bucket{le="0.1"} 10
    h_bucket{le="1"} 60
    h_bucket{le="10"} 90
    h_bucket{le="+Inf"} 100
"""


@pytest.mark.parametrize(
    ("quantile", "answer"),
    [
        ("0", 0.0),
        ("0.05", 0.05),
        ("0.1", 0.1),
        ("0.35", 0.1 + 0.9 * 25 / 50),
        ("0.9", 10),
        ("0.99", 10),
        ("1", 10),
        ("-1", -math.inf),
        ("2", math.inf),
    ],
)
def test_quantiles_of_a_histogram_are_interpolated_in_its_buckets(
    given_series: Any, quantile: str, answer: float
) -> None:
    found = given_series(HISTOGRAM).at(f"histogram_quantile({quantile}, h_bucket)")
    assert found == {"{}": pytest.approx(answer)}


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        ('b{le="1"} 1', {"{}": math.nan}),
        ('b{le="+Inf"} 1', {"{}": math.nan}),
        ('b{le="1"} 0\nb{le="+Inf"} 0', {"{}": math.nan}),
        ('b{le="-1"} 10\nb{le="+Inf"} 10', {"{}": -1}),
        ('b{le="1"} 6\nb{le="2"} 4\nb{le="+Inf"} 8', {"{}": 4 / 6}),
        ('b{le="1"} 3\nb{le="1.0"} 3\nb{le="+Inf"} 8', {"{}": 4 / 6}),
        ('b{le="x"} 3\nb 5', {}),
        (
            'b{i="1",le="2"} 1\nb{i="1",le="Inf"} 1\nb{i="2",le="4"} 1\nb{i="2",le="inf"} 1',
            {"{i='1'}": 1, "{i='2'}": 2},
        ),
    ],
)
def test_odd_histograms(given_series: Any, lines: str, answer: dict[str, float]) -> None:
    np.testing.assert_equal(given_series(lines).at("histogram_quantile(0.5, b)"), answer)


def test_a_histogram_may_have_other_buckets_at_each_step(given_series: Any) -> None:
    ask = given_series('b{le="1"} 5 5 _\nb{le="2"} _ 10 10\nb{le="+Inf"} 10 10 10')
    found = ask.over("histogram_quantile(0.5, last_over_time(b[1m]))", 2)
    assert found == {"{}": [1, 1, 1]}
    found = ask.over("histogram_quantile(0.75, last_over_time(b[1m]))", 2)
    assert found == {"{}": [1, 1.5, 1.5]}


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ('label_replace(x, "z", "$1-${2}", "a", "(.)(.)")', {"x{a='pq', b='r', z='p-q'}": 1}),
        ('label_replace(x, "z", "$1", "a", "(.)")', {"x{a='pq', b='r'}": 1}),
        ('label_replace(x, "a", "", "b", ".*")', {"x{b='r'}": 1}),
        ('label_replace(x, "z", "new", "missing", "")', {"x{a='pq', b='r', z='new'}": 1}),
        ('label_replace(x, "__name__", "y", "", "")', {"y{a='pq', b='r'}": 1}),
        ('label_join(x, "z", "/", "a", "missing", "b")', {"x{a='pq', b='r', z='pq//r'}": 1}),
        ('label_join(x, "z", "/")', {"x{a='pq', b='r'}": 1}),
    ],
)
def test_labels_are_rewritten(given_series: Any, query: str, answer: dict[str, float]) -> None:
    assert given_series('x{a="pq",b="r"} 1').at(query) == answer


def test_labels_rewritten_to_the_same_are_refused(given_series: Any) -> None:
    ask = given_series('x{a="1"} 1\nx{a="2"} 1')
    with pytest.raises(ExecutionError, match="same labelset"):
        ask.at('label_replace(x, "a", "", "", "")')


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("round(x)", [-2, -1, 0, 1, 2, 3]),
        ("round(x, 0.2)", [-1.6, -1, 0, 0.6, 1.6, 2.6]),
        ("abs(x)", [1.7, 1, 0, 0.5, 1.5, 2.5]),
        ("ceil(x)", [-1, -1, 0, 1, 2, 3]),
        ("floor(x)", [-2, -1, 0, 0, 1, 2]),
        ("sgn(x)", [-1, -1, 0, 1, 1, 1]),
        ("clamp(x, -1, 1)", [-1, -1, 0, 0.5, 1, 1]),
        ("clamp_min(x, 0)", [0, 0, 0, 0.5, 1.5, 2.5]),
        ("clamp_max(x, 0)", [-1.7, -1, 0, 0, 0, 0]),
        ("clamp(x, 1, -1)", []),
        ("sqrt(x)", [math.nan, math.nan, 0, math.sqrt(0.5), math.sqrt(1.5), math.sqrt(2.5)]),
        ("exp(x * 0)", [1] * 6),
        ("ln(x * 0)", [-math.inf] * 6),
        ("deg(rad(x))", [-1.7, -1, 0, 0.5, 1.5, 2.5]),
    ],
)
def test_numbers(given_series: Any, query: str, answer: list[float]) -> None:
    values = [-1.7, -1, 0, 0.5, 1.5, 2.5]
    ask = given_series("\n".join(f'x{{i="{i}"}} {v}' for i, v in enumerate(values)))
    np.testing.assert_allclose(list(ask.at(query).values()), answer, atol=1e-12)


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("absent(x)", {}),
        ("absent(nothing)", {"{}": 1}),
        ('absent(nothing{a="b",c!="d",e=~"f"})', {"{a='b'}": 1}),
        ('absent(nothing{a="b",a="c"})', {"{}": 1}),
        ("absent(sum(nothing))", {"{}": 1}),
        ('absent_over_time(nothing{a="b"}[5m])', {"{a='b'}": 1}),
        ("absent_over_time(x[5m])", {}),
        ("scalar(x)", {"{}": math.nan}),
        ('scalar(x{a="1"})', {"{}": 1}),
        ("vector(3)", {"{}": 3}),
        ("timestamp(x offset 1m)", {"{a='1'}": 0, "{a='2'}": 0}),
        ("timestamp(abs(x))", {"{a='1'}": 90, "{a='2'}": 90}),
        ("time()", {"{}": 90}),
        ("pi()", {"{}": math.pi}),
    ],
)
def test_absence_and_time(given_series: Any, query: str, answer: dict[str, float]) -> None:
    ask = given_series('x{a="1"} 1 1\nx{a="2"} 2 2')
    np.testing.assert_equal(ask.at(query, 1.5), answer)


def test_absence_is_told_at_each_step(given_series: Any) -> None:
    ask = given_series("x 1 stale 3")
    assert ask.over("absent(x)", 2) == {"{}": [None, 1, None]}
    assert ask.over("scalar(x)", 2)["{}"][::2] == [1, 3]


@given(seconds=st.integers(-62_135_596_800, 253_402_300_799))
def test_dates_are_those_of_the_calendar(seconds: int) -> None:
    date = datetime.fromtimestamp(seconds, UTC)
    next_month = datetime(date.year + date.month // 12, date.month % 12 + 1, 1) if date.year < 9999 else None
    wanted = {
        "minute": date.minute,
        "hour": date.hour,
        "day_of_week": date.isoweekday() % 7,
        "day_of_month": date.day,
        "day_of_year": date.timetuple().tm_yday,
        "days_in_month": (next_month - datetime(date.year, date.month, 1)).days if next_month else 31,
        "month": date.month,
        "year": date.year,
    }
    if date.month != 12 or date.year < 9999:
        assert {name: part(np.array([float(seconds)]))[0] for name, part in DATE_PARTS.items()} == wanted


def test_no_date_is_nan() -> None:
    for part in DATE_PARTS.values():
        assert np.isnan(part(np.array([math.nan, math.inf, -math.inf, 1e300]))).all()


def test_lines_and_smoothing(given_series: Any) -> None:
    ask = given_series("x 0 60 120 180\nc 5 5 5 5")
    assert ask.at("deriv(x[10m])", 3) == {"{}": pytest.approx(1)}
    assert ask.at("predict_linear(x[10m], 60)", 3) == {"{}": pytest.approx(240)}
    assert ask.at("predict_linear(c[10m], 1e6)", 4) == {"{}": 5}
    assert ask.at("double_exponential_smoothing(x[10m], 0.5, 0.5)", 3) == {"{}": pytest.approx(180)}
    with pytest.raises(ExecutionError, match="invalid smoothing factor"):
        ask.at("holt_winters(x[10m], 1, 0.5)", 3)
