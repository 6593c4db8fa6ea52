"""DDSketch: quantiles of a stream with a bound on the relative error, in bounded memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from math import ceil, log

SMALLEST = 1e-12
"""Values nearer to zero count as zero."""


class Sketch:
    """Counts values in bins whose bounds grow by a constant factor.

    A quantile is told with at most `error` of its value off, as long as the
    values span no more than `max_bins` bins: beyond, the lowest are merged.

    Source:
        Masson, Rim, Lee: DDSketch, PVLDB 12(12), 2019; logarithmic mapping,
        collapsing the lowest bins.
    """

    __slots__ = ("error", "gamma", "max_bins", "negative", "per_log", "positive", "zero")

    def __init__(self, error: float = 0.01, max_bins: int = 2048) -> None:
        if not 0 < error < 1:
            raise ValueError(f"got a relative error of {error}, wanted one between 0 and 1, such as 0.01")
        self.error, self.max_bins = error, max_bins
        self.gamma = (1 + error) / (1 - error)
        self.per_log = 1 / log(self.gamma)
        self.positive: defaultdict[int, int] = defaultdict(int)
        self.negative: defaultdict[int, int] = defaultdict(int)
        self.zero = 0

    def add(self, value: float) -> None:
        """Count a finite value."""
        if value > SMALLEST:
            self.positive[ceil(log(value) * self.per_log)] += 1
        elif value < -SMALLEST:
            self.negative[ceil(log(-value) * self.per_log)] += 1
        else:
            self.zero += 1

    def merge(self, others: Iterable[Sketch]) -> None:
        """Add what other sketches of the same error have counted."""
        for other in others:
            self.zero += other.zero
            for mine, theirs in ((self.positive, other.positive), (self.negative, other.negative)):
                for key, count in list(theirs.items()):
                    mine[key] += count

    def quantiles(self, wanted: Iterable[float]) -> list[float]:
        """Return the values at some quantiles (0 to 1, rising or not); NaN of an empty sketch."""
        bins = [(-self._value(k), n) for k, n in sorted(self.negative.items(), reverse=True)]
        bins += [(0.0, self.zero)] if self.zero else []
        bins += [(self._value(k), n) for k, n in sorted(self.positive.items())]
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
