"""What a query answers: kinds of results, time, staleness, limits, plans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from metricsmith.errors import ExecutionError, ParseError, QueryLimitExceeded, QueryTimeout
from metricsmith.model.matchers import Matcher
from metricsmith.model.selection import Selection
from metricsmith.promql import Engine, EngineConfig, evaluate, over_windows, to_api
from metricsmith.promql.memory import MemorySeries

UP = [({"__name__": "up", "job": job}, [0, 60_000], [1.0, value]) for job, value in (("a", 2.0), ("b", 3.5))]


@pytest.mark.parametrize(
    ("query", "kind", "answer"),
    [
        ("1 + 1", "scalar", [60, "2"]),
        ('"text"', "string", [60, "text"]),
        ("sum(up)", "vector", [{"metric": {}, "value": [60, "5.5"]}]),
        ("up > 3", "vector", [{"metric": {"__name__": "up", "job": "b"}, "value": [60, "3.5"]}]),
        (
            'up{job="a"}[2m]',
            "matrix",
            [{"metric": {"__name__": "up", "job": "a"}, "values": [[0, "1"], [60, "2"]]}],
        ),
        ("nothing", "vector", []),
        ("nothing[5m]", "matrix", []),
        ("sum(nothing)", "vector", []),
    ],
)
def test_an_instant_query_answers_its_kind(query: str, kind: str, answer: object) -> None:
    assert evaluate(query, UP, time=60_000) == {"resultType": kind, "result": answer}


def test_a_range_query_answers_a_matrix_in_label_order() -> None:
    data = evaluate("-up", UP, start=0, end=90_000, step=45_000)
    assert data == {
        "resultType": "matrix",
        "result": [
            {"metric": {"job": "a"}, "values": [[0, "-1"], [45, "-1"], [90, "-2"]]},
            {"metric": {"job": "b"}, "values": [[0, "-1"], [45, "-1"], [90, "-3.5"]]},
        ],
    }
    assert evaluate("time()", UP, start=0, end=90_000, step=90_000)["result"] == [
        {"metric": {}, "values": [[0, "0"], [90, "90"]]}
    ]


@pytest.mark.parametrize(
    ("query", "kind"), [('"text"', "string"), ("up[5m]", "range vector"), ("(up[5m:1m])", "range vector")]
)
def test_a_range_query_needs_numbers_at_each_step(query: str, kind: str) -> None:
    with pytest.raises(ExecutionError, match=f'invalid expression type "{kind}" for range query'):
        evaluate(query, UP, start=0, end=60_000, step=60_000)


def test_windows_and_lookback_leave_out_their_start_unless_told(given_series: Any) -> None:
    lines = "x 1 2 3 4 5 6 7"
    modern, before = given_series(lines), given_series(lines, EngineConfig(closed_windows=True))
    assert modern.at("count_over_time(x[2m])", 4) == {"{}": 2}
    assert before.at("count_over_time(x[2m])", 4) == {"{}": 3}
    assert modern.at("count_over_time(x[2m:1m])", 4) == {"{}": 2}
    assert before.at("count_over_time(x[2m:1m])", 4) == {"{}": 3}
    assert modern.at("x", 11) == {}
    assert before.at("x", 11) == {"x": 7}


def test_lookback_can_be_set(given_series: Any) -> None:
    ask = given_series("x 1", EngineConfig(lookback_ms=60_000))
    assert ask.over("x", 2, 30) == {"x": [1, 1, None, None, None]}
    assert ask.engine.instant("x", 90_000, lookback_ms=120_000).values.tolist() == [[1]]


def test_a_series_ends_at_a_staleness_marker_but_windows_ignore_it(given_series: Any) -> None:
    ask = given_series('x{i="a"} 1 2 stale _ 5\nx{i="b"} 1 2 3 4 5')
    assert ask.over("x", 4)["x{i='a'}"] == [1, 2, None, None, 5]
    assert ask.over("count_over_time(x[3m])", 4)["{i='a'}"] == [1, 2, 2, 1, 1]


def test_a_real_nan_is_a_value(given_series: Any) -> None:
    ask = given_series("x 1 nan")
    assert np.isnan(ask.at("x", 1)["x"])
    assert ask.at("count(x)", 1) == {"{}": 1}


def test_offset_and_at_move_the_time_looked_at(given_series: Any) -> None:
    ask = given_series("x 0 1 2 3 4 5")
    assert ask.over("x offset 2m", 5)["x"] == [None, None, 0, 1, 2, 3]
    assert ask.over("x offset -1m", 3)["x"] == [1, 2, 3, 4]
    assert ask.over("x @ 120", 5)["x"] == [2] * 6
    assert ask.over("x @ end() - x @ start()", 5)["{}"] == [5] * 6
    assert ask.over("sum_over_time(x[2m] @ 180 offset 1m)", 2)["{}"] == [3] * 3
    assert ask.over("quantile_over_time(time() / 120, x[2m] @ 180)", 2)["{}"] == [2, 2.5, 3]


def test_a_subquery_is_aligned_to_its_step(given_series: Any) -> None:
    ask = given_series("x 0 1 2 3 4 5 6")
    assert ask.engine.instant("(x + 0)[3m:2m]", 5 * 60_000 + 1).raw is not None
    raw = ask.engine.instant("(x + 0)[3m:2m]", 5 * 60_000 + 1).raw
    assert raw.times.tolist() == [240_000]
    assert ask.at("max_over_time(sum(x)[4m:])", 6) == {"{}": 6}
    assert ask.over("max_over_time(rate(x[2m])[10s:1m])", 3, 30) != {}


class CountingStore:
    """Counts selections."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []
        self._series = MemorySeries(UP)

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, limit: int | None = None
    ) -> Selection:
        self.asked.append((start_ms, end_ms))
        return self._series.select(matchers, start_ms, end_ms, limit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._series, name)


