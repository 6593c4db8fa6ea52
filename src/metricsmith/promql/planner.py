"""From the expression tree to a plan."""

from __future__ import annotations

from dataclasses import dataclass, replace

from metricsmith.errors import ExecutionError, QueryLimitExceeded
from metricsmith.model.labels import NAME_LABEL, encode_labels
from metricsmith.model.matchers import MatchOp
from metricsmith.promql.arithmetic import ARITHMETIC
from metricsmith.promql.ast import (
    Aggregation,
    At,
    Binary,
    Call,
    Expr,
    Matching,
    MatrixSelector,
    NumberLiteral,
    Paren,
    StringLiteral,
    Subquery,
    Unary,
    VectorSelector,
)
from metricsmith.promql.check import TRIM_OPERATORS
from metricsmith.promql.extended import ExtendedRange
from metricsmith.promql.implementations import IMPLEMENTATIONS
from metricsmith.promql.info import InfoSelector
from metricsmith.promql.label_functions import check_label_name
from metricsmith.promql.plan import (
    Apply,
    Constant,
    Enrich,
    Fetch,
    Last,
    Negate,
    Node,
    Operate,
    Plan,
    Reduce,
    Repeat,
    Resample,
    Text,
    Windows,
)
from metricsmith.promql.scalar_time import duration_ms
from metricsmith.promql.values import Grid, QueryTimes

_MAX_FIXED_MS = 2**62
"""Leaves room for the ranges of nested subqueries before and after it."""


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """What of the engine's configuration shapes a plan."""

    lookback_ms: int
    subquery_step_ms: int
    closed_windows: bool
    max_subquery_steps: int


def plan_query(expr: Expr, query: QueryTimes, settings: PlanSettings) -> Plan:
    """Return the plan of an expression evaluated at the query's times.

    Raises:
        QueryLimitExceeded: a subquery has too many steps.
    """
    builder = _Builder(query, settings)
    builder.lift(builder.build(expr))
    nodes = tuple(builder.nodes)
    return Plan(nodes, _merged([n.fetch for n in nodes if isinstance(n, Windows)]), query)


def _merged(fetches: list[Fetch]) -> dict[Fetch, Fetch]:
    """Return for each fetch one that covers it: same matchers and overlapping times are got once."""
    result: dict[Fetch, Fetch] = {}
    by_matchers: dict[object, list[Fetch]] = {}
    for fetch in fetches:
        by_matchers.setdefault(fetch.matchers, []).append(fetch)
    for same in by_matchers.values():
        run: list[Fetch] = []
        end_ms = 0
        for fetch in sorted(same, key=lambda f: f.start_ms):
            if run and fetch.start_ms > end_ms:
                result |= dict.fromkeys(run, replace(run[0], end_ms=end_ms))
                run = []
            end_ms = max(end_ms, fetch.end_ms) if run else fetch.end_ms
            run.append(fetch)
        result |= dict.fromkeys(run, replace(run[0], end_ms=end_ms))
    return result


