"""Straight lines and smoothing through the samples of a window: deriv, predict_linear, smoothing."""

from __future__ import annotations

import numpy as np

from metricsmith.errors import ExecutionError
from metricsmith.model.arrays import F64
from metricsmith.promql.kernels import Kernel, KernelResult, places
from metricsmith.promql.windows import Windows


def deriv(windows: Windows) -> KernelResult:
    """Return the slope per second of the line through the samples (least squares)."""
    slope, _, _ = _line(windows)
    return slope, windows.counts >= 2


def predict_linear(windows: Windows, after_s: F64, at_ms: F64) -> KernelResult:
    """Return the value of that line some seconds after a time.

    Shapes:
        after_s, at_ms: (W,)
    """
    slope, mean_s, mean = _line(windows)
    since_first = (at_ms - windows.times[windows.first]) / 1000
    return mean + slope * (since_first - mean_s + after_s), windows.counts >= 2


def _line(windows: Windows) -> tuple[F64, F64, F64]:
    """Return slope, mean time in seconds since the first sample, and mean value; a constant has slope 0.

    Shapes:
        returns: (…, W), (W,), (…, W)
    Source:
        Prometheus `linearRegression`. Measured from the first sample and then
        from the means, sums lose no digits. A constant infinity gives NaN.
    """
    counts, origin = windows.counts, windows.at(windows.first)
    start_ms = windows.times[windows.first]
    mean_s, mean = np.zeros(len(counts)), np.zeros_like(origin)
    for index, inside in places(windows):
        mean_s += np.where(inside, windows.times[index] - start_ms, 0) / 1000
        mean += np.where(inside, windows.at(index) - origin, 0.0)
    mean_s /= counts
    mean /= counts
    together, spread = np.zeros_like(origin), np.zeros(len(counts))
    for index, inside in places(windows):
        apart_s = np.where(inside, (windows.times[index] - start_ms) / 1000 - mean_s, 0.0)
        together += np.where(inside, apart_s * (windows.at(index) - origin - mean), 0.0)
        spread += apart_s * apart_s
    return together / spread, mean_s, origin + mean


def double_exponential_smoothing(windows: Windows, smoothing: F64, trend: F64) -> KernelResult:
    """Return the last value of a series smoothed for level and trend.

    Shapes:
        smoothing, trend: (W,) factors between 0 and 1.
    Raises:
        ExecutionError: a factor is not between 0 and 1, where there are samples; NaN gives NaN.
    Source:
        Holt 1957, as in Prometheus.
    """
    for name, factor in (("smoothing", smoothing), ("trend", trend)):
        wrong = factor[((factor <= 0) | (factor >= 1)) & (windows.counts > 0)]
        if len(wrong):
            raise ExecutionError(f"invalid {name} factor. Expected: 0 < {name[0]}f < 1, got: {wrong[0]:f}")
    level = windows.at(windows.first)
    second = np.minimum(windows.first + 1, np.maximum(windows.last, 0))
    before, growth = level, windows.at(second) - level
    for place, (index, inside) in enumerate(places(windows)):
        if place == 0:
            continue
        if place > 1:
            growth = np.where(inside, trend * (level - before) + (1 - trend) * growth, growth)
        smoothed = smoothing * windows.at(index) + (1 - smoothing) * (level + growth)
        before, level = np.where(inside, level, before), np.where(inside, smoothed, level)
    return level, windows.counts >= 2


TABLE: dict[str, Kernel] = {
    "deriv": deriv,
    "double_exponential_smoothing": double_exponential_smoothing,
    "holt_winters": double_exponential_smoothing,
}
"""Kernels by function name; `holt_winters` is the name before Prometheus 3."""
