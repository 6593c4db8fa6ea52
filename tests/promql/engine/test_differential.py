"""The same questions to the engine and to a real Prometheus 2.42: the same answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, note
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

METRICS = [
    "requests_total",
    "jittered_total",
    "level",
    "odd",
    "sparse",
    "flapping",
    "seconds_bucket",
    "owner",
]
LABELS = ["job", "instance", "zone", "le", "team", "absent"]
MATCHERS = ['job="api"', 'job!="api"', 'instance=~"a.*|b.*"', 'instance!~"a.*"', 'le="0.5"', 'zone=""']
RANGES = ["1m", "5m", "47s", "10m"]
OVER_TIME = ["avg", "min", "max", "sum", "count", "last", "present", "stddev", "stdvar"]
OF_RANGE = ["rate", "increase", "delta", "irate", "idelta", "changes", "resets"]
ELEMENTWISE = ["abs", "exp", "ln", "log2", "log10", "sqrt", "timestamp"]
STEPWISE = ["ceil", "floor", "round", "sgn"]
PLAIN_AGGREGATIONS = ["sum", "avg", "min", "max", "count", "group"]
ARITHMETIC = ["+", "-", "*", "/", "^", "atan2"]
COMPARISONS = ["==", "!=", ">", "<", ">=", "<="]
MINUTE_MS = 60_000


class Questions:
    """Draws well-typed queries over the dataset's metrics."""

    def __init__(self, draw: DrawFn) -> None:
        self._draw = draw

    def _one(self, choices: list[str]) -> str:
        return self._draw(st.sampled_from(choices))

    def _some(self, choices: list[str]) -> str:
        return ",".join(self._draw(st.lists(st.sampled_from(choices), max_size=2, unique=True)))

    def _selector(self, metrics: list[str] = METRICS) -> str:
        matchers = self._some(MATCHERS)
        return f"{self._one(metrics)}{{{matchers}}}" if matchers else self._one(metrics)

    def _modifier(self) -> str:
        return self._one(["", "", "", " offset 3m", " offset -2m", " @ start()", " @ end() offset 1m"])

    def _ranged(self, depth: int) -> str:
        if depth > 0 and self._one(["selector", "selector", "subquery"]) == "subquery":
            return f"({self.vector(depth - 1)})[{self._one(RANGES)}:{self._one(['', '30s', '17s'])}]"
        return f"{self._selector()}[{self._one(RANGES)}]{self._modifier()}"

    def scalar(self) -> str:
        return self._one(["0", "1", "2.5", "-3", "Inf", "NaN", "time()", "scalar(owner{job='api'})"])

    def vector(self, depth: int) -> str:
        if depth == 0:
            return self._selector() + self._modifier()
        below = depth - 1
        match self._draw(st.integers(0, 9)):
            case 0:
                return f"{self._one(OF_RANGE)}({self._ranged(below)})"
            case 1 if self._one(["line", "other"]) == "line":
                # Of finite values: of others Prometheus' sums depend on where they stand.
                of = f"{self._one(['level', 'sparse', 'requests_total'])}[{self._one(RANGES)}]"
                return self._one(
                    [f"deriv({of})", f"predict_linear({of}, 600)", f"holt_winters({of}, 0.3, 0.6)"]
                )
            case 1:
                return f"{self._one(OVER_TIME)}_over_time({self._ranged(below)})"
            case 2:
                quantile = self._one(["0", "0.3", "0.95", "1", "1.2", "-1"])
                return f"quantile_over_time({quantile}, {self._ranged(below)})"
            case 3 if self._one(["stepwise", "other"]) == "stepwise":
                # Only of what was stored: a step makes the last bit of its operand the first.
                return f"{self._one(STEPWISE)}({self._selector()})"
            case 3:
                return f"{self._one(ELEMENTWISE)}({self.vector(below)})"
            case 4:
                return f"{self._one(PLAIN_AGGREGATIONS)}{self._grouping()}({self.vector(below)})"
            case 5 if self._draw(st.booleans()):
                # Only finite values: before 3.0 the deviation of a single NaN or infinity was 0.
                of = self._selector(["level", "sparse", "requests_total"])
                return f"{self._one(['stddev', 'stdvar'])}{self._grouping()}({of})"
            case 5:
                # Only values without ties: which of equals is chosen depends on the order in storage.
                op = self._one(["topk", "bottomk", "quantile"])
                of = self._selector(["level", "sparse"])
                return f"{op}{self._grouping()}({self._one(['0.4', '1', '3'])}, {of})"
            case 6 if self._one(["%", "other"]) == "%":
                # Only of what was stored: a remainder makes the last bit of its operands the first.
                return f"({self._selector()} % {self._one(['3', '-2.5', '0', 'Inf'])})"
            case 6:
                sides = self._draw(st.permutations([self.vector(below), self.scalar()]))
                return f"({sides[0]} {self._one(ARITHMETIC + COMPARISONS)} {sides[1]})"
            case 7:
                return self._between_vectors(below)
            case 8:
                return f"histogram_quantile({self._one(['0.5', '0.9', '1.5'])}, {self._buckets()})"
            case _:
                return self._labelled(below)

    def _grouping(self) -> str:
        return self._one(["", f" by ({self._some(LABELS)})", f" without ({self._some(LABELS)})"])

    def _buckets(self) -> str:
        return self._one(
            ["seconds_bucket", "rate(seconds_bucket[5m])", "sum by (le, job) (rate(seconds_bucket[2m]))"]
        )

    def _between_vectors(self, depth: int) -> str:
        left, right = self.vector(depth), self.vector(depth)
        matching = self._one(["", f" on ({self._some(LABELS)})", f" ignoring ({self._some(LABELS)})"])
        if self._draw(st.booleans()):
            return f"({left} {self._one(['and', 'or', 'unless'])}{matching} {right})"
        op = self._one(ARITHMETIC + COMPARISONS)
        bool_ = " bool" if op in COMPARISONS and self._draw(st.booleans()) else ""
        if self._draw(st.booleans()):
            grouped = self._one(["", "team", "zone, team"])
            return f"({left} {op}{bool_} on (job) group_left ({grouped}) owner)"
        return f"({left} {op}{bool_}{matching} {right})"

    def _labelled(self, depth: int) -> str:
        inner = self.vector(depth)
        return self._one(
            [
                f'label_replace({inner}, "job", "${{1}}x", "instance", "(.):.*")',
                f'label_join({inner}, "both", "-", "job", "instance")',
                f"absent({inner})",
                f'count_values{self._grouping()}("value", {self._selector(["odd", "owner", "sparse"])})',
                f"absent_over_time({self._ranged(0)})",
                f"sort({inner})",
                f"-{inner}",
                f"clamp({inner}, 0, {self._one(['3', '-1', 'NaN'])})",
                f"clamp_min({inner}, 1)",
                f"vector(scalar({inner}))",
                # Of numbers that are dates: what Go makes of others depends on the processor.
                f"minute({self._selector(['requests_total'])})",
            ]
        )


