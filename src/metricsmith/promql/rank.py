"""Aggregations with a parameter that depend on order: topk, bottomk, quantile."""

from __future__ import annotations

import numpy as np

from metricsmith.errors import ExecutionError
from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.promql.aggregate import alive, group_series
from metricsmith.promql.budget import Budget
from metricsmith.promql.kernels import sort_nan_first, sorted_quantile
from metricsmith.promql.result import format_value
from metricsmith.promql.values import Scalar, Vector, narrow


def select_extreme(
    vector: Vector, parameter: Scalar, labels: tuple[str, ...], without: bool, largest: bool, budget: Budget
) -> Vector:
    """Return, at each step, the k largest (or smallest) series of each group with all their labels.

    NaN comes after every number. Of equal values the series earlier in the
    input wins. Series come in groups; at a single step, best first.
    """
    sizes = whole_numbers(parameter.values)
    if not vector.keys:
        return vector
    mask = np.zeros(vector.values.shape, dtype=np.bool_)
    order: list[int] = []
    for rows in group_series(vector, labels, without).rows():
        budget.check_time()
        ranked = vector.values[rows] if largest else -vector.values[rows]
        present = None if vector.present is None else vector.present[rows]
        chosen = _extreme(ranked, present, sizes)
        mask[rows] = chosen
        best = _best_first(ranked) if len(sizes) == 1 else np.arange(len(rows))
        picked = set(np.flatnonzero(chosen.any(axis=1)).tolist())
        order += [int(rows[i]) for i in best.tolist() if i in picked]
    return narrow([vector.keys[i] for i in order], vector.values[order], mask[order])


def _best_first(ranked: F64) -> I64:
    return np.argsort(-ranked.ravel(), kind="stable")


def whole_numbers(values: F64) -> I64:
    """Return k at each step as whole numbers, 0 where below 1."""
    bad = ~(np.abs(values) < 2.0**63)
    if bad.any():
        raise ExecutionError(f"Scalar value {format_value(float(values[bad][0]))} overflows int64")
    return np.maximum(values, 0).astype(np.int64)


def _extreme(values: F64, present: Bool | None, sizes: I64) -> Bool:
    """Return which of the rows belong to the k largest at each step.

    Partition finds the k-th value; what is above it is in, and of what equals
    it as many as are left, from the top.

    Shapes:
        values, present: (N, T); sizes: (T,)
        returns: (N, T)
    """
    rows = len(values)
    nan = np.isnan(values)
    numbers = ~nan if present is None else ~nan & present
    nan = nan if present is None else nan & present
    found = numbers.sum(axis=0)
    wanted = np.minimum(sizes, found)
    ordered = np.partition(
        np.where(numbers, values, -np.inf), np.unique(rows - np.maximum(wanted, 1)), axis=0
    )
    threshold = np.take_along_axis(ordered, (rows - np.maximum(wanted, 1))[None, :], 0)
    chosen: Bool = numbers & (values > threshold) & (wanted > 0)
    chosen |= first_of(numbers & (values == threshold), wanted - chosen.sum(axis=0))
    chosen |= first_of(nan, sizes - found)
    return chosen


def first_of(candidates: Bool, wanted: I64) -> Bool:
    """Return the first `wanted` marked rows of each column."""
    return candidates & (candidates.cumsum(axis=0) <= wanted)


def quantiles(
    vector: Vector, parameter: Scalar, labels: tuple[str, ...], without: bool, budget: Budget
) -> Vector:
    """Return a quantile of each group at each step, interpolated."""
    if not vector.keys:
        return vector
    grouped = group_series(vector, labels, without)
    counts = grouped.counts().astype(np.int64)
    result = np.empty(counts.shape)
    for group, rows in enumerate(grouped.rows()):
        budget.check_time()
        values = vector.values[rows]
        if vector.present is not None:
            values = np.where(vector.present[rows], values, np.nan)
        ordered = sort_nan_first(np.ascontiguousarray(values.T), counts[group])
        result[group] = sorted_quantile(parameter.values, ordered, counts[group])
    return Vector(grouped.groups, result, alive(grouped))
