"""Runs a plan: node after node, each a whole block of series × steps."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from metricsmith.model.progress import StepReport
from metricsmith.model.sample_groups import without_markers
from metricsmith.model.selection import MatrixGroup, RaggedGroup, Selection
from metricsmith.promql.aggregations import AGGREGATIONS, remark_on_parameter
from metricsmith.promql.binary import operate
from metricsmith.promql.budget import Budget
from metricsmith.promql.implementations import IMPLEMENTATIONS, CallContext
from metricsmith.promql.info import enrich
from metricsmith.promql.over_windows import last_time, last_value, over_windows
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
from metricsmith.promql.reduce_windows import REDUCED_IN_PIECES, Unmade, reduce_windows
from metricsmith.promql.remarks import Annotations, CallRemarks
from metricsmith.promql.series_labels import refuse_same_labels, without_names
from metricsmith.promql.values import (
    Grid,
    RangeVector,
    Scalar,
    String,
    Value,
    Vector,
    sample_count,
    series_count,
)

if TYPE_CHECKING:  # the library needs none of what the contracts import
    from metricsmith.store_contracts import Selectable


def execute(
    plan: Plan, store: Selectable, closed_windows: bool, budget: Budget, remarks: Annotations
) -> Value:
    """Return the value of the plan's last node.

    Raises:
        QueryError: it has no answer on this data, or takes more than it may.
    """
    run = _Run(plan, store, closed_windows, budget, remarks)
    # IEEE results are what PromQL wants, also of invalid operations.
    with np.errstate(all="ignore"):
        return run.result()


class _Run:
    def __init__(
        self, plan: Plan, store: Selectable, closed: bool, budget: Budget, remarks: Annotations
    ) -> None:
        self._plan = plan
        self._store = store
        self._closed = closed
        self._budget = budget
        self._remarks = remarks
        self._selections: dict[Fetch, Selection] = {}
        self._loaded = 0
        self._unmade = _only_reduced(plan)

    def result(self) -> Value:
        values: list[Value | Unmade | None] = []
        last_use = {i: index for index, node in enumerate(self._plan.nodes) for i in node.inputs}
        held = 0
        for index, node in enumerate(self._plan.nodes):
            self._budget.check_time()
            value = self._observed(index, node, [values[i] for i in node.inputs])
            values.append(value)
            held += _size(value)
            self._budget.check_samples(self._loaded + held)
            for used in {i for i in node.inputs if last_use[i] == index}:
                held -= _size(values[used])
                values[used] = None
        result = values[-1]
        assert result is not None and not isinstance(result, Unmade)
        return result

    def _observed(self, number: int, node: Node, inputs: list[Any]) -> Value | Unmade:
        """Return a node's value, and say what it took."""
        progress, clock = self._budget.progress, self._budget.clock
        began, before = clock.monotonic(), progress.samples
        value = self._evaluate(number, node, inputs)
        seconds, samples = clock.monotonic() - began, progress.samples - before
        if isinstance(value, Unmade):
            series, points = len(value.keys), len(value.keys) * value.samples.ends.count
        else:
            series, points = series_count(value), sample_count(value)
        progress.steps.append(StepReport(number, series, points, samples, seconds))
        return value

    def _evaluate(self, number: int, node: Node, inputs: list[Any]) -> Value | Unmade:
        """Return a node's value; the parser has seen to it that inputs are of the kinds the node takes."""
        match node:
            case Constant():
                return Scalar(np.array([node.value]))
            case Text():
                return String(node.value)
            case Windows():
                return self._windows(node)
            case Last():
                kernel = last_time if node.sample_times else last_value
                if node.extended is not None:
                    kernel = node.extended.value_at_end
                return over_windows(inputs[0], kernel, (), self._budget)
            case Resample():
                return _resampled(inputs[0], node, self._closed)
            case Repeat():
                return _repeated(inputs[0], node.steps)
            case Apply() if number in self._unmade:
                prepare = IMPLEMENTATIONS[node.function].unmade
                assert prepare is not None
                return prepare(self._context(node), inputs)
            case Apply():
                return IMPLEMENTATIONS[node.function].run(self._context(node), *inputs)
            case Enrich():
                return enrich(inputs[0], inputs[1], node.selector, self._budget)
            case Negate():
                return _negated(inputs[0])
            case Operate():
                return operate(node, inputs[0], inputs[1], self._budget)
            case Reduce():
                parameter = inputs[0] if len(inputs) > 1 else None
                remark_on_parameter(node.op, parameter, CallRemarks(self._remarks, node.positions))
                vector = inputs[-1]
                if isinstance(vector, Unmade):
                    found = reduce_windows(node.op, vector, node.grouping, node.without, self._budget)
                    if found is not None:
                        return found
                    vector = vector.vector()
                return AGGREGATIONS[node.op](vector, parameter, node.grouping, node.without, self._budget)

    def _windows(self, node: Windows) -> RangeVector:
        selection = self._selection(self._plan.source[node.fetch])
        matrices, ragged = selection.matrices, selection.ragged
        if not node.markers:
            matrices, ragged = without_markers(matrices, ragged)
        return RangeVector(selection.keys, matrices, ragged, node.ends, node.range_ms, self._closed)

    def _selection(self, fetch: Fetch) -> Selection:
        found = self._selections.get(fetch)
        if found is None:
            left = self._budget.max_samples - self._loaded
            found = self._store.select(fetch.matchers, fetch.start_ms, fetch.end_ms, left)
            self._selections[fetch] = found
            self._loaded += found.sample_count()
            self._budget.progress.samples = self._loaded
            self._budget.progress.series += len(found.keys)
            self._budget.check_series(self._budget.progress.series)
            self._budget.check_samples(self._loaded)
        return found

    def _context(self, node: Apply) -> CallContext:
        return CallContext(
            node.grid,
            self._plan.query,
            self._closed,
            node.selector_labels,
            node.sample_times,
            node.extended,
            CallRemarks(self._remarks, node.positions),
            self._budget,
        )