def test_selectors_that_recur_are_fetched_once_unless_far_apart() -> None:
    store = CountingStore()
    engine = Engine(store)
    engine.instant("rate(up[5m]) / rate(up[5m]) + on (job) max_over_time(up[10m]) - up", 600_000)
    assert store.asked == [(1, 600_000)]
    store.asked.clear()
    engine.instant("up - up offset 1w", 600_000)
    assert len(store.asked) == 2


def test_the_plan_names_each_step() -> None:
    plan = Engine(MemorySeries([])).explain(
        'sum by (job) (rate(up{job!="x"}[5m] offset 1m)) / on (job) group_left () vector(2) > bool 1',
        600_000,
        660_000,
        30_000,
    )
    assert plan.splitlines() == [
        '#0 windows of 5m at 3 steps of 30s from 540000 over {__name__="up",job!="x"} from 240001 to 600000',
        "#1 rate(#0)",
        "#2 sum by (job) (#1)",
        "#3 number 2",
        "#4 vector(#3)",
        "#5 repeat #4 at 3 steps",
        "#6 #2 / on (job) group_left () #5",
        "#7 number 1",
        "#8 repeat #7 at 3 steps",
        "#9 #6 > bool #8",
    ]


def test_a_fixed_time_and_a_subquery_of_one_step_are_not_mistaken_for_each_other(given_series: Any) -> None:
    ask = given_series("x 1 2 3")
    assert ask.over("sum_over_time(last_over_time(x[1m])[1ms:1ms] @ 60) + last_over_time(x[1m] @ 60)", 2) == {
        "{}": [4, 4, 4]
    }


def test_what_does_not_change_is_computed_once() -> None:
    plan = Engine(MemorySeries([])).explain(
        "up + sum(rate(up[5m] @ 0)) + sum(rate(up[5m] @ 0))", 0, 60_000, 1000
    )
    assert plan.count("rate(") == 1
    assert plan.index("repeat") > plan.index("sum")


def test_a_sum_of_thousands_of_terms_is_answered() -> None:
    # What was used is let go: only a few steps' results are held at a time.
    config = EngineConfig(max_samples=20)
    data = evaluate(" + ".join(["up"] * 5000), UP, time=0, limits=config)
    assert data["result"][0]["value"][1] == "5000"