class _Builder:
    """Adds nodes; `grid` is what is being evaluated at: the query's times, or a subquery's inside one."""

    def __init__(self, query: QueryTimes, settings: PlanSettings) -> None:
        self.nodes: list[Node] = []
        self._varies: list[bool] = []
        self._known: dict[tuple[Node, bool], int] = {}
        self._query = query
        self._grid = query.grid()
        self._settings = settings

    def build(self, expr: Expr) -> int:
        """Add the nodes of an expression; returns the index of the one with its value."""
        match expr:
            case NumberLiteral():
                return self._add(Constant(expr.value), varies=False)
            case StringLiteral():
                return self._add(Text(expr.value), varies=False)
            case Paren():
                return self.build(expr.expr)
            case Unary():
                inner = self.build(expr.expr)
                return inner if expr.op == "+" else self._add(Negate((inner,)), self._varies[inner])
            case VectorSelector():
                return self._last(expr, sample_times=False)
            case MatrixSelector():
                range_ms = self._positive_ms(expr.range, "range")
                extended = self._extended(expr.selector, range_ms)
                if extended is not None:
                    return self._wide_windows(expr.selector, extended)
                return self._windows(expr.selector, range_ms, markers=False)
            case Subquery():
                return self._subquery(expr)
            case Binary():
                return self._binary(expr)
            case Aggregation():
                return self._aggregation(expr)
            case Call():
                return self._call(expr)

    def lift(self, index: int) -> int:
        """Return a node with the value at every step of the grid."""
        node = self.nodes[index]
        if self._varies[index] or self._grid.count == 1 or isinstance(node, Text):
            return index
        return self._add(Repeat((index,), self._grid.count), varies=True)

    def _add(self, node: Node, varies: bool) -> int:
        found = self._known.get((node, varies))
        if found is not None:
            return found
        self.nodes.append(node)
        self._varies.append(varies)
        self._known[node, varies] = len(self.nodes) - 1
        return len(self.nodes) - 1

    def _together(self, inputs: list[int], varies: bool = False) -> tuple[tuple[int, ...], bool]:
        """Return inputs brought to the same steps: one step when nothing varies, else all."""
        varies = varies or any(self._varies[i] for i in inputs)
        return tuple(map(self.lift, inputs)) if varies else tuple(inputs), varies

    def _ms(self, expr: Expr | None) -> int:
        return 0 if expr is None else duration_ms(expr, self._query)

    def _positive_ms(self, expr: Expr, what: str) -> int:
        length_ms = self._ms(expr)
        if length_ms <= 0:
            raise ExecutionError(f"got a {what} of {length_ms} ms, wanted one above zero")
        return length_ms

    def _ends(self, at: At | None, offset: Expr | None) -> tuple[Grid, bool]:
        """Return where windows end, and whether that varies from step to step."""
        offset_ms = self._ms(offset)
        if at is None:
            return self._grid.shifted(-offset_ms), True
        fixed = self._query.start_ms if at.anchor == "start" else self._query.end_ms
        time_ms = (fixed if at.time_ms is None else at.time_ms) - offset_ms
        if abs(time_ms) > _MAX_FIXED_MS:
            raise ExecutionError(f"got a time of {time_ms} ms by @ and offset, wanted at most 2^62 from 1970")
        return Grid.single(time_ms), False

    def _windows(self, selector: VectorSelector, range_ms: int, markers: bool, after_ms: int = 0) -> int:
        ends, varies = self._ends(selector.at, selector.offset)
        ends = ends.shifted(after_ms)
        earliest = ends.start_ms - range_ms + (0 if self._settings.closed_windows else 1)
        fetch = Fetch(selector.matchers, earliest, ends.end_ms)
        return self._add(Windows(fetch, ends, range_ms, markers), varies)

    def _extended(self, selector: VectorSelector, range_ms: int) -> ExtendedRange | None:
        if selector.extension is None:
            return None
        after_ms = self._settings.lookback_ms if selector.extension == "smoothed" else 0
        return ExtendedRange(selector.extension, range_ms, after_ms)

    def _wide_windows(self, selector: VectorSelector, extended: ExtendedRange) -> int:
        wide_ms = self._settings.lookback_ms + extended.range_ms + extended.after_ms
        return self._windows(selector, wide_ms, markers=False, after_ms=extended.after_ms)

    def _last(self, selector: VectorSelector, sample_times: bool) -> int:
        extended = self._extended(selector, 0)
        # An anchor is for ranges: the last sample is what it says anyway.
        if extended is not None and extended.extension == "smoothed":
            windows = self._wide_windows(selector, extended)
            return self._add(Last((windows,), sample_times, extended), self._varies[windows])
        windows = self._windows(selector, self._settings.lookback_ms, markers=True)
        return self._add(Last((windows,), sample_times), self._varies[windows])

    def _subquery(self, expr: Subquery) -> int:
        ends, varies = self._ends(expr.at, expr.offset)
        range_ms = self._positive_ms(expr.range, "range")
        step = self._settings.subquery_step_ms
        if expr.step is not None:
            step = self._positive_ms(expr.step, "step")
        earliest = ends.start_ms - range_ms
        start = -(-earliest // step) * step
        if start == earliest and not self._settings.closed_windows:
            start += step
        inner = Grid.between(start, ends.end_ms, step)
        if inner.count > self._settings.max_subquery_steps:
            limit = self._settings.max_subquery_steps
            raise QueryLimitExceeded(
                f"got a subquery of {inner.count} steps, wanted at most {limit}; use a larger step",
                "steps",
            )
        outer, self._grid = self._grid, inner
        value = self.lift(self.build(expr.expr))
        self._grid = outer
        return self._add(Resample((value,), inner, ends, range_ms), varies)

    def _binary(self, expr: Binary) -> int:
        chain = [expr]
        while isinstance(chain[-1].lhs, Binary):
            chain.append(chain[-1].lhs)
        left = self.build(chain[-1].lhs)
        for binary in reversed(chain):
            inputs, varies = self._together([left, self.build(binary.rhs)])
            left = self._add(self._operate(binary, inputs), varies)
        return left

    def _operate(self, expr: Binary, inputs: tuple[int, ...]) -> Operate | Apply:
        if expr.op in TRIM_OPERATORS:
            positions = expr.span.start, expr.lhs.span.start, expr.rhs.span.start
            return Apply(expr.op, inputs, self._grid, b"", sample_times=False, positions=positions)
        # Before 3.0 atan2 was forgotten among the operators that drop the name.
        keeps = expr.op not in ARITHMETIC or (expr.op == "atan2" and self._settings.closed_windows)
        matching = expr.matching or Matching("one-to-one", False, ())
        return Operate(expr.op, inputs, expr.return_bool, expr.return_bool or not keeps, matching)

    def _aggregation(self, expr: Aggregation) -> int:
        parts = [expr.expr] if expr.param is None else [expr.param, expr.expr]
        if isinstance(expr.param, StringLiteral):
            check_label_name(expr.param.value, expr.op, self._settings.closed_windows)
        inputs, varies = self._together([self.build(part) for part in parts])
        positions = expr.span.start, *(part.span.start for part in parts)
        return self._add(Reduce(expr.op, inputs, expr.grouping, expr.without, positions), varies)

    def _call(self, expr: Call) -> int:
        if expr.function == "info":
            return self._info(expr)
        implementation = IMPLEMENTATIONS[expr.function]
        selector = _selector(expr.args[0]) if implementation.wants_sample_times else None
        if selector is not None:
            inputs, varies = self._together([self._last(selector, sample_times=True)])
        else:
            inputs, varies = self._together([self.build(a) for a in expr.args], implementation.uses_time)
        grid = self._grid if varies else Grid.single(self._grid.start_ms)
        positions = expr.span.start, *(arg.span.start for arg in expr.args)
        demanded, ranges = _demanded_labels(expr), filter(None, map(self._extended_argument, expr.args))
        sampled, extended = selector is not None, next(ranges, None)
        node = Apply(expr.function, inputs, grid, demanded, sampled, extended, positions)
        return self._add(node, varies)

    def _extended_argument(self, expr: Expr) -> ExtendedRange | None:
        while isinstance(expr, Paren):
            expr = expr.expr
        if not isinstance(expr, MatrixSelector):
            return None
        return self._extended(expr.selector, self._positive_ms(expr.range, "range"))

    def _info(self, expr: Call) -> int:
        written = expr.args[1] if len(expr.args) > 1 else None
        wanted = InfoSelector.of(written.matchers if isinstance(written, VectorSelector) else None)
        infos = self._last(VectorSelector("", wanted.matchers, expr.span), sample_times=True)
        inputs, varies = self._together([self.build(expr.args[0]), infos])
        return self._add(Enrich(inputs, wanted), varies)


def _selector(expr: Expr) -> VectorSelector | None:
    while isinstance(expr, Paren):
        expr = expr.expr
    return expr if isinstance(expr, VectorSelector) and expr.extension != "smoothed" else None


def _demanded_labels(expr: Call) -> bytes:
    """Return the key of the labels that the first argument's selector demands with `=`, each once.

    Source:
        Prometheus `createLabelsForAbsentFunction`.
    """
    argument = expr.args[0] if expr.args else None
    selector = argument.selector if isinstance(argument, MatrixSelector) else argument
    if not isinstance(selector, VectorSelector):
        return b""
    labels: dict[str, str] = {}
    for matcher in selector.matchers:
        if matcher.name != NAME_LABEL:
            first = matcher.op is MatchOp.EQ and matcher.name not in labels
            labels[matcher.name] = matcher.value if first else ""
    return encode_labels(labels)
