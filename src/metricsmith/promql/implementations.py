"""What each function of the language does: one table from names to implementations.

An implementation gets what it may know of the call, and the values of its arguments. `functions.py` says
which arguments those are. Only `info` is not here: the planner makes a node of its own of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Concatenate, TypeAlias

import numpy as np

from metricsmith.model.arrays import F64, Bool
from metricsmith.promql import kernels, rates, sample_times, trends
from metricsmith.promql.budget import Budget
from metricsmith.promql.check import TRIM_OPERATORS
from metricsmith.promql.dates import DATE_PARTS
from metricsmith.promql.extended import ExtendedRange
from metricsmith.promql.histogram_fraction import histogram_fraction
from metricsmith.promql.histograms import histogram_quantile, histogram_quantiles
from metricsmith.promql.kernels import Kernel
from metricsmith.promql.label_functions import check_label_name, label_join, label_replace
from metricsmith.promql.label_sort import sort_by_label
from metricsmith.promql.math_functions import ELEMENTWISE, clamp, clamp_max, clamp_min, round_to
from metricsmith.promql.over_windows import over_windows
from metricsmith.promql.reduce_windows import Unmade
from metricsmith.promql.remarks import (
    SORT_IN_RANGE_QUERY,
    CallRemarks,
    bad_quantiles,
    native_histograms_wanted,
    non_counters,
)
from metricsmith.promql.series_labels import merge_same_labels, refuse_same_labels, without_names
from metricsmith.promql.values import Grid, QueryTimes, RangeVector, Scalar, String, Value, Vector

_KEEP_NAMES = {
    "first_over_time": kernels.first_over_time,
    "last_over_time": kernels.last_over_time,
}
_NATIVE_ONLY = (
    *("histogram_avg", "histogram_count", "histogram_sum"),
    *("histogram_stddev", "histogram_stdvar", *TRIM_OPERATORS),
)


@dataclass(frozen=True, slots=True)
class CallContext:
    """What an implementation may know of its call.

    `selector_labels` is the key of the labels that the argument's selector
    demands with `=`; `sample_times` says that the argument holds the times of
    the samples rather than their values; `extended` is there when the argument
    is an `anchored` or `smoothed` range; `prometheus_2` asks for the rules of
    Prometheus 2 where they differ.
    """

    grid: Grid
    query: QueryTimes
    prometheus_2: bool
    selector_labels: bytes
    sample_times: bool
    extended: ExtendedRange | None
    remarks: CallRemarks
    budget: Budget


Run: TypeAlias = Callable[Concatenate[CallContext, ...], Value]


@dataclass(frozen=True, slots=True)
class Implementation:
    """A function: how it is run, and what the planner must know of it.

    `uses_time`: the result depends on the step's time, so it changes even where
    the arguments do not. `wants_sample_times`: given a selector, it wants the
    times of the samples. `unmade` prepares the call for an aggregation that
    takes the values piece by piece.
    """

    run: Run
    uses_time: bool = False
    wants_sample_times: bool = False
    unmade: Callable[[CallContext, list[Any]], Unmade] | None = None


def _over(name: str, kernel: Kernel, keeps_name: bool = False, of_counters: bool = False) -> Implementation:
    def run(call: CallContext, *args: Value) -> Vector:
        samples = next(a for a in args if isinstance(a, RangeVector))
        parameters = [a.values for a in args if isinstance(a, Scalar)]
        used = kernel if call.extended is None else call.extended.kernel(name)
        found = over_windows(samples, used, parameters, call.budget)
        if of_counters:
            call.remarks.inform(non_counters(found.keys), argument=0)
        return found if keeps_name else _nameless(found)

    def unmade(call: CallContext, args: list[Any]) -> Unmade:
        samples = next(a for a in args if isinstance(a, RangeVector))
        parameters = [a.values for a in args if isinstance(a, Scalar)]

        def made(keys: list[bytes]) -> None:
            if of_counters:
                call.remarks.inform(non_counters(keys), argument=0)

        keys = samples.keys if keeps_name else without_names(samples.keys)
        return Unmade(samples, keys, kernel, parameters, lambda: run(call, *args), made)

    return Implementation(run, unmade=unmade)


def _nameless(vector: Vector) -> Vector:
    keys = without_names(vector.keys)
    refuse_same_labels(keys)
    return Vector(keys, vector.values, vector.present)


def _quantile_over_time(call: CallContext, quantile: Scalar, samples: RangeVector) -> Value:
    found = over_windows(samples, kernels.TABLE["quantile_over_time"], (quantile.values,), call.budget)
    if found.keys:
        call.remarks.warn(bad_quantiles(quantile.values), argument=0)
    return _nameless(found)


def _predict_linear(call: CallContext, samples: RangeVector, after_s: Scalar) -> Value:
    at_ms = call.grid.times().astype(np.float64)
    found = over_windows(samples, trends.predict_linear, (after_s.values, at_ms), call.budget)
    return _nameless(found)


def _each(function: Callable[..., F64]) -> Implementation:
    def run(call: CallContext, vector: Vector, *parameters: Scalar) -> Value:
        return _mapped(vector, function(vector.values, *(p.values for p in parameters)))

    return Implementation(run)


def _mapped(vector: Vector, values: F64) -> Vector:
    return merge_same_labels(Vector(without_names(vector.keys), values, vector.present))


def _round(call: CallContext, vector: Vector, to_nearest: Scalar | None = None) -> Value:
    return _mapped(vector, round_to(vector.values, np.ones(1) if to_nearest is None else to_nearest.values))


def _clamp(call: CallContext, vector: Vector, low: Scalar, high: Scalar) -> Value:
    empty = low.values > high.values
    kept = vector if not empty.any() else Vector(vector.keys, vector.values, vector.mask() & ~empty)
    return _mapped(kept, clamp(vector.values, low.values, high.values))


def _absent(call: CallContext, vector: Vector) -> Value:
    return _ones_where_absent(call, vector, call.grid.count)


def _absent_over_time(call: CallContext, samples: RangeVector) -> Value:
    found = over_windows(samples, kernels.present_over_time, (), call.budget)
    return _ones_where_absent(call, found, samples.ends.count)


def _ones_where_absent(call: CallContext, vector: Vector, steps: int) -> Value:
    alive: Bool = np.zeros(steps, np.bool_)
    np.logical_or.reduce(vector.mask(), axis=0, out=alive)
    if alive.all():
        return Vector([], np.empty((0, steps)))
    return Vector([call.selector_labels], np.ones((1, steps)), ~alive[None, :])


def _scalar(call: CallContext, vector: Vector) -> Value:
    mask = vector.mask()
    alone = mask.sum(axis=0) == 1
    values = np.full(vector.values.shape[1], np.nan)
    if alone.any():
        steps = np.flatnonzero(alone)
        values[steps] = vector.values[mask.argmax(axis=0)[steps], steps]
    return Scalar(values)


def _vector(call: CallContext, scalar: Scalar) -> Value:
    return Vector([b""], scalar.values[None, :])


def _time(call: CallContext) -> Value:
    return Scalar(call.grid.times() / 1000)


def _timestamp(call: CallContext, vector: Vector) -> Value:
    if call.sample_times:
        return _mapped(vector, vector.values)
    return _mapped(vector, np.broadcast_to(call.grid.times() / 1000, vector.values.shape))


def _constant(value: Callable[[CallContext], float]) -> Implementation:
    def run(call: CallContext) -> Value:
        return Scalar(np.array([value(call)]))

    return Implementation(run)


def _date(part: Callable[[F64], F64]) -> Implementation:
    def run(call: CallContext, vector: Vector | None = None) -> Value:
        if vector is None:
            vector = Vector([b""], call.grid.times()[None, :] / 1000)
        return _mapped(vector, part(vector.values))

    return Implementation(run, uses_time=True)


def _sorted(descending: bool) -> Implementation:
    def run(call: CallContext, vector: Vector) -> Value:
        if vector.values.shape[1] != 1:
            call.remarks.warn([SORT_IN_RANGE_QUERY])
            return vector
        # Absent series stay where they fall: the result leaves them out.
        order = np.argsort(-vector.values[:, 0] if descending else vector.values[:, 0], kind="stable")
        present = None if vector.present is None else vector.present[order]
        return Vector([vector.keys[i] for i in order.tolist()], vector.values[order], present)

    return Implementation(run)


def _histogram_quantile(call: CallContext, quantile: Scalar, buckets: Vector) -> Value:
    return histogram_quantile(quantile, buckets, call.grid.times(), call.remarks)


def _sorted_by_label(descending: bool) -> Implementation:
    def run(call: CallContext, vector: Vector, *labels: String) -> Value:
        if vector.values.shape[1] != 1:
            call.remarks.warn([SORT_IN_RANGE_QUERY])
        return sort_by_label(vector, [label.value for label in labels], descending=descending)

    return Implementation(run)


def _of_two(choose: Callable[[F64, F64], F64]) -> Implementation:
    def run(call: CallContext, left: Scalar, right: Scalar) -> Value:
        return Scalar(choose(left.values, right.values))

    return Implementation(run)


def _of_native_histograms(name: str) -> Implementation:
    def run(call: CallContext, *args: Vector | Scalar) -> Value:
        vector = next(arg for arg in args if isinstance(arg, Vector))
        if vector.keys:
            call.remarks.inform([native_histograms_wanted(name)], argument=0)
        return Vector([], vector.values[:0])

    return Implementation(run)


def _histogram_fraction(call: CallContext, lower: Scalar, upper: Scalar, buckets: Vector) -> Value:
    return histogram_fraction(lower, upper, buckets, call.remarks)


def _histogram_quantiles(call: CallContext, buckets: Vector, label: String, *quantiles: Scalar) -> Value:
    check_label_name(label.value, "histogram_quantiles", call.prometheus_2)
    times = call.grid.times()
    return histogram_quantiles(buckets, label.value, quantiles, times, call.remarks, call.budget)


def _label_replace(call: CallContext, vector: Vector, *texts: String) -> Value:
    target, template, source, pattern = (text.value for text in texts)
    check_label_name(target, "label_replace", call.prometheus_2)
    return label_replace(vector, target, template, source, pattern, call.budget)


def _label_join(call: CallContext, vector: Vector, *texts: String) -> Value:
    target, separator, *sources = (text.value for text in texts)
    for name in (target, *sources):
        check_label_name(name, "label_join", call.prometheus_2)
    return label_join(vector, target, separator, sources, call.budget)


def _table() -> dict[str, Implementation]:
    table: dict[str, Implementation] = {
        name: _over(name, kernel)
        for module in (kernels, rates, trends, sample_times)
        for name, kernel in module.TABLE.items()
    }
    table |= {name: _over(name, rates.TABLE[name], of_counters=True) for name in ("rate", "increase")}
    table |= {name: _over(name, kernel, keeps_name=True) for name, kernel in _KEEP_NAMES.items()}
    table |= {name: _each(function) for name, function in ELEMENTWISE.items()}
    table |= {name: _date(part) for name, part in DATE_PARTS.items()}
    table |= {name: _of_native_histograms(name) for name in _NATIVE_ONLY}
    table |= {
        "absent": Implementation(_absent),
        "absent_over_time": Implementation(_absent_over_time),
        "clamp": Implementation(_clamp),
        "clamp_max": _each(clamp_max),
        "clamp_min": _each(clamp_min),
        "end": _constant(lambda call: call.query.end_ms / 1000),
        "histogram_fraction": Implementation(_histogram_fraction),
        "histogram_quantile": Implementation(_histogram_quantile),
        "histogram_quantiles": Implementation(_histogram_quantiles),
        "label_join": Implementation(_label_join),
        "label_replace": Implementation(_label_replace),
        "max_of": _of_two(clamp_min),
        "min_of": _of_two(clamp_max),
        "pi": _constant(lambda call: np.pi),
        "predict_linear": Implementation(_predict_linear, uses_time=True),
        "quantile_over_time": Implementation(_quantile_over_time),
        "range": _constant(lambda call: (call.query.end_ms - call.query.start_ms) / 1000),
        "round": Implementation(_round),
        "scalar": Implementation(_scalar),
        "sort": _sorted(descending=False),
        "sort_by_label": _sorted_by_label(descending=False),
        "sort_by_label_desc": _sorted_by_label(descending=True),
        "sort_desc": _sorted(descending=True),
        "start": _constant(lambda call: call.query.start_ms / 1000),
        "step": _constant(lambda call: call.query.step_ms / 1000),
        "time": Implementation(_time, uses_time=True),
        "timestamp": Implementation(_timestamp, uses_time=True, wants_sample_times=True),
        "vector": Implementation(_vector),
    }
    return table


IMPLEMENTATIONS: dict[str, Implementation] = _table()
"""Implementations by function name."""
