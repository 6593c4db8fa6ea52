"""Queries made to exhaust: each answers or is refused by name, soon and in little memory."""

from __future__ import annotations

import contextlib
import math
import time

import pytest

from metricsmith.errors import ExecutionError, ParseError, QueryError, QueryLimitExceeded, QueryTimeout
from metricsmith.model.labels import decode_labels
from metricsmith.promql import Engine, EngineConfig
from metricsmith.promql import budget as budgets
from metricsmith.promql.functions import FUNCTIONS
from metricsmith.promql.memory import MemorySeries

TIMES = list(range(0, 600_001, 15_000))
SERIES: list[tuple[dict[str, str], list[int], list[float]]] = [
    ({"__name__": "x", "i": str(i), "job": "ab"[i % 2]}, TIMES, [float(i * k) for k in range(len(TIMES))])
    for i in range(20)
]
SERIES.append(({"__name__": "long", "v": "a" * 5000}, TIMES, [1.0] * len(TIMES)))
NOW = 600_000


@pytest.fixture(scope="module")
def engine() -> Engine:
    """An engine with small limits."""
    config = EngineConfig(max_samples=200_000, timeout_s=5, max_subquery_steps=100_000)
    return Engine(MemorySeries(SERIES), config)


@pytest.mark.parametrize(
    ("query", "error", "message"),
    [
        # Regular expressions
        ('x{i=~"(a{1000}){1000}"}', ParseError, "error parsing regexp"),
        ('x{i=~"((((a{1,100}){1,100}){1,100}){1,100})"}', ParseError, "invalid repetition size"),
        ('label_replace(x, "d", "$1", "i", "((a{1000}){1000})")', ExecutionError, "regular expression"),
        # Labels
        ('label_replace(long, "d", "' + "$1" * 20 + '", "v", "(.*)")', ExecutionError, "at most 65536"),
        ('count_values("", x)', ExecutionError, "invalid label name"),
        # Parameters
        ("topk(9.3e18, x)", ExecutionError, "overflows int64"),
        ("limitk(-Inf, x)", ExecutionError, "overflows int64"),
        ("limit_ratio(NaN, x)", ExecutionError, "NaN"),
        ("double_exponential_smoothing(x[5m], Inf, 0.5)", ExecutionError, "smoothing factor"),
        # Ranges, steps, offsets
        ("sum_over_time(x[290y:1ms])", QueryLimitExceeded, "subquery of 9145440000000 steps"),
        (
            "sum_over_time(sum_over_time(sum_over_time(x[1h:1s])[1h:1s])[1h:1s])",
            QueryLimitExceeded,
            "too many samples",
        ),
        ("x[9223372037]", ParseError, "duration out of range"),
        ("x[2^63]", ExecutionError, "wanted one below 292 years"),
        ("x[1e-9]", ExecutionError, "got a range of 0 ms"),
        ("max_over_time(x[5m:1m - 2m])", ExecutionError, "got a step of -60000 ms"),
        ("max_over_time(x[5m:0.0001])", ExecutionError, "got a step of 0 ms"),
        ("x offset (1 / (step() - step()))", ExecutionError, "got a duration of inf seconds"),
        ("x offset 1e300", ParseError, "duration out of range"),
        # Times
        ("x @ 1e30", ParseError, "timestamp out of bounds"),
        ("x @ NaN", ParseError, "timestamp out of bounds"),
        ("x @ 9.2e15", ExecutionError, "at most 2\\^62"),
        ("x @ -9.2e15 offset 290y", ExecutionError, "at most 2\\^62"),
    ],
)
def test_what_asks_for_too_much_is_refused_by_name(
    engine: Engine, query: str, error: type[QueryError], message: str
) -> None:
    with pytest.raises(error, match=message):
        engine.instant(query, NOW)


@pytest.mark.parametrize(
    ("query", "series"),
    [
        ('x{i=~"((.*)*)*(.*)*1"}', 2),
        ('long{v=~"(a|aa)+(a|aa)*b"}', 0),
        ('label_replace(long, "d", "$1", "v", "((a|aa)+)+b")', 1),
        ('label_replace(x, "d", "${none}$99$$", "i", "(?P<name>.)")', 20),
        ("topk(1e18, x)", 20),
        ("bottomk(-1e18, x)", 0),
        ("quantile(NaN, x)", 1),
        ("histogram_quantile(NaN, x)", 0),
        ("quantile_over_time(-Inf, x[5m])", 20),
        ("rate(x[290y])", 20),
        ("x offset 290y", 0),
        ("x offset -290y", 0),
        ("x @ 1e15 offset -290y", 0),
        ("x[290y:290y] @ 1e15", 0),
        ("clamp(x, Inf, -Inf)", 0),
        ("round(x, 0)", 20),
        ("predict_linear(x[5m], 1e308)", 20),
        ("year(vector(9e18))", 1),
        ("days_in_month(vector(-1e300))", 1),
        ("hour(vector(NaN))", 1),
        ('count_values("v", x)', 20),
        ("vector(1e308) * 1e308 ^ 1e308", 1),
    ],
)
def test_what_is_only_strange_is_answered(engine: Engine, query: str, series: int) -> None:
    assert len(engine.instant(query, NOW).keys) == series


