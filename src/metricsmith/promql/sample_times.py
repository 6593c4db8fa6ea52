"""When something was so: the times of the first, last, smallest and largest sample of each window."""

from __future__ import annotations

import numpy as np

from metricsmith.model.arrays import F64, I64
from metricsmith.promql.kernels import Kernel, KernelResult, places
from metricsmith.promql.windows import Windows


def ts_of_first_over_time(windows: Windows) -> KernelResult:
    """Return the time of the first sample in seconds."""
    return _for_each_series(windows, windows.first), None


def ts_of_last_over_time(windows: Windows) -> KernelResult:
    """Return the time of the last sample in seconds."""
    return _for_each_series(windows, windows.last), None


def ts_of_min_over_time(windows: Windows) -> KernelResult:
    """Return the time of the last sample with the smallest value; of NaN only where there is no other."""
    return _time_of_extreme(windows, 1.0), None


def ts_of_max_over_time(windows: Windows) -> KernelResult:
    """Return the time of the last sample with the largest value; of NaN only where there is no other."""
    return _time_of_extreme(windows, -1.0), None


def _for_each_series(windows: Windows, index: I64) -> F64:
    seconds = windows.times[index] / 1000
    return np.broadcast_to(seconds, (*windows.values.shape[:-1], len(seconds)))


def _time_of_extreme(windows: Windows, sign: float) -> F64:
    best = sign * windows.at(windows.first)
    when = np.broadcast_to(windows.times[windows.first], best.shape)
    for index, inside in places(windows):
        value = sign * windows.at(index)
        better = inside & ((value <= best) | np.isnan(best))
        best = np.where(better, value, best)
        when = np.where(better, windows.times[index], when)
    return when / 1000


TABLE: dict[str, Kernel] = {
    function.__name__: function
    for function in (ts_of_first_over_time, ts_of_last_over_time, ts_of_min_over_time, ts_of_max_over_time)
}
"""Kernels by function name."""