def _only_reduced(plan: Plan) -> set[int]:
    """Return the calls whose values nothing but one aggregation looks at, which can take them in pieces."""
    uses = Counter(i for node in plan.nodes for i in node.inputs)
    found = set()
    for node in plan.nodes:
        if isinstance(node, Reduce) and node.op in REDUCED_IN_PIECES:
            inner = plan.nodes[node.inputs[-1]]
            if isinstance(inner, Apply) and inner.extended is None and uses[node.inputs[-1]] == 1:
                found |= {node.inputs[-1]} if IMPLEMENTATIONS[inner.function].unmade is not None else set()
    return found


def _size(value: Value | Unmade | None) -> int:
    return value.values.size if isinstance(value, Vector) else 0


def _negated(value: Vector | Scalar) -> Value:
    if isinstance(value, Scalar):
        return Scalar(-value.values)
    keys = without_names(value.keys)
    refuse_same_labels(keys)
    return Vector(keys, -value.values, value.present)


def _repeated(value: Vector | Scalar | RangeVector, steps: int) -> Value:
    match value:
        case Scalar():
            return Scalar(np.broadcast_to(value.values, (steps,)))
        case RangeVector():
            ends = Grid(value.ends.start_ms, 0, steps)
            return RangeVector(value.keys, value.matrices, value.ragged, ends, value.range_ms, value.closed)
        case Vector():
            shape = len(value.keys), steps
            present = None if value.present is None else np.broadcast_to(value.present, shape)
            return Vector(value.keys, np.broadcast_to(value.values, shape), present)


def _resampled(vector: Vector, node: Resample, closed: bool) -> RangeVector:
    """Return a vector's values as samples: a matrix where all are present, else series one after another."""
    rows = np.arange(len(vector.keys), dtype=np.int64)
    times = node.grid.times()
    if vector.present is None:
        matrix = MatrixGroup(rows, times, vector.values)
        return RangeVector(vector.keys, [matrix], None, node.ends, node.range_ms, closed)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(vector.present.sum(axis=1))])
    _, step = np.nonzero(vector.present)
    ragged = RaggedGroup(rows, offsets, times[step], vector.values[vector.present])
    return RangeVector(vector.keys, [], ragged, node.ends, node.range_ms, closed)
