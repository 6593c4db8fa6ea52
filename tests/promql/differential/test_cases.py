"""Written questions to a real Prometheus 2.42 and to an agent, and generated ones that once failed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import chain
from typing import Any

import pytest

from metricsmith.testing.promql.duel import Duel, Question

Begin = Callable[..., Duel]

EXACT: list[str] = [
    # Numbers as text: ends of the range, subnormals, where exponents begin.
    *["ends", "faint", "faint * 2", "-ends", "ends / 3", "1 / ends", "odd", "wild[2m]", "faint[1m]"],
    *["1e21", "1e20", "-1e21", "1e-6", "1e-7", "0.1 + 0.2", "1 / 3", "-0", "1 / -Inf", "0 / 0", "5e-324"],
    *["vector(123456789.125)", 'count_values("number", ends)', 'count_values("number", faint)'],
    # The metric's name stays or goes.
    *[
        "-requests_total",
        "+requests_total",
        "requests_total > 5",
        "requests_total > bool 5",
        "5 < requests_total",
    ],
    *["last_over_time(level[1m])", "max_over_time(level[1m])", "sort(level)", "topk(3, level)", "abs(level)"],
    *["requests_total * 1", "requests_total and level", "level or requests_total", "level unless single"],
    *[
        "level > on (job, instance) steps",
        "level > ignoring (x) steps",
        "level == bool on (job, instance) level",
    ],
    *[
        "clamp_min(level, 0)",
        "round(level)",
        "timestamp(level)",
        "level offset 1m",
        "(level)",
        "((level))[1m:]",
    ],
    *[
        'label_replace(level, "__name__", "new", "", "")',
        'label_replace(level * 1, "__name__", "$1", "job", "(.*)")',
    ],
    *[
        'label_join(level, "__name__", "_", "job", "instance")',
        "sum by (__name__) (steps)",
        "max without () (level)",
    ],
    *[
        'sum by (__name__) ({__name__=~"steps|owner"})',
        'count without (instance) ({__name__=~"level|steps"})',
    ],
    'level * on (job) group_left (__name__) label_replace(owner, "__name__", "other", "", "")',
    # Label values: quotes, line breaks, not ASCII, empty, long.
    *["text", 'text{text=~"W.*"}', "text{text='quote\" back\\\\slash'}", 'text{text="line\\nbreak\\ttab"}'],
    *[
        'text{text=""}',
        'text{text!=""}',
        'text{text="x"}',
        r'text{text=~"a\\.\\*b\\|c\\$1"}',
        "text{text=`a.*b|c$1`}",
    ],
    *[
        'sum by (text) (text{kind!="k6"})',
        'count_values by (text) ("zz", text)',
        'label_join(text, "t", "", "text", "text")',
    ],
    # What is computed in Prometheus' order of operations.
    *[
        "rate(requests_total[5m])",
        "increase(seconds_bucket[90s])",
        "delta(level[5m])",
        "irate(jittered_total[1m])",
    ],
    *["rate(requests_total[5m]) == 0", "floor(increase(requests_total[3m]))", "quantile(0.3, level)"],
    *[
        "quantile_over_time(0.9, sparse[5m])",
        "holt_winters(level[5m], 0.3, 0.3)",
        "sqrt(flapping)",
        "deg(level)",
    ],
    *["histogram_quantile(0.9, rate(seconds_bucket[5m]))", "count_values('zz', rate(requests_total[1m]))"],
    # Empty, absent.
    *[
        "nothing",
        "absent(nothing)",
        'absent(nothing{a="1",b=~"x",c="2"})',
        'absent(sum(nothing{a="1"}))',
        "absent(level)",
    ],
    *[
        'absent_over_time(nothing{a="1"}[5m])',
        "absent_over_time(level[5m])",
        "absent_over_time(nothing[5m:1m])",
    ],
    *[
        "sum(nothing)",
        "count(nothing)",
        "scalar(nothing)",
        "scalar(level)",
        "nothing or vector(1)",
        "topk(1, nothing)",
    ],
    *[
        "vector(scalar(owner{job='api'}))",
        'absent(nothing{a="1",a="2"})',
        'absent({__name__="nothing",a=""})',
    ],
]
"""Asked once and over time; every bit must be equal."""

CLOSE: list[str] = [
    "sum by (job) (rate(jittered_total[5m]))",
    "rate(requests_total[5m]) / on (job) group_left (team) owner",
    "sum(rate(requests_total[5m])) / count(requests_total)",
    "sum by (job) (rate(requests_total[5m])) / ignoring (x) sum by (job) (increase(seconds_bucket[5m]))",
    "max_over_time(rate(jittered_total[2m])[10m:30s])",
    "avg_over_time(sum by (job) (rate(requests_total[1m]))[5m:17s] offset 90s)",
    "histogram_quantile(0.9, sum by (le) (rate(seconds_bucket[5m])))",
    "stddev(level) / avg(abs(level))",
    "quantile by (job) (0.7, rate(jittered_total[3m]))",
    "rate(level[5m])",
    "deriv(jittered_total[5m])",
    "predict_linear(sparse[20m], 3600)",
    "holt_winters(level[10m], 0.5, 0.1)",
    "1 + 2 * 3 ^ 2 ^ 0.5 % 5 atan2 2",
    "sum(abs(wild))",
    "sum_over_time(odd[3m])",
    "sum(odd)",
    "avg by (job) (odd)",
    "quantile by (instance) (0.4, odd)",
    "stddev_over_time(odd[3m])",
    "avg_over_time(odd[3m])",
    "quantile_over_time(0.5, odd[3m])",
    "avg(abs(wild))",
    "exp(level)",
    "level ^ 2 atan2 3",
]
"""Asked once and over time; equal to 1e-9."""

HISTOGRAMS: list[str] = [
    f"histogram_quantile({quantile}, {buckets})"
    for quantile in ("0", "0.3", "0.5", "0.99", "1", "-0.1", "1.1", "NaN", "scalar(single{job='api'})")
    for buckets in (
        "broken_bucket",
        "increase(broken_bucket[5m])",
        'broken_bucket{le!="+Inf"}',
        'broken_bucket{le="+Inf"}',
        "sum by (le) (broken_bucket)",
        "sum without (le) (broken_bucket)",
        "seconds_bucket * 0",
        "seconds_bucket * NaN",
        "-seconds_bucket",
        'label_replace(seconds_bucket, "le", "1e400", "le", "1")',
        'label_replace(seconds_bucket, "le", "1e0_1", "le", "1")',
        'label_replace(seconds_bucket, "le", " 1", "le", "1")',
        'label_replace(seconds_bucket, "le", "1_0", "le", "1")',
        'label_replace(seconds_bucket, "le", "infinity", "le", ".Inf")',
        "seconds_bucket or on (job, instance, le) broken_bucket",
        "odd",
    )
]
"""Well-formed and malformed histograms: each `job` of `broken_bucket` breaks another rule."""

TIMES: list[str] = [
    f"{function}({metric}{window}{modifier})"
    for function, window in (
        ("", ""),
        ("sum_over_time", "[2m]"),
        ("sum_over_time", "[2m:20s]"),
        ("rate", "[90s]"),
    )
    for metric in ("requests_total", "flapping", "passing", "odd", "sparse")
    for modifier in (
        *("", " offset 2m", " offset -2m", " offset -45m", " offset 1y", " @ start()", " @ end()"),
        *(
            " @ end() offset -1m30s",
            " offset 30s @ start()",
            " @ 1700000900",
            " @ 1700000900.5",
            " @ 0",
            " @ -7",
        ),
    )
]
"""What is seen of series with gaps and markers, through offsets, `@` and subqueries."""

SUBQUERIES: list[str] = [
    "flapping[3m:15s]",
    "flapping[3m:15s] offset 1m",
    "(flapping offset 1m)[3m:15s]",
    "(flapping @ end())[3m:15s]",
    "(flapping > 1.5)[3m:15s]",
    "max_over_time((flapping > 1.5)[3m:15s])",
    "count_over_time(absent(flapping{job='api',instance='a:1'})[10m:15s])",
    "min_over_time(sum(passing)[10m:1m] @ end())",
    "sum_over_time(max_over_time(level[1m])[5m:1m])",
    "max_over_time(sum_over_time(level[1m:20s])[5m:1m] offset -1m)",
    "sum_over_time(vector(time())[5m:1m])",
    "sum_over_time(vector(time())[5m:])",
    "last_over_time(timestamp(level)[5m:7s])",
    "rate(sum_over_time(requests_total[1m])[5m:1m] @ start())",
    "time()[5m:1m]",
    "1[2m:1m]",
    "level[0s:1s]",
    "level[5m:0s]",
]

REFUSED: list[str] = [
    *[
        "owner + on (job) requests_total",
        "requests_total + on (job) level",
        "level * on (job) group_left level",
    ],
    *['-{__name__=~"level|steps"}', 'abs({__name__=~"level|steps"})', 'rate({__name__=~"level|steps"}[5m])'],
    *[
        '{__name__=~"level|steps"} * 1',
        'last_over_time({__name__=~"level|steps"}[5m])',
        '{__name__=~"level|steps"}',
    ],
    *[
        'label_replace(level, "job", "x", "", "")',
        'label_join(level, "instance", "", "job")',
        'timestamp({__name__=~"level|steps"})',
    ],
    *[
        'sum_over_time({__name__=~"level|steps"}[5m])',
        'clamp({__name__=~"level|steps"}, 0, 1)',
        'round({__name__=~"level|steps"})',
    ],
    *[
        '{__name__=~"level|steps"} > 0',
        '{__name__=~"level|steps"} > bool 0',
    ],
    *['{__name__=~"level|steps"} and owner', '{__name__=~"level|steps"} or {__name__=~"many|steps"}'],
    *[
        'label_replace(level, "~", "x", "", "")',
        'label_replace(level, "x", "$1", "job", "(")',
        'label_join(level, "1x", "")',
    ],
    *[
        'label_replace(level, "", "x", "", "")',
        'label_replace(level, "x", "y", "~", "")',
        'label_join(level, "x", "", "~")',
    ],
    *[
        'count_values("a-b", level)',
        'count_values("", level)',
        "topk(NaN, level)",
        "topk(1e30, level)",
        "bottomk(-Inf, level)",
    ],
    *[
        "holt_winters(level[5m], 1, 0.5)",
        "holt_winters(level[5m], 0.5, 0)",
        "holt_winters(nothing[5m], 2, 2)",
    ],
    *["topk(NaN, nothing)", 'count_values("a-b", nothing)', 'label_replace(nothing, "~", "x", "", "")'],
    *[
        "sum(",
        "level[5m] + 1",
        "sum by (a, ) (level)",
        "1 and level",
        "{}",
        '{a=~".*"}',
        "rate(level)",
        "level[5m][5m]",
    ],
    *[
        "level offset",
        "level @ x",
        "level offset 1m offset 1m",
        "nothing(level)",
        "1 > 2",
        "level > bool",
        '"a" + 1',
    ],
]
"""Refused by both for the same class of reason, or by neither."""

FOUND: list[Question] = [
    Question("rad(ends)", precision="exact"),
    Question("deg(level)", precision="exact"),
    Question("clamp_min(odd * 0, 0)", minutes=10, step_s=15, precision="exact"),
    Question("odd ^ 0.5", minutes=10, step_s=15),
    Question("(odd * 0) ^ 0.5", minutes=10, step_s=15),
    Question("sparse < bool ignoring (zone) group_left (__name__, absent) moment", 36),
    Question("sparse + ignoring (zone) group_left (__name__, absent) moment", 36),
    Question("holt_winters(seconds_bucket[1m], scalar(nothing), 0.5)"),
    Question("holt_winters(single[5m], 0.5, 0)", 25, 15, 600),
    Question("rad(single)", 25, 15, 600),
    Question("predict_linear(level[1m], scalar(steps{job='api',instance='a:1'}))", minutes=10, step_s=15),
]
"""Generated questions that were once answered differently, made small."""


def _once_and_over_time(query: str) -> list[Question]:
    """Return when a query is asked: once, between samples and over all of the last minutes."""
    return [
        Question(query, ordered=query.startswith(("sort", "topk"))),
        Question(query, 18.25, 6, 17),
        Question(query, 36, 10, 60),
    ]


def _differences(duel: Duel, questions: Iterable[Question], **precision: Any) -> str:
    asked = [replace(question, **precision) for question in questions]
    return "\n".join(f"{question}: {found}" for question in asked if (found := duel.difference(question)))


@pytest.mark.parametrize("query", EXACT)
def test_answers_are_equal_to_the_last_bit(begin: Begin, query: str) -> None:
    assert _differences(begin(), _once_and_over_time(query), precision="exact") == ""


@pytest.mark.parametrize("query", CLOSE)
def test_answers_are_nearly_equal(begin: Begin, query: str) -> None:
    assert _differences(begin(), _once_and_over_time(query), absolute=1e-10) == ""


@pytest.mark.parametrize("query", REFUSED)
def test_refusals_are_equal(begin: Begin, query: str) -> None:
    assert _differences(begin(), _once_and_over_time(query)) == ""


@pytest.mark.parametrize("table", [HISTOGRAMS, SUBQUERIES], ids=["histograms", "subqueries"])
def test_answers_of_a_table_are_nearly_equal(begin: Begin, table: list[str]) -> None:
    assert _differences(begin(), chain.from_iterable(map(_once_and_over_time, table)), absolute=1e-10) == ""


# The seeds are those of the generated queries, whose servers run already.
@pytest.mark.parametrize(("seed", "lookback"), [(1, "5m"), (2, "47s"), (3, "20m")])
def test_samples_are_seen_through_modifiers_alike(begin: Begin, seed: int, lookback: str) -> None:
    assert _differences(begin(seed, lookback), chain.from_iterable(map(_once_and_over_time, TIMES))) == ""


def test_generated_questions_that_once_failed(begin: Begin) -> None:
    assert _differences(begin(), FOUND) == ""
