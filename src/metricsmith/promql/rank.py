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
from metricsmith.promql.windows import CHUNK_VALUES

STEPS_OF_A_LINE = 8
"""Fewer steps at a time would read each cache line of the values more than once."""


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
    order: list[I64] = []
    masks: list[Bool] = []
    for rows in group_series(vector, labels, without).rows():
        chosen, steps = _extreme(vector, rows, sizes, largest, budget)
        picked = np.unique(chosen)
        mask = np.zeros((len(picked), len(sizes)), np.bool_)
        mask[np.searchsorted(picked, chosen), steps] = True
        if len(sizes) == 1:
            ranked = vector.values[rows[picked], 0]
            best = np.argsort(-ranked if largest else ranked, kind="stable")
            picked, mask = picked[best], mask[best]
        order.append(rows[picked])
        masks.append(mask)
    kept = np.concatenate(order)
    return narrow([vector.keys[i] for i in kept.tolist()], vector.values[kept], np.concatenate(masks))


def whole_numbers(values: F64) -> I64:
    """Return k at each step as whole numbers, 0 where below 1."""
    bad = ~(np.abs(values) < 2.0**63)
    if bad.any():
        raise ExecutionError(f"Scalar value {format_value(float(values[bad][0]))} overflows int64")
    return np.maximum(values, 0).astype(np.int64)


def _extreme(vector: Vector, rows: I64, sizes: I64, largest: bool, budget: Budget) -> tuple[I64, I64]:
    """Return which of the rows belong to the k largest (or smallest) at which steps, a few steps at a time.

    Shapes:
        rows: (N,) of the vector; sizes: (T,)
        returns: two of (C,), places among the rows and steps.
    """
    everything = len(rows) == len(vector.keys)
    width = max(STEPS_OF_A_LINE, CHUNK_VALUES // len(rows))
    found = []
    for start in range(0, len(sizes), width):
        budget.check_time()
        part = slice(start, start + width)
        # Rows become neighbours: the order among them is what matters.
        values = np.ascontiguousarray((vector.values[:, part] if everything else vector.values[rows, part]).T)
        there = None
        if vector.present is not None:
            there = (vector.present[:, part] if everything else vector.present[rows, part]).T
        steps, places = _largest(values if largest else -values, there, sizes[part])
        found.append((places, steps + start))
    places_of, steps_of = zip(*found, strict=True)
    return np.concatenate(places_of), np.concatenate(steps_of)


def _largest(values: F64, present: Bool | None, sizes: I64) -> tuple[I64, I64]:
    """Return where the k largest of each line stand; NaN only where numbers are too few.

    Partition finds the k-th value; what is above it is in, and of what equals
    it as many as are left, from the front.

    Shapes:
        values, present: (T, N); sizes: (T,)
        returns: two of (C,), lines and places.
    """
    nan = np.isnan(values)
    odd = nan if present is None else nan | ~present
    some_odd = bool(odd.any())
    if some_odd:
        values = np.where(odd, -np.inf, values)
    length = values.shape[1]
    found = length - odd.sum(axis=1) if some_odd else np.full(len(values), length)
    wanted = np.minimum(sizes, found)
    place = length - np.maximum(wanted, 1)
    ordered = np.partition(values, np.unique(place), axis=1)
    threshold = ordered[np.arange(len(values)), place][:, None]
    usable = np.broadcast_to((wanted > 0)[:, None], values.shape)
    if some_odd:
        usable = usable & ~odd
    above = _where((values > threshold) & usable)
    left = wanted - np.bincount(above[0], minlength=len(values))
    chosen = [above, _first_of((values == threshold) & usable, left)]
    if some_odd:
        chosen.append(_first_of(nan if present is None else nan & present, sizes - found))
    lines, places = (np.concatenate(each) for each in zip(*chosen, strict=True))
    return lines, places


def _first_of(candidates: Bool, wanted: I64) -> tuple[I64, I64]:
    """Return where the first `wanted` candidates of each line stand.

    Shapes:
        candidates: (T, N); wanted: (T,)
        returns: two of (C,), lines and places.
    """
    lines, places = _where(candidates)
    rank = np.arange(len(lines)) - np.searchsorted(lines, np.arange(len(candidates)))[lines]
    kept = rank < wanted[lines]
    return lines[kept], places[kept]


def _where(chosen: Bool) -> tuple[I64, I64]:
    """Return lines and places of the few that are chosen; `nonzero` takes ten times as long."""
    lines, places = np.divmod(np.flatnonzero(chosen), chosen.shape[1])
    return lines, places


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
