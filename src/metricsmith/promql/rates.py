"""Change of a series over a window: rate, increase, delta, irate, idelta."""

from __future__ import annotations

import numpy as np

from metricsmith.model.arrays import F64
from metricsmith.promql.kernels import Kernel, KernelResult
from metricsmith.promql.sliding import window_sums
from metricsmith.promql.windows import Windows


def rate(windows: Windows) -> KernelResult:
    """Return the growth per second of a counter, extrapolated to the window's edges."""
    growth, present = increase(windows)
    growth /= windows.range_ms / 1000
    return growth, present


def increase(windows: Windows) -> KernelResult:
    """Return the growth of a counter, resets added back, extrapolated to the window's edges."""
    growth = windows.at(windows.last) - windows.at(windows.first)
    _add_resets(growth, windows)
    return _extrapolated(windows, growth, counter=True)


def delta(windows: Windows) -> KernelResult:
    """Return the difference between a gauge's last and first sample, extrapolated to the window's edges."""
    return _extrapolated(windows, windows.at(windows.last) - windows.at(windows.first), counter=False)


def irate(windows: Windows) -> KernelResult:
    """Return the growth per second between the last two samples; after a reset, from zero."""
    before, last, seconds = _last_two(windows)
    return np.where(last < before, last, last - before) / seconds, windows.counts >= 2


def idelta(windows: Windows) -> KernelResult:
    """Return the difference between the last two samples."""
    before, last, _ = _last_two(windows)
    return last - before, windows.counts >= 2


def _last_two(windows: Windows) -> tuple[F64, F64, F64]:
    before = np.maximum(windows.last - 1, 0)
    seconds = (windows.times[windows.last] - windows.times[before]) / 1000
    return windows.at(before), windows.at(windows.last), seconds


def _add_resets(growth: F64, windows: Windows) -> None:
    """Add to each window's growth the counts that were lost at resets inside it.

    A sample below its predecessor is a restart from zero, so the predecessor
    is added back. Resets are rare: only series that have one are looked at.

    Shapes:
        growth: (…, W), changed.
    """
    values = windows.values
    fell = values[..., 1:] < values[..., :-1]
    if not fell.any():
        return
    rows = slice(None) if values.ndim == 1 else np.flatnonzero(fell.any(axis=-1))
    lost = np.zeros(values[rows].shape)
    lost[..., 1:] = np.where(fell[rows], values[rows][..., :-1], 0.0)
    after_first = np.minimum(windows.first + 1, np.maximum(windows.last, 0))
    several = windows.last > windows.first
    growth[rows] += np.where(several, window_sums(lost, after_first, np.maximum(windows.last, 0)), 0.0)


def _extrapolated(windows: Windows, growth: F64, counter: bool) -> KernelResult:
    """Scale growth between first and last sample up to the whole window.

    Where samples end within 1.1 average intervals of an edge, the series is
    taken to go on to that edge, else for half an interval. A counter is not
    extrapolated below zero.

    Shapes:
        growth: (…, W), changed.
    Source:
        Prometheus `extrapolatedRate`. Before 3.0 the cut at zero came before
        the test against the threshold.
    """
    counts = windows.counts
    first_ms, last_ms = windows.times[windows.first], windows.times[windows.last]
    ends = windows.per_window(windows.ends)
    sampled = (last_ms - first_ms) / 1000
    interval = sampled / (counts - 1)
    to_start = (first_ms - (ends - windows.range_ms)) / 1000
    to_end = (ends - last_ms) / 1000
    to_end = np.where(to_end < interval * 1.1, to_end, interval / 2)
    if not counter:
        growth *= (sampled + to_end + np.where(to_start < interval * 1.1, to_start, interval / 2)) / sampled
        return growth, counts >= 2
    first_values = windows.at(windows.first)
    to_zero = sampled * (first_values / growth)
    to_zero[~((growth > 0) & (first_values >= 0))] = np.inf
    if windows.closed:
        cut = np.where(to_zero < to_start, to_zero, to_start)
        reach = np.where(cut < interval * 1.1, cut, interval / 2)
    else:
        allowed = np.where(to_start < interval * 1.1, to_start, interval / 2)
        reach = np.where(to_zero < allowed, to_zero, allowed)
    reach += sampled + to_end
    reach /= sampled
    growth *= reach
    return growth, counts >= 2


TABLE: dict[str, Kernel] = {
    "rate": rate,
    "increase": increase,
    "delta": delta,
    "irate": irate,
    "idelta": idelta,
}
"""Kernels by function name."""
