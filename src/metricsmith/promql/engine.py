"""The query engine: text in, arrays out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from metricsmith.errors import ExecutionError, QueryLimitExceeded, WrongQueryType
from metricsmith.model.clock import Clock, SystemClock
from metricsmith.model.progress import Progress
from metricsmith.model.query_result import Result
from metricsmith.promql.analysis import Analysis
from metricsmith.promql.ast import Expr, MatrixSelector, Paren, StringLiteral, Subquery, Unary
from metricsmith.promql.budget import Budget
from metricsmith.promql.execute import execute
from metricsmith.promql.parser import parse
from metricsmith.promql.plan import Plan
from metricsmith.promql.planner import PlanSettings, plan_query
from metricsmith.promql.raw import raw_samples
from metricsmith.promql.remarks import Annotations
from metricsmith.promql.series_labels import label_order, merge_same_labels
from metricsmith.promql.values import Grid, QueryTimes, RangeVector, Scalar, String, Value, Vector, narrow

if TYPE_CHECKING:  # the library needs none of what the contracts import
    from metricsmith.store_contracts import Selectable


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Limits of a query, and how it looks at time.

    `closed_windows` restores Prometheus 2.x: windows and lookback include the
    sample at their start, and rates are cut at zero before the test whether a
    series goes on. `max_samples` bounds what one query holds in memory, loaded
    and computed; `max_series` what it reads, `max_points` what it answers.
    """

    lookback_ms: int = 300_000
    max_samples: int = 50_000_000
    max_series: int = 1_000_000
    max_points: int = 10_000_000
    timeout_s: float = 120.0
    max_steps: int = 11_000
    subquery_step_ms: int = 60_000
    max_subquery_steps: int = 1_000_000
    closed_windows: bool = False
    experimental: bool = True


class Engine:
    """Evaluates PromQL over a store. Safe to call from several threads at once.

    `trees` returns the tree of a text: who asks the same again and again gives
    a function that remembers.
    """

    def __init__(
        self,
        store: Selectable,
        config: EngineConfig | None = None,
        clock: Clock | None = None,
        trees: Callable[[str], Expr] | None = None,
    ) -> None:
        self._store = store
        self._trees = trees
        self._config = config or EngineConfig()
        self._clock = clock or SystemClock()

    def instant(
        self,
        text: str,
        time_ms: int,
        *,
        timeout_s: float | None = None,
        lookback_ms: int | None = None,
        progress: Progress | None = None,
    ) -> Result:
        """Return the answer at one time; a scalar, vector, string, or raw matrix.

        Raises:
            ParseError, ExecutionError, QueryLimitExceeded, QueryTimeout,
            QueryCancelled
        """
        query = QueryTimes(time_ms, time_ms, 0)
        plan = self._plan(self._parse(text), query, lookback_ms)
        budget = self.budget(timeout_s, progress)
        value, remarks = self._run(plan, budget, text)
        result = _instant_result(value, query.grid(), remarks)
        budget.check_answer(result.points())
        return result

    def range(
        self,
        text: str,
        start_ms: int,
        end_ms: int,
        step_ms: int,
        *,
        timeout_s: float | None = None,
        lookback_ms: int | None = None,
        progress: Progress | None = None,
    ) -> Result:
        """Return the answer at each step from start to end, always a matrix, series in label order.

        Raises:
            ParseError, ExecutionError, QueryLimitExceeded, QueryTimeout,
            QueryCancelled
        """
        query = self._range(start_ms, end_ms, step_ms)
        expr = self._parse(text)
        _refuse_type(expr)
        plan = self._plan(expr, query, lookback_ms)
        budget = self.budget(timeout_s, progress)
        value, remarks = self._run(plan, budget, text)
        result = _range_result(value, query.grid(), remarks)
        budget.check_answer(result.points())
        return result

    def explain(self, text: str, start_ms: int, end_ms: int | None = None, step_ms: int = 0) -> str:
        """Return the plan of a query as text; an instant query when there is no end.

        Raises:
            ParseError, ExecutionError, QueryLimitExceeded
        """
        instant = QueryTimes(start_ms, start_ms, 0)
        query = instant if end_ms is None else self._range(start_ms, end_ms, step_ms)
        return str(self._plan(self._parse(text), query))

    def analyze(
        self,
        text: str,
        start_ms: int,
        end_ms: int | None = None,
        step_ms: int = 0,
        *,
        timeout_s: float | None = None,
        lookback_ms: int | None = None,
        progress: Progress | None = None,
    ) -> Analysis:
        """Run a query and return what each step of its plan did; an instant query when there is no end.

        Raises:
            as `instant` and `range`.
        """
        began, progress = self._clock.monotonic(), progress or Progress()
        instant = QueryTimes(start_ms, start_ms, 0)
        query = instant if end_ms is None else self._range(start_ms, end_ms, step_ms)
        expr = self._parse(text)
        if end_ms is not None:
            _refuse_type(expr)
        plan = self._plan(expr, query, lookback_ms)
        planned, budget = self._clock.monotonic(), self.budget(timeout_s, progress)
        value, remarks = self._run(plan, budget, text)
        answer = _instant_result if end_ms is None else _range_result
        result = answer(value, query.grid(), remarks)
        budget.check_answer(result.points())
        return Analysis.of(plan, progress, result, planned - began, self._clock.monotonic() - planned)

    def budget(self, timeout_s: float | None = None, progress: Progress | None = None) -> Budget:
        """Return what a query that starts now may use; also for those that read the store themselves."""
        config = self._config
        limit = config.timeout_s if timeout_s is None else min(timeout_s, config.timeout_s)
        return Budget(
            self._clock,
            limit,
            self._clock.monotonic() + limit,
            config.max_samples,
            config.max_series,
            config.max_points,
            progress or Progress(),
        )

    def _parse(self, text: str) -> Expr:
        if self._trees is not None:
            return self._trees(text)
        return parse(text, experimental=self._config.experimental)

    def _range(self, start_ms: int, end_ms: int, step_ms: int) -> QueryTimes:
        if step_ms <= 0:
            raise ExecutionError(f"got step {step_ms} ms, wanted one above zero")
        if end_ms < start_ms:
            raise ExecutionError(f"got end {end_ms} before start {start_ms}, wanted it not earlier")
        query = QueryTimes(start_ms, end_ms, step_ms)
        steps = query.grid().count - 1  # Prometheus counts what lies between the points
        if steps > self._config.max_steps:
            raise QueryLimitExceeded(
                f"exceeded maximum resolution of {self._config.max_steps} points per timeseries: "
                f"got {steps}; use a larger step or a shorter range",
                "steps",
            )
        return query

    def _plan(self, expr: Expr, query: QueryTimes, lookback_ms: int | None = None) -> Plan:
        config = self._config
        lookback_ms = config.lookback_ms if lookback_ms is None else lookback_ms
        settings = PlanSettings(
            lookback_ms, config.subquery_step_ms, config.closed_windows, config.max_subquery_steps
        )
        return plan_query(expr, query, settings)

    def _run(self, plan: Plan, budget: Budget, text: str) -> tuple[Value, Annotations]:
        remarks = Annotations(text)
        return execute(plan, self._store, self._config.closed_windows, budget, remarks), remarks


