"""The modifiers `anchored` and `smoothed`: ranges that know what their series were worth at both ends.

Plain windows hold the samples inside a range, and rates guess what lies between those and its ends. An
extended range is fetched with as much before it (and after it, when smoothed) as the lookback allows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.promql import kernels
from metricsmith.promql.ast import Extension
from metricsmith.promql.kernels import Kernel, KernelResult
from metricsmith.promql.rates import add_resets
from metricsmith.promql.windows import Windows


@dataclass(frozen=True, slots=True)
class ExtendedRange:
    """What the modifier of a selector asks for: windows end `after_ms` later than the range of `range_ms`."""

    extension: Extension
    range_ms: int
    after_ms: int

    def kernel(self, function: str) -> Kernel:
        """Return what stands for a range function (`check.EXTENDED_FUNCTIONS`) over the wider windows."""

        def kernel(windows: Windows) -> KernelResult:
            return _FUNCTIONS[function](_Ends.of(self, windows))

        return kernel

    def value_at_end(self, windows: Windows) -> KernelResult:
        """Return the value where the range ends: on the line to the next sample, or else the last.

        Source:
            Prometheus, `smoothed` instant selectors.
        """
        at_ms = windows.ends - self.after_ms
        before = _last_until(windows, at_ms)
        after = np.minimum(before + 1, windows.last)
        exact = (after == before) | (windows.times[before] == at_ms)
        between = _interpolated(windows, before, after, at_ms, counter=False)
        return np.where(exact, windows.at(before), between), before >= windows.first


@dataclass(frozen=True, slots=True)
class _Ends:
    """Extended windows, and the first and last sample that count in each.

    Shapes:
        first, last, start_ms, end_ms, exists: (W,)
    """

    range: ExtendedRange
    windows: Windows
    first: I64
    last: I64
    start_ms: I64
    end_ms: I64
    exists: Bool

    @classmethod
    def of(cls, extended: ExtendedRange, windows: Windows) -> _Ends:
        """Return the last sample not after the start of each range, or the first; and that at its end.

        Smoothed, the last is the first sample that is not before the end, if
        there is one.
        """
        end_ms = windows.ends - extended.after_ms
        start_ms = end_ms - extended.range_ms
        first = np.maximum(_last_until(windows, start_ms), windows.first)
        last, times = windows.last, windows.times
        if extended.extension == "smoothed":
            last = np.minimum(_last_until(windows, end_ms - 1) + 1, last)
        exists = (times[last] > start_ms) & (times[first] <= end_ms)
        return cls(extended, windows, first, last, start_ms, end_ms, exists)

    def growth(self, counter: bool) -> F64:
        """Return the difference between the values at both ends, of a counter with its resets added back.

        Shapes:
            returns: (…, W)
        Source:
            Prometheus `extendedRate`.
        """
        left, right = self.windows.at(self.first), self.windows.at(self.last)
        times = self.windows.times
        if self.range.extension == "smoothed":
            left = self._smoothed(left, self.first, self.start_ms, times[self.first] < self.start_ms, counter)
            late = (times[self.last] > self.end_ms) & (self.last > self.windows.first)
            right = self._smoothed(right, self.last - 1, self.end_ms, late, counter)
        growth: F64 = right - left
        if counter:
            self._add_resets(growth, left, right)
        return growth

    def _smoothed(self, value: F64, before: I64, at_ms: I64, between: Bool, counter: bool) -> F64:
        before = np.maximum(before, 0)
        after = np.minimum(before + 1, np.maximum(self.last, 0))
        return np.where(between, _interpolated(self.windows, before, after, at_ms, counter), value)

    def _add_resets(self, growth: F64, left: F64, right: F64) -> None:
        """Add what was lost at resets between the left end, the samples inside the range, and the right end.

        Shapes:
            growth, left, right: (…, W); growth is changed.
        """
        times = self.windows.times
        inner_first = self.first + (times[self.first] <= self.start_ms)
        inner_last = self.last - (times[self.last] >= self.end_ms)
        some = inner_first <= inner_last
        inner_first = np.minimum(inner_first, np.maximum(self.last, 0))
        inner_last = np.maximum(inner_last, 0)
        entered = np.where(some, self.windows.at(inner_first), right)
        left_behind = np.where(some, self.windows.at(inner_last), right)
        growth += np.where(entered < left, left, 0.0)
        growth += np.where(right < left_behind, left_behind, 0.0)
        add_resets(growth, replace(self.windows, first=inner_first, last=inner_last))


def _last_until(windows: Windows, limit_ms: I64) -> I64:
    """Return the last sample of each window that is not later than a time; one before its first if none is.

    Shapes:
        limit_ms: (W,); returns: (W,)
    """
    low, high = windows.first - 1, windows.last
    while (searching := low < high).any():
        middle = (low + high + 1) // 2
        early = windows.times[middle] <= limit_ms
        low = np.where(searching & early, middle, low)
        high = np.where(searching & ~early, middle - 1, high)
    return low


def _interpolated(windows: Windows, before: I64, after: I64, at_ms: I64, counter: bool) -> F64:
    """Return the value at a time on the line between two samples; a counter that fell rises from zero.

    Shapes:
        before, after, at_ms: (W,); returns: (…, W)
    """
    low, high = windows.at(before), windows.at(after)
    if counter:
        low = np.where(high < low, 0.0, low)
    before_ms, after_ms = windows.times[before], windows.times[after]
    value: F64 = low + (high - low) * (at_ms - before_ms) / (after_ms - before_ms)
    return value


def _increase(ends: _Ends) -> KernelResult:
    return ends.growth(counter=True), ends.exists


def _rate(ends: _Ends) -> KernelResult:
    return ends.growth(counter=True) / (ends.range.range_ms / 1000), ends.exists


def _delta(ends: _Ends) -> KernelResult:
    return ends.growth(counter=False), ends.exists


def _from_first(kernel: Kernel) -> _OfRange:
    return lambda ends: (kernel(replace(ends.windows, first=ends.first))[0], ends.exists)


_OfRange: TypeAlias = Callable[[_Ends], KernelResult]
_FUNCTIONS: dict[str, _OfRange] = {
    "changes": _from_first(kernels.changes),
    "delta": _delta,
    "increase": _increase,
    "rate": _rate,
    "resets": _from_first(kernels.resets),
}
