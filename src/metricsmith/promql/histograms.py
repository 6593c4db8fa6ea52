"""Quantiles of classic histograms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.model.bucket_quantile import (
    SMALL_DELTA,
    bucket_quantile,
    have_quantiles,
    monotonic,
    outside_quantile,
    with_equal_bounds_merged,
)
from metricsmith.promql.buckets import BucketRemarks, over_buckets
from metricsmith.promql.budget import Budget
from metricsmith.promql.remarks import CallRemarks, Forced, bad_quantiles, general
from metricsmith.promql.series_labels import merge_same_labels, replace_labels
from metricsmith.promql.values import Scalar, Vector, narrow


def histogram_quantile(quantile: Scalar, buckets: Vector, times: I64, remarks: CallRemarks) -> Vector:
    """Return a quantile of each histogram, interpolated linearly inside its bucket.

    Source:
        Prometheus `bucketQuantile` and `ensureMonotonicAndIgnoreSmallDeltas`.
    """
    remarks.warn(bad_quantiles(quantile.values), argument=0)
    calculate = _Quantile(BucketRemarks(remarks, argument=1))
    return over_buckets(buckets, calculate, (quantile.values, times), calculate.remarks)


def histogram_quantiles(
    buckets: Vector,
    label: str,
    quantiles: Sequence[Scalar],
    times: I64,
    remarks: CallRemarks,
    budget: Budget,
) -> Vector:
    """Return several quantiles of each histogram, told apart by a label with the quantile's number."""
    calculate = _Quantile(BucketRemarks(remarks, argument=0))
    keys: list[bytes] = []
    values, masks = [buckets.values[:0]], [buckets.mask()[:0]]
    for argument, quantile in enumerate(quantiles, start=2):
        remarks.warn(bad_quantiles(quantile.values), argument=argument)
        found = over_buckets(buckets, calculate, (quantile.values, times), calculate.remarks)
        for number in np.unique(quantile.values).tolist():
            asked = np.isnan(quantile.values) if number != number else quantile.values == number
            # A quantile that changes from step to step makes series without end.
            budget.check_samples((len(keys) + len(found.keys)) * len(times))
            keys += [replace_labels(key, {label: _open_metrics_number(number)}) for key in found.keys]
            values.append(found.values)
            masks.append(found.mask() & asked)
    return merge_same_labels(narrow(keys, np.concatenate(values), np.concatenate(masks)))


def _open_metrics_number(value: float) -> str:
    text = general(value)
    return text if any(c in text for c in ".eIN") else f"{text}.0"


@dataclass(frozen=True, slots=True)
class _Quantile:
    remarks: BucketRemarks

    def __call__(self, limits: F64, counts: F64, quantile: F64, times: I64) -> F64:
        """Return quantiles of histograms whose buckets are all there.

        Shapes:
            limits: (B,) ascending, counts: (B, T), quantile, times: (T,); returns: (T,)
        """
        upper, counts = with_equal_bounds_merged(limits, counts)
        if not have_quantiles(upper):
            return outside_quantile(quantile)
        level = monotonic(counts)
        asked = (quantile >= 0) & (quantile <= 1)
        _remark_on_falls(self.remarks, times, upper, counts, level, asked)
        return bucket_quantile(upper, level, quantile)


def _remark_on_falls(
    remarks: BucketRemarks, times: I64, upper: F64, found: F64, level: F64, asked: Bool
) -> None:
    """Say where counts fell by more than rounding errors.

    Shapes:
        upper: (B,), found and level: (B, T), times, asked: (T,)
    """
    fall = level - found
    if not (fall > 0).any():
        return
    fell = (fall > SMALL_DELTA * (np.abs(level) + np.abs(found))) & asked
    rows, columns = fell.any(axis=1), fell.any(axis=0)
    if rows.any():
        bounds, fell_at = upper[rows], times[columns]
        samples, greatest = int(columns.sum()), float(fall[fell].max())
        forced = Forced(
            float(bounds[0]), float(bounds[-1]), greatest, samples, int(fell_at.min()), int(fell_at.max())
        )
        remarks.call.inform_forced(forced, remarks.argument)