def _refuse_type(expr: Expr) -> None:
    inner = expr
    while isinstance(inner, Paren | Unary):
        inner = inner.expr
    wrong = {StringLiteral: "string", MatrixSelector: "range vector", Subquery: "range vector"}.get(
        type(inner)
    )
    if wrong is not None:
        raise WrongQueryType(
            f'invalid expression type "{wrong}" for range query, must be Scalar or instant Vector'
        )


def _instant_result(value: Value, grid: Grid, remarks: Annotations) -> Result:
    steps = grid.times()
    warnings, infos = remarks.warnings(), remarks.infos()
    match value:
        case String():
            return Result("string", steps, text=value.value, warnings=warnings, infos=infos)
        case Scalar():
            return Result("scalar", steps, [b""], value.values[None, :], warnings=warnings, infos=infos)
        case Vector():
            vector = narrow(value.keys, value.values, value.present)
            return Result("vector", steps, vector.keys, vector.values, warnings=warnings, infos=infos)
        case RangeVector():
            keys, raw = raw_samples(value)
            return Result("matrix", steps, keys, raw=raw, warnings=warnings, infos=infos)


def _range_result(value: Value, grid: Grid, remarks: Annotations) -> Result:
    if isinstance(value, Scalar):
        value = Vector([b""], value.values[None, :])
    assert isinstance(value, Vector)
    vector = merge_same_labels(narrow(value.keys, value.values, value.present))
    order = label_order(vector.keys)
    if order != list(range(len(order))):
        rows = np.array(order, dtype=np.int64)
        present = None if vector.present is None else vector.present[rows]
        vector = Vector([vector.keys[i] for i in order], vector.values[rows], present)
    return Result(
        "matrix",
        grid.times(),
        vector.keys,
        vector.values,
        vector.present,
        warnings=remarks.warnings(),
        infos=remarks.infos(),
    )
