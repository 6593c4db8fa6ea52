"""Functions of one window of samples, over many windows at once.

A kernel gets `Windows` (and one number per window for each scalar argument) and returns one value per
window and where there is one; None says that each window with a sample has a value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Concatenate, TypeAlias

import numpy as np

from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.promql.sliding import fold_repeatable, window_sums
from metricsmith.promql.windows import Windows

KernelResult: TypeAlias = tuple[F64, Bool | None]
Kernel: TypeAlias = Callable[Concatenate[Windows, ...], KernelResult]


MAX_ORDERED = 2_000_000
"""Values of overlapping windows laid out at once."""


def last_over_time(windows: Windows) -> KernelResult:
    """Return the last sample."""
    return windows.at(windows.last), None


def first_over_time(windows: Windows) -> KernelResult:
    """Return the first sample."""
    return windows.at(windows.first), None


def count_over_time(windows: Windows) -> KernelResult:
    """Return the number of samples."""
    return _for_each_series(windows, windows.counts.astype(np.float64)), None


def present_over_time(windows: Windows) -> KernelResult:
    """Return 1."""
    return _for_each_series(windows, np.ones(len(windows.first))), None


def sum_over_time(windows: Windows) -> KernelResult:
    """Return the sum."""
    return window_sums(windows.values, windows.first, windows.last), None


def avg_over_time(windows: Windows) -> KernelResult:
    """Return the mean; finite values have a finite mean, also where their sum overflows."""
    sums = window_sums(windows.values, windows.first, windows.last)
    means = sums / windows.counts
    overflown = ~np.isfinite(sums)
    if overflown.any():
        longest = max(int(windows.counts.max(initial=1)), 1)
        scaled = window_sums(windows.values / longest, windows.first, windows.last)
        means = np.where(overflown, scaled / (windows.counts / longest), means)
    return means, None


def min_over_time(windows: Windows) -> KernelResult:
    """Return the smallest value; NaN only where there is no other."""
    return fold_repeatable(np.fmin, windows.values, windows.first, windows.last), None


def max_over_time(windows: Windows) -> KernelResult:
    """Return the largest value; NaN only where there is no other."""
    return fold_repeatable(np.fmax, windows.values, windows.first, windows.last), None


def stdvar_over_time(windows: Windows) -> KernelResult:
    """Return the population variance, in two passes; exactly 0 where all values are equal."""
    # Measured from the first value, equal values have a mean of exactly 0.
    origin, counts = windows.at(windows.first), windows.counts
    mean = np.zeros_like(origin)
    for index, inside in places(windows):
        mean += np.where(inside, windows.at(index) - origin, 0.0)
    mean /= counts
    squares = np.zeros_like(origin)
    for index, inside in places(windows):
        apart = windows.at(index) - origin - mean
        squares += np.where(inside, apart * apart, 0.0)
    return squares / counts, None


def places(windows: Windows) -> Iterator[tuple[I64, Bool]]:
    """Yield, for each place inside the longest window, the sample there and which windows have one.

    Shapes:
        yields: (W,) indices, 0 where there is none; (W,)
    """
    counts = windows.counts
    for i in range(int(counts.max(initial=0))):
        inside = i < counts
        yield np.where(inside, windows.first + i, 0), inside


def stddev_over_time(windows: Windows) -> KernelResult:
    """Return the population standard deviation."""
    variance, present = stdvar_over_time(windows)
    return np.sqrt(variance), present


def changes(windows: Windows) -> KernelResult:
    """Return how often a sample differs from the one before; NaN does not differ from NaN."""
    before, after = windows.values[..., :-1], windows.values[..., 1:]
    return _count_steps(windows, (before != after) & ~(np.isnan(before) & np.isnan(after))), None


def resets(windows: Windows) -> KernelResult:
    """Return how often a sample is below the one before."""
    return _count_steps(windows, windows.values[..., 1:] < windows.values[..., :-1]), None


def quantile_over_time(windows: Windows, quantile: F64) -> KernelResult:
    """Return a quantile of the values, interpolated.

    Shapes:
        quantile: (W,)
    """
    result = np.empty((*windows.values.shape[:-1], len(windows.first)))
    for part, ordered, counts in _ordered(windows):
        result[..., part] = sorted_quantile(quantile[part], ordered, counts)
    return result, None


def mad_over_time(windows: Windows) -> KernelResult:
    """Return the median distance of the values from their median."""
    result = np.empty((*windows.values.shape[:-1], len(windows.first)))
    for part, ordered, counts in _ordered(windows):
        half = np.full(len(counts), 0.5)
        apart = np.abs(ordered - sorted_quantile(half, ordered, counts)[..., None])
        apart[..., np.arange(ordered.shape[-1]) >= counts[:, None]] = np.nan
        result[..., part] = sorted_quantile(half, sort_nan_first(apart, counts), counts)
    return result, None


def _ordered(windows: Windows) -> Iterator[tuple[slice, F64, I64]]:
    """Yield some of the windows, their values in ascending order, NaN first, and how many there are.

    What stands after `counts` values has no meaning. Windows overlap, so their
    values take far more memory than the samples: a part at a time.

    Shapes:
        yields: a slice of the windows, (…, B, N), (B,)
    """
    longest = max(int(windows.counts.max(initial=0)), 1)
    series = windows.values.size // max(windows.values.shape[-1], 1)
    size = max(1, MAX_ORDERED // (longest * series))
    for start in range(0, len(windows.first), size):
        part = slice(start, start + size)
        counts = windows.counts[part]
        index = windows.first[part, None] + np.arange(longest)
        outside = index > windows.last[part, None]
        index[outside] = 0
        samples = windows.at(index)
        samples[..., outside] = np.nan
        yield part, sort_nan_first(samples, counts), counts


def sorted_quantile(quantile: F64, ordered: F64, counts: I64) -> F64:
    """Return quantiles of ascending values on the last axis, interpolated between neighbours.

    Shapes:
        quantile: (W,), counts: (…, W), ordered: (…, W, N); only the first `counts` are looked at.
        returns: (…, W)
    Source:
        Prometheus `quantile`: below 0 −Inf, above 1 +Inf, NaN gives NaN.
    """
    rank = np.where(np.isnan(quantile), 0.0, np.clip(quantile, 0.0, 1.0)) * (counts - 1)
    lower = np.maximum(np.floor(rank), 0).astype(np.int64)
    upper = np.maximum(np.minimum(lower + 1, counts - 1), 0).astype(np.int64)
    weight = rank - np.floor(rank)
    shape = ordered.shape[:-1]
    low = np.take_along_axis(ordered, np.broadcast_to(lower, shape)[..., None], -1)[..., 0]
    high = np.take_along_axis(ordered, np.broadcast_to(upper, shape)[..., None], -1)[..., 0]
    result = low * (1 - weight) + high * weight
    return np.select([np.isnan(quantile), quantile < 0, quantile > 1], [np.nan, -np.inf, np.inf], result)


def sort_nan_first(samples: F64, counts: I64) -> F64:
    """Return samples sorted on the last axis, real NaN before all numbers, what is outside at the end."""
    ordered = np.sort(samples, axis=-1)
    real_nan = np.isnan(samples).sum(axis=-1) - (samples.shape[-1] - counts)
    if not real_nan.any():
        return ordered
    places = np.arange(samples.shape[-1]) - real_nan[..., None]
    return np.where(places < 0, np.nan, np.take_along_axis(ordered, np.maximum(places, 0), -1))


def _count_steps(windows: Windows, happened: Bool) -> F64:
    """Return how many of the steps between neighbouring samples of each window are marked."""
    upto = np.zeros(windows.values.shape, dtype=np.int64)
    np.cumsum(happened, axis=-1, out=upto[..., 1:])
    found = np.take(upto, windows.last, axis=-1) - np.take(upto, windows.first, axis=-1)
    return found.astype(np.float64)


def _for_each_series(windows: Windows, per_window: F64) -> F64:
    return np.broadcast_to(per_window, (*windows.values.shape[:-1], len(per_window)))


TABLE: dict[str, Kernel] = {
    function.__name__: function
    for function in (
        avg_over_time,
        changes,
        count_over_time,
        mad_over_time,
        max_over_time,
        min_over_time,
        present_over_time,
        quantile_over_time,
        resets,
        stddev_over_time,
        stdvar_over_time,
        sum_over_time,
    )
}
"""Kernels of functions that change the quantity, and so lose the metric name."""