@pytest.mark.parametrize(
    ("query", "error", "message"),
    [
        ("sum(", ParseError, "parse error"),
        ("limitk(NaN, up)", ExecutionError, "value NaN overflows int64"),
        ("limit_ratio(NaN, up)", ExecutionError, "Ratio value is NaN"),
        ("sum_over_time(up[1y:1ms])", QueryLimitExceeded, "subquery of .* steps"),
        ("up[1m - 2m]", ExecutionError, "wanted one above zero"),
        ('label_replace(up, "a", "$1", "job", "(")', ExecutionError, "regular expression"),
        ('count_values("", up)', ExecutionError, "invalid label name"),
        ("topk(NaN, up)", ExecutionError, "value NaN overflows int64"),
        ("topk(Inf, up)", ExecutionError, "value \\+Inf overflows int64"),
    ],
)
def test_what_cannot_be_answered_says_why(query: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        evaluate(query, UP, time=0)


@pytest.mark.parametrize(
    ("query", "steps"),
    [
        ("up", 1),  # two series of two samples
        ("vector(1)", 100),
        ("sum_over_time(vector(1)[1h:1s])", 1),
        ("sum_over_time(vector(1)[1y:1s])", 1),
        ('count_values("v", vector(time()))', 8),
    ],
)
def test_a_query_that_needs_too_many_samples_ends(query: str, steps: int) -> None:
    engine = Engine(MemorySeries(UP), EngineConfig(max_samples=3 if query == "up" else 50))
    with pytest.raises(QueryLimitExceeded, match="wanted at most"):
        engine.range(query, 60_000, 60_000 + (steps - 1) * 1000, 1000)


def test_too_many_steps_or_none_are_refused() -> None:
    engine = Engine(MemorySeries(UP))
    with pytest.raises(QueryLimitExceeded, match="exceeded maximum resolution of 11000 points"):
        engine.range("up", 0, 11_001_000, 1000)
    assert len(engine.range("up", 0, 11_000_000, 1000).steps) == 11_001
    with pytest.raises(ExecutionError, match="step"):
        engine.range("up", 0, 1000, 0)
    with pytest.raises(ExecutionError, match="end"):
        engine.range("up", 1000, 0, 1)


class Impatient:
    """A clock on which each look costs a second."""

    def __init__(self) -> None:
        self._now = 0.0

    def monotonic(self) -> float:
        self._now += 1
        return self._now

    def now_ms(self) -> int:
        return 0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError


def test_a_query_that_runs_too_long_ends() -> None:
    engine = Engine(MemorySeries(UP), EngineConfig(timeout_s=10), Impatient())
    assert engine.instant("up", 0).keys
    with pytest.raises(QueryTimeout, match="longer than 10 s"):
        engine.instant("up + up + up + up + up", 0)
    with pytest.raises(QueryTimeout, match="longer than 1 s"):
        engine.instant("up", 0, timeout_s=1)


def test_long_windows_are_worked_on_in_parts(given_series: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = given_series("x 3 1 4 1 5 9 2 6\ny _ 1 4 1 _ 9 2 6")
    query = (
        'quantile_over_time(time() / 600, {__name__=~"x|y"}[4m] offset 1m) + on () group_left () vector(0)'
    )
    queries = [query.replace("x|y", name) for name in "xy"] + ["stddev_over_time(x[3m])", "irate(y[3m])"]
    whole = [ask.over(query, 7, 30) for query in queries]
    monkeypatch.setattr(over_windows, "MAX_WORK", 5)
    assert [ask.over(query, 7, 30) for query in queries] == whole


def test_labels_that_grow_without_end_are_refused() -> None:
    query = "up"
    for _ in range(100):
        query = f'label_join({query}, "job", "", "job", "job")'
    with pytest.raises(ExecutionError, match="characters for label"):
        evaluate(query, UP, time=0)


def test_remarks_come_with_the_answer() -> None:
    result = Engine(MemorySeries([({"__name__": "b", "le": "x"}, [0], [1.0])])).instant(
        "histogram_quantile(2, b)", 0
    )
    assert [w.split(":")[0] for w in to_api(result)["warnings"]] == ["PromQL warning"] * 2


def test_queries_on_many_threads_do_not_disturb_each_other() -> None:
    from concurrent.futures import ThreadPoolExecutor

    engine = Engine(MemorySeries(UP))
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda n: engine.instant(f"sum(up) + {n}", 0).values[0, 0], range(50)))
    assert answers == [2 + n for n in range(50)]
