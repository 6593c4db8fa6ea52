"""Quantiles out of the cumulative counts of a classic histogram's buckets."""

from __future__ import annotations

import math
import re

import numpy as np

from metricsmith.model.arrays import F64, I64

BUCKET_LABEL = "le"
SMALL_DELTA = 1e-12
_DIGITS = r"\d+(?:_\d+)*"
_NUMBER = re.compile(
    rf"[+-]?(?:(?:{_DIGITS}\.?(?:{_DIGITS})?|\.{_DIGITS})(?:e[+-]?{_DIGITS})?|inf|infinity)", re.I | re.ASCII
)


def bucket_bound(text: str) -> float:
    """Return the upper bound that an `le` label holds, NaN where it is no number.

    Source:
        Go `strconv.ParseFloat`, but for hexadecimal numbers, which nobody writes:
        what is too large is no number rather than infinite.
    """
    if not _NUMBER.fullmatch(text):
        return math.nan
    bound = float(text)
    return math.nan if math.isinf(bound) and text[-1].isdigit() else bound


def with_equal_bounds_merged(limits: F64, counts: F64) -> tuple[F64, F64]:
    """Return bounds and counts, those of equal bounds (`1` and `1.0`) added up.

    Shapes:
        limits: (B,) ascending, counts: (B, T)
    """
    upper, starts = np.unique(limits, return_index=True)
    return upper, np.add.reduceat(counts, starts, axis=0)


def monotonic(counts: F64) -> F64:
    """Return cumulative counts that never fall; differences as small as rounding errors are levelled.

    Shapes:
        counts: (B, T)
    """
    result = counts.copy()
    for row in range(1, len(result)):
        before, here = result[row - 1], result[row]
        close = np.abs(before - here) <= SMALL_DELTA * (np.abs(before) + np.abs(here))
        here[:] = np.where(close | (here < before), before, here)
    return result


def have_quantiles(upper: F64) -> bool:
    """Return whether buckets with these bounds can tell a quantile: they end in +Inf and are two or more."""
    return len(upper) > 1 and bool(upper[-1] == np.inf)


def bucket_quantile(upper: F64, counts: F64, quantile: F64) -> F64:
    """Return quantiles of histograms, interpolated linearly inside their bucket.

    A quantile beyond the last finite bound is that bound; where nothing was
    counted, or no quantile is asked for, it is NaN; below 0 and above 1 it is infinite.

    Shapes:
        upper: (B,) ascending and distinct, `have_quantiles`; counts: (B, T), monotonic.
        quantile, returns: (T,)
    Source:
        Prometheus `bucketQuantile`.
    """
    outside = outside_quantile(quantile)
    inside = (quantile >= 0) & (quantile <= 1)
    total = counts[-1]
    rank = quantile * total
    bucket = _first_reaching(counts[:-1], rank)
    below = np.maximum(bucket - 1, 0)
    steps = np.arange(counts.shape[1])
    before = np.where(bucket > 0, counts[below, steps], 0.0)
    start = np.where(bucket > 0, upper[below], 0.0)
    share = (rank - before) / (counts[bucket, steps] - before)
    result = start + (upper[bucket] - start) * share
    result = np.where((bucket == 0) & (upper[0] <= 0), upper[0], result)
    result = np.where(bucket == len(upper) - 1, upper[-2], result)
    return np.where(inside & (total != 0), result, outside)


def outside_quantile(quantile: F64) -> F64:
    """Return what a quantile is where the counts do not matter: infinite below 0 and above 1, else NaN."""
    return np.select([quantile < 0, quantile > 1], [-np.inf, np.inf], np.nan)


def _first_reaching(counts: F64, rank: F64) -> I64:
    """Return the first bucket whose count reaches the rank; one past the last when none does."""
    reached = counts >= rank
    found: I64 = np.where(reached.any(axis=0), reached.argmax(axis=0), len(counts))
    return found
