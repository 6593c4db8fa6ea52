"""DDSketch: quantiles of a stream with a bound on the relative error, in bounded memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from math import ceil, log

SMALLEST, LARGEST = 1e-9, 1e15
"""Absolute values between keep the error; smaller ones count as zero, larger ones as LARGEST."""


class Sketch:
    """Counts values in bins whose bounds grow by a constant factor.

    A quantile is told at most `error` of its value off. There are at most 2,763 bins for each sign at 1 %.

    Source:
        Masson, Rim, Lee: DDSketch, PVLDB 12(12), 2019; logarithmic mapping. The range is fixed, so that no
        bins need to be collapsed, which would give up the bound for low quantiles.

    >>> sketch = Sketch(error=0.01)
    >>> for value in range(1, 1001):
    ...     sketch.add(value)
    >>> [round(value) for value in sketch.quantiles([0.5, 0.99])]
    [498, 983]
    """

    __slots__ = ("error", "gamma", "negative", "per_log", "positive", "zero")

    def __init__(self, error: float = 0.01) -> None:
        if not 0.0001 <= error < 1:
            raise ValueError(f"got a relative error of {error}, wanted one from 0.0001 to 1, such as 0.01")
        self.error = error
        self.gamma = (1 + error) / (1 - error)
        self.per_log = 1 / log(self.gamma)
        self.positive: defaultdict[int, int] = defaultdict(int)
        self.negative: defaultdict[int, int] = defaultdict(int)
        self.zero = 0

    def add(self, value: float) -> None:
        """Count a value that is a number."""
        if SMALLEST < value < LARGEST:
            self.positive[ceil(log(value) * self.per_log)] += 1
        elif -SMALLEST <= value <= SMALLEST:
            self.zero += 1
        elif value > 0:
            self.positive[ceil(log(LARGEST) * self.per_log)] += 1
        else:
            self.negative[ceil(log(min(-value, LARGEST)) * self.per_log)] += 1

    def merge(self, other: Sketch) -> None:
        """Add what a sketch of the same error has counted, which may go on counting meanwhile."""
        self.zero += other.zero
        for mine, theirs in ((self.positive, other.positive), (self.negative, other.negative)):
            for key, count in dict(theirs).items():
                mine[key] += count

    def quantiles(self, wanted: Iterable[float]) -> list[float]:
        """Return the values at some quantiles from 0 to 1; NaN of an empty sketch."""
        bins = [(-self._value(key), count) for key, count in sorted(self.negative.items(), reverse=True)]
        bins += [(0.0, self.zero)] if self.zero else []
        bins += [(self._value(key), count) for key, count in sorted(self.positive.items())]
        total = sum(count for _, count in bins)
        return [_at(bins, quantile * (total - 1)) for quantile in wanted]

    def _value(self, key: int) -> float:
        """Return the value of a bin that is at most `error` from all within it."""
        return 2 * self.gamma**key / (self.gamma + 1)


def _at(bins: list[tuple[float, int]], rank: float) -> float:
    seen = 0
    for value, count in bins:
        seen += count
        if seen > rank:
            return value
    return float("nan")
