"""Quantiles of classic histograms: cumulative counts in `le` buckets."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.model.labels import PAIR, decode_labels
from metricsmith.promql.remarks import CallRemarks, Forced, bad_bucket, bad_quantiles
from metricsmith.promql.series_labels import drop_name, merge_same_labels, number_groups, signatures
from metricsmith.promql.values import Scalar, Vector, narrow
from metricsmith.promql.windows import CHUNK_VALUES

BUCKET_LABEL = "le"
SMALL_DELTA = 1e-12
_NUMBER = re.compile(
    r"[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|inf|infinity|nan)", re.I | re.ASCII
)


def histogram_quantile(quantile: Scalar, buckets: Vector, times: I64, remarks: CallRemarks) -> Vector:
    """Return a quantile of each histogram, interpolated linearly inside its bucket.

    Source:
        Prometheus `bucketQuantile` and `ensureMonotonicAndIgnoreSmallDeltas`.
    """
    remarks.warn(bad_quantiles(quantile.values), argument=0)
    limits = np.array([_upper_bound(key) for key in buckets.keys])
    usable = np.flatnonzero(~np.isnan(limits))
    if len(usable) < len(limits):
        unusable = np.flatnonzero(np.isnan(limits)).tolist()
        remarks.warn((bad_bucket(_bound_text(buckets.keys[i])) for i in unusable), argument=1)
    numbers, groups = number_groups(_histogram_key(buckets.keys[i]) for i in usable.tolist())
    order = np.lexsort((limits[usable], numbers))
    rows = np.split(usable[order], np.searchsorted(numbers[order], np.arange(1, len(groups))))
    shape = len(groups), buckets.values.shape[1]
    values, present = np.empty(shape), np.zeros(shape, dtype=np.bool_)
    for alike in _with_equal_buckets(rows[: len(groups)], limits, shape[1]):
        cells = np.stack([rows[group] for group in alike], axis=1)
        counts = buckets.values[cells].reshape(len(cells), -1)
        mask = np.asarray(buckets.mask()[cells]).reshape(len(cells), -1)
        at = _Steps(np.tile(quantile.values, len(alike)), np.tile(times, len(alike)), remarks)
        found = _masked_quantile(at, limits[cells[:, 0]], counts, mask)
        values[alike] = found.reshape(len(alike), -1)
        present[alike] = mask.any(axis=0).reshape(len(alike), -1)
    return merge_same_labels(narrow([drop_name(key) for key in groups], values, present))


@dataclass(frozen=True, slots=True)
class _Steps:
    """What is asked of each column of counts, and where to say what had to be levelled in them.

    Shapes:
        quantile, times: (T,)
    """

    quantile: F64
    times: I64
    remarks: CallRemarks

    def some(self, columns: I64) -> _Steps:
        """Return the same of some columns."""
        return replace(self, quantile=self.quantile[columns], times=self.times[columns])


def _with_equal_buckets(rows: list[I64], limits: F64, steps: int) -> Iterator[list[int]]:
    """Yield the numbers of histograms with the same upper bounds, as many as fit the cache together."""
    alike: dict[bytes, list[int]] = {}
    for group, members in enumerate(rows):
        alike.setdefault(limits[members].tobytes(), []).append(group)
    for groups in alike.values():
        size = max(1, CHUNK_VALUES // (len(rows[groups[0]]) * max(steps, 1)))
        for start in range(0, len(groups), size):
            yield groups[start : start + size]


def _histogram_key(key: bytes) -> bytes:
    # The name tells two histograms apart, although the result does not show it.
    return key.partition(PAIR)[0] + signatures([key], (BUCKET_LABEL,), keep=False)[0]


def _upper_bound(key: bytes) -> float:
    """Return the bucket's upper bound, NaN where there is no such number."""
    text = _bound_text(key)
    return float(text) if _NUMBER.fullmatch(text) else math.nan


def _bound_text(key: bytes) -> str:
    return decode_labels(key).get(BUCKET_LABEL, "")


def _masked_quantile(at: _Steps, limits: F64, counts: F64, mask: Bool) -> F64:
    """Return quantiles at steps that may lack some of the buckets: one calculation per set of buckets.

    What is returned where there is no bucket at all has no meaning.

    Shapes:
        limits: (B,) ascending, counts and mask: (B, T); returns: (T,)
    """
    whole = mask.all(axis=0)
    if whole.all():
        return _quantile(at, limits, counts)
    result = _quantile(replace(at, quantile=np.where(whole, at.quantile, np.nan)), limits, counts)
    partial = np.flatnonzero(mask.any(axis=0) & ~whole)
    if not len(partial):
        return result
    patterns, which = np.unique(mask[:, partial], axis=1, return_inverse=True)
    for number in range(patterns.shape[1]):
        steps = partial[which.ravel() == number]
        rows = np.flatnonzero(patterns[:, number])
        result[steps] = _quantile(at.some(steps), limits[rows], counts[np.ix_(rows, steps)])
    return result


def _quantile(at: _Steps, limits: F64, counts: F64) -> F64:
    """Return quantiles of one histogram whose buckets are all there.

    Shapes:
        limits: (B,) ascending, counts: (B, T); returns: (T,)
    """
    quantile = at.quantile
    upper, starts = np.unique(limits, return_index=True)
    counts = np.add.reduceat(counts, starts, axis=0)
    outside = np.select([quantile < 0, quantile > 1], [-np.inf, np.inf], np.nan)
    inside = (quantile >= 0) & (quantile <= 1)
    if upper[-1] != np.inf or len(upper) < 2:
        return np.where(inside, np.nan, outside)
    found, counts = counts, _monotonic(counts)
    _remark_on_falls(at, upper, found, counts, inside)
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


def _monotonic(counts: F64) -> F64:
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


def _remark_on_falls(at: _Steps, upper: F64, found: F64, level: F64, asked: Bool) -> None:
    """Say where counts fell by more than rounding errors.

    Shapes:
        upper: (B,), found and level: (B, T), asked: (T,)
    """
    fall = level - found
    if not (fall > 0).any():
        return
    fell = (fall > SMALL_DELTA * (np.abs(level) + np.abs(found))) & asked
    rows, columns = fell.any(axis=1), fell.any(axis=0)
    if rows.any():
        bounds, times = upper[rows], at.times[columns]
        samples, greatest = int(columns.sum()), float(fall[fell].max())
        forced = Forced(
            float(bounds[0]), float(bounds[-1]), greatest, samples, int(times.min()), int(times.max())
        )
        at.remarks.inform_forced(forced, argument=1)


def _first_reaching(counts: F64, rank: F64) -> I64:
    """Return the first bucket whose count reaches the rank; one past the last when none does."""
    reached = counts >= rank
    found: I64 = np.where(reached.any(axis=0), reached.argmax(axis=0), len(counts))
    return found