def test_many_different_values_are_bounded(engine: Engine) -> None:
    with pytest.raises(QueryLimitExceeded, match="too many samples"):
        engine.range('count_values("v", vector(time()))', 0, 10_000_000, 1000)


@pytest.mark.parametrize("time_ms", [-(2**53), 0, 9_300_000_000_000, 253_402_300_800_000, 2**53])
def test_any_time_can_be_asked_about(engine: Engine, time_ms: int) -> None:
    for query in ("x", "rate(x[290y])", "time()", "year()", "x offset -290y", "timestamp(vector(1))"):
        engine.instant(query, time_ms)
        engine.range(query, time_ms - 2000 if time_ms > 0 else time_ms, time_ms if time_ms > 0 else 0, 2**52)


@pytest.mark.parametrize("time_ms", [2**53 + 1, -(2**63), 2**63, 2**70])
def test_times_that_no_sample_has_are_refused(engine: Engine, time_ms: int) -> None:
    for ask in (
        lambda: engine.instant("x", time_ms),
        lambda: engine.range("x", time_ms, time_ms, 1),
        lambda: engine.range("x", 0, 0, abs(time_ms)),
    ):
        with pytest.raises(ExecutionError, match="wanted at most 2\\^53 from 1970"):
            ask()


def test_labels_that_are_long_and_many_are_refused(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    monkeypatch.setattr(budgets, "MAX_LABEL_BYTES", 10_000)
    assert engine.instant('label_join(x, "d", "", "i")', NOW).keys
    joined = ", ".join(['"v"'] * 4)
    with pytest.raises(QueryLimitExceeded, match="too many labels"):
        engine.instant(f'label_join(long, "d", "", {joined})', NOW)


class Hurried:
    """A clock on which each look costs a tenth of a second."""

    def __init__(self) -> None:
        self._now = 0.0

    def monotonic(self) -> float:
        self._now += 0.1
        return self._now

    def now_ms(self) -> int:
        return 0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError


@pytest.mark.parametrize(
    "query",
    [
        'label_replace(x, "d", "$1", "i", "(.*)")',
        'label_join(x, "d", "", "i")',
        "topk by (i) (1, x)",
        "quantile by (i) (0.5, x)",
        'count_values("v", x)',
    ],
)
def test_work_per_series_or_group_looks_at_the_time(query: str) -> None:
    with pytest.raises(QueryTimeout):
        Engine(MemorySeries(SERIES), EngineConfig(timeout_s=2), Hurried()).instant(query, NOW)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e308, -0.0, 5e-324])
def test_extreme_parameters_of_every_function_answer_or_are_refused(engine: Engine, value: float) -> None:
    number = {"inf": "Inf", "-inf": "-Inf", "nan": "NaN"}.get(str(value), repr(value))
    arguments = {"scalar": number, "string": '"a"', "instant vector": "x", "range vector": "x[5m]"}
    began = time.process_time()
    for function in FUNCTIONS.values():
        for count in range(function.least, min(function.most, 4) + 1):
            query = f"{function.name}({', '.join(arguments[function.arg_type(i)] for i in range(count))})"
            with contextlib.suppress(QueryError):
                engine.instant(query, NOW)
            with contextlib.suppress(QueryError):
                engine.range(query, 0, NOW, 60_000)
    assert time.process_time() - began < 20


def test_thousands_of_labels_cost_no_more_than_those_that_series_have(engine: Engine) -> None:
    names = [f"a{i}" for i in range(20_000)]
    labels, strings = ", ".join([*names, "job"]), ", ".join(f'"{name}"' for name in [*names, "i"])
    began = time.process_time()
    joined = engine.instant(f"x * on (i) group_left ({labels}) label_replace(x, 'job', 'c', '', '')", NOW)
    assert {key.rpartition(b"\xfe")[2] for key in joined.keys} == {b"c"}
    dropped = engine.instant(f"x * on (i) group_left ({labels}) sum by (i) (x)", NOW)
    assert not any(b"job" in key for key in dropped.keys)
    ordered = engine.instant(f"sort_by_label(x, {strings})", NOW)
    assert [decode_labels(key)["i"] for key in ordered.keys] == [str(i) for i in range(20)]
    assert len(engine.instant(f"sum by ({labels}) (x)", NOW).keys) == 2
    assert len(engine.instant(f"x and ignoring ({labels}) x", NOW).keys) == 20
    assert time.process_time() - began < 10
