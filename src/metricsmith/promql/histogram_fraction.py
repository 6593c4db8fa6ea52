"""histogram_fraction over classic buckets: which share of the observations lies between two values."""

from __future__ import annotations

import numpy as np

from metricsmith.model.arrays import F64
from metricsmith.model.bucket_quantile import with_equal_bounds_merged
from metricsmith.promql.buckets import BucketRemarks, over_buckets
from metricsmith.promql.remarks import CallRemarks
from metricsmith.promql.values import Scalar, Vector


def histogram_fraction(lower: Scalar, upper: Scalar, buckets: Vector, remarks: CallRemarks) -> Vector:
    """Return the share of each histogram's observations between two values, interpolated in its buckets.

    Source:
        Prometheus `BucketFraction`: buckets begin at 0 unless the lowest bound
        is negative or 0; counts are taken as they are, also where they fall.
    """
    return over_buckets(buckets, _fraction, (lower.values, upper.values), BucketRemarks(remarks, argument=2))


def _fraction(limits: F64, counts: F64, lower: F64, upper: F64) -> F64:
    """Return shares of one histogram whose buckets are all there.

    Shapes:
        limits: (B,) ascending, counts: (B, T), lower, upper: (T,); returns: (T,)
    """
    bounds, counts = with_equal_bounds_merged(limits, counts)
    total = counts[-1]
    between = _observations_below(upper, bounds, counts) - _observations_below(lower, bounds, counts)
    share = np.where(lower >= upper, 0.0, between / total)
    unknown = (total == 0) | np.isnan(lower) | np.isnan(upper) | (bounds[-1] != np.inf)
    return np.where(unknown, np.nan, share)


def _observations_below(value: F64, bounds: F64, counts: F64) -> F64:
    """Return how many observations are below a value.

    Shapes:
        value: (T,), bounds: (B,), counts: (B, T); returns: (T,)
    """
    steps = np.arange(counts.shape[1])
    bucket = np.minimum(np.searchsorted(bounds, value, side="right"), len(bounds) - 1)
    below = np.maximum(bucket - 1, 0)
    start = np.where(bucket > 0, bounds[below], 0.0 if bounds[0] > 0 else -np.inf)
    before = np.where(bucket > 0, counts[below, steps], 0.0)
    here = counts[bucket, steps]
    inside = before + (here - before) * (value - start) / (bounds[bucket] - start)
    found = np.select(
        [value == np.inf, value <= start, np.isneginf(start)], [counts[-1], before, here], inside
    )
    capped: F64 = np.minimum(found, counts[-1])
    return capped
