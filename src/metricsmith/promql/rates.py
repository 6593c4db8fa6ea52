"""Change of a series over a window: rate, increase, delta, irate, idelta."""

from __future__ import annotations

import numpy as np

from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.promql.kernels import Kernel, KernelResult
from metricsmith.promql.sliding import window_sums
from metricsmith.promql.windows import Windows


def rate(windows: Windows) -> KernelResult:
    """Return the growth per second of a counter, extrapolated to the window's edges."""
    return _extrapolated(windows, _counter_growth(windows), counter=True, per_second=True)


def increase(windows: Windows) -> KernelResult:
    """Return the growth of a counter, resets added back, extrapolated to the window's edges."""
    return _extrapolated(windows, _counter_growth(windows), counter=True)


def delta(windows: Windows) -> KernelResult:
    """Return the difference between a gauge's last and first sample, extrapolated to the window's edges."""
    return _extrapolated(windows, windows.at(windows.last) - windows.at(windows.first), counter=False)


def _counter_growth(windows: Windows) -> F64:
    growth = windows.at(windows.last) - windows.at(windows.first)
    add_resets(growth, windows)
    return growth


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


def add_resets(growth: F64, windows: Windows) -> None:
    """Add to each window's growth the counts that were lost at resets inside it.

    A sample below its predecessor is a restart from zero, so the predecessor
    is added back. Resets are rare: only series that have one are looked at.

    Shapes:
        growth: (…, W), changed.
    """
    values, first, last = windows.values, windows.first, windows.last
    fell = values[..., 1:] < values[..., :-1]
    if not fell.any():
        return
    if values.ndim == 1:
        # Where one series ends and the next begins, time falls as well: that is no reset.
        fell &= windows.times[1:] > windows.times[:-1]
        if fell.any():
            _add_flat_resets(growth, values, fell, first, last)
        return
    rows = np.flatnonzero(fell.any(axis=-1))
    begin = np.arange(len(rows))[:, None] * values.shape[-1]
    restarted, flat = growth[rows], values[rows].ravel()
    _add_flat_resets(
        restarted.reshape(-1), flat, flat[1:] < flat[:-1], (first + begin).ravel(), (last + begin).ravel()
    )
    growth[rows] = restarted


def _add_flat_resets(growth: F64, values: F64, fell: Bool, first: I64, last: I64) -> None:
    """Add lost counts to windows over one flat array; only windows with a reset are computed.

    Shapes:
        values: (P,); fell: (P - 1,) where the next value is below; first, last, growth: (W,)
    """
    upto = np.zeros(len(values), dtype=np.int64)
    np.cumsum(fell, out=upto[1:])
    low, high = upto[first], upto[last] - 1
    hit = np.flatnonzero((high >= low) & (last > first))
    if len(hit):
        growth[hit] += window_sums(values[:-1][fell], low[hit], high[hit])


def _extrapolated(windows: Windows, growth: F64, *, counter: bool, per_second: bool = False) -> KernelResult:
    """Scale growth between first and last sample up to the whole window.

    Where samples end within 1.1 average intervals of an edge, the series is
    taken to go on to that edge, else for half an interval. A counter is not
    extrapolated below zero.

    Shapes:
        growth: (…, W), changed.
    Source:
        Prometheus `extrapolatedRate`, in its order of operations, so that its
        last bit comes out too. Before 3.0 the cut at zero came before the test
        against the threshold.
    """
    intervals = windows.last - windows.first
    first_ms, last_ms = np.take(windows.times, windows.first), np.take(windows.times, windows.last)
    ends = windows.ends
    sampled = (last_ms - first_ms) / 1000
    interval = sampled / intervals
    threshold, half = interval * 1.1, interval * 0.5
    to_start = (first_ms - (ends - windows.range_ms)) / 1000
    to_end = (ends - last_ms) / 1000
    np.copyto(to_end, half, where=to_end >= threshold)
    if not (counter and windows.closed):
        np.copyto(to_start, half, where=to_start >= threshold)
    reach = to_start
    if counter:
        reach = _cut_at_zero(to_start, windows.at(windows.first), growth, sampled)
        if windows.closed:
            np.copyto(reach, half, where=reach >= threshold)
    reach += sampled
    reach += to_end
    reach /= sampled
    if per_second:
        reach /= windows.range_ms / 1000
    growth *= reach
    return growth, intervals >= 1


def _cut_at_zero(to_start: F64, first_values: F64, growth: F64, sampled: F64) -> F64:
    """Return how far before its first sample a counter is extrapolated: not to where it would be negative.

    Shapes:
        to_start, sampled: (W,); first_values, growth, returns: (…, W)
    """
    to_zero = sampled * (first_values / growth)
    uncut = (to_zero >= to_start) | ~(growth > 0) | ~(first_values >= 0)
    np.copyto(to_zero, to_start, where=uncut)
    return to_zero


TABLE: dict[str, Kernel] = {
    "rate": rate,
    "increase": increase,
    "delta": delta,
    "irate": irate,
    "idelta": idelta,
}
"""Kernels by function name."""
