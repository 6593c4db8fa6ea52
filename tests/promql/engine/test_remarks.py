"""Remarks that come with an answer, in Prometheus' words, with the place in the query that is meant."""

from __future__ import annotations

from typing import Any

import pytest

from metricsmith.promql import Engine
from metricsmith.promql.memory import MemorySeries
from metricsmith.promql.remarks import MOST_SHOWN, general

SERIES = """
gauge{a="1"} 1 2 3
gauge{a="2"} 1 2 3
x_total 1 2 3
b_bucket{le="1"} 3 3 3
b_bucket{le="2"} 3 1 2
b_bucket{le="+Inf"} 8 8 8
b_bucket{le="wide"} 1 1 1
"""
NON_COUNTER = "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket:"
QUANTILE = "PromQL warning: quantile value should be between 0 and 1, got"
BUCKET = 'PromQL warning: bucket label "le" is missing or has a malformed value of'
SORT = (
    "PromQL warning: sort is ineffective for range queries since results are always ordered by labels (1:{})"
)
FALL = (
    "PromQL info: input to histogram_quantile needed to be fixed for monotonicity "
    "(see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile), "
    "from buckets 2 to 2, with a max diff of {}, over {} samples from 1970-01-01T{}Z to 1970-01-01T00:02:00Z"
)


@pytest.mark.parametrize(
    ("query", "remarks"),
    [
        ("rate(x_total[5m])", []),
        ("rate(gauge[5m])", [f'{NON_COUNTER} "gauge" (1:6)']),
        ("1 +\n  sum(increase( (gauge)[5m:]))", [f'{NON_COUNTER} "gauge" (2:17)']),
        ("rate(gauge[5m]) + rate(gauge[5m])", [f'{NON_COUNTER} "gauge" (1:6)']),
        ("rate(gauge[5m]) + rate(gauge[1m:30s])", [f'{NON_COUNTER} "gauge" (1:6)']),
        ("rate({__name__=~'gauge|x.*'}[5m])", [f'{NON_COUNTER} "gauge" (1:6)']),
        ("rate(nothing[5m])", []),
        ("rate(sum(gauge)[5m:1m])", []),
        ("irate(gauge[5m])", []),
        ("delta(gauge[5m])", []),
        ("quantile(1.5, gauge)", [f"{QUANTILE} 1.5 (1:10)"]),
        ("quantile by (a) ( -1, gauge)", [f"{QUANTILE} -1 (1:19)"]),
        ("quantile(NaN, gauge)", [f"{QUANTILE} NaN (1:10)"]),
        ("quantile(0, gauge)", []),
        ("quantile_over_time(2, gauge[5m])", [f"{QUANTILE} 2 (1:20)"]),
        ("quantile_over_time(2, nothing[5m])", []),
        ("histogram_quantile(1e7, b_bucket)", [f"{QUANTILE} 1e+07 (1:20)", f'{BUCKET} "wide" (1:25)']),
        ("histogram_quantile(0.5, gauge)", [f'{BUCKET} "" (1:25)']),
        (
            "histogram_quantile(0.5, {__name__='b_bucket', le!='wide'})",
            [FALL.format(1, 1, "00:02:00") + " (1:25)"],
        ),
        ("sort(gauge)", []),
    ],
)
def test_remarks_of_an_instant_query(query: str, remarks: list[str], given_series: Any) -> None:
    result = given_series(SERIES).engine.instant(query, 120_000)
    assert result.warnings + result.infos == remarks


@pytest.mark.parametrize(
    ("query", "remarks"),
    [
        ("sort(gauge)", [SORT.format(1)]),
        ("1 + sort_desc(gauge)", [SORT.format(5)]),
        ("sort(gauge @ 60)", []),
        (
            "quantile(time() / 60, gauge)",
            [f"{QUANTILE} 2 (1:10)"],
        ),
        (
            "histogram_quantile(0.5, b_bucket{le!='wide'})",
            [FALL.format(2, 2, "00:01:00") + " (1:25)"],
        ),
    ],
)
def test_remarks_of_a_range_query(query: str, remarks: list[str], given_series: Any) -> None:
    result = given_series(SERIES).engine.range(query, 0, 120_000, 60_000)
    assert result.warnings + result.infos == remarks


def test_a_bucket_that_is_missing_is_not_one_that_fell(given_series: Any) -> None:
    ask = given_series('b{le="1"} 3 3\nb{le="2"} 5 stale\nb{le="+Inf"} 8 8')
    assert ask.engine.range("histogram_quantile(0.5, b)", 0, 60_000, 60_000).infos == []


def test_an_answer_has_ten_remarks_of_a_kind_and_says_how_many_were_left_out() -> None:
    series = [({"__name__": f"gauge_{i:02}", "i": str(i)}, [0, 30_000], [1.0, 2.0]) for i in range(15)]
    query = 'rate({__name__=~"gauge.*"}[5m]) + on () group_left () quantile(-time(), vector(1))'
    result = Engine(MemorySeries(series)).range(query, 60_000, 60_000 + 11_000, 1000)
    assert result.infos[:2] == [f'{NON_COUNTER} "gauge_00" (1:6)', f'{NON_COUNTER} "gauge_01" (1:6)']
    assert result.infos[MOST_SHOWN:] == ["5 more info annotations omitted"]
    assert result.warnings[MOST_SHOWN:] == ["2 more warning annotations omitted"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "-0"),
        (100000.0, "100000"),
        (999999.5, "999999.5"),
        (1e6, "1e+06"),
        (1.5e300, "1.5e+300"),
        (0.0001, "0.0001"),
        (-0.00001234, "-1.234e-05"),
        (5e-324, "5e-324"),
        (float("inf"), "+Inf"),
    ],
)
def test_numbers_in_remarks_look_as_go_prints_them(value: float, text: str) -> None:
    assert general(value) == text