@st.composite
def questions(draw: DrawFn) -> str:
    return Questions(draw).vector(draw(st.integers(0, 3)))


@given(
    query=questions(),
    start=st.integers(-5, 30),
    minutes=st.integers(0, 12),
    step=st.sampled_from([0, 13, 15, 60, 300]),
)
def test_answers_as_prometheus_does(
    differences: Callable[..., str], dataset: Any, query: str, start: int, minutes: int, step: int
) -> None:
    start_ms = dataset.start_ms + start * MINUTE_MS
    note(f"{query} at +{start}m for {minutes}m step {step}s")
    assert differences(query, start_ms, start_ms + minutes * MINUTE_MS, step * 1000) == ""


@pytest.mark.parametrize(
    "query",
    [
        "requests_total",
        "requests_total[1m]",
        "rate(requests_total[5m])[3m:1m]",
        "sum by (job) (rate(jittered_total[5m]))",
        "rate(requests_total[5m]) / on (job) group_left (team) owner",
        "owner + on (job) requests_total",
        "requests_total + on (job) level",
        "sum(rate(requests_total[5m])) / count(requests_total)",
        "histogram_quantile(0.9, sum by (le) (rate(seconds_bucket[5m])))",
        "max_over_time(rate(jittered_total[2m])[10m:30s])",
        "time() - timestamp(flapping)",
        'level > 0 or sparse{zone="a"}',
        "1 + 2 * 3 ^ 2 % 5",
    ],
)
def test_answers_common_questions_as_prometheus_does(
    differences: Callable[..., str], dataset: Any, query: str
) -> None:
    at = dataset.start_ms + 20 * MINUTE_MS
    assert differences(query, at, at, 0) == ""
    assert differences(query, at, at + 10 * MINUTE_MS, 30_000) == ""
