"""Bucket bounds for histograms."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

INF = float("inf")
DEFAULT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, INF)
"""Seconds of a web request: the bounds of prometheus_client."""
MILLISECOND_BUCKETS = (1, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10_000, INF)
"""Milliseconds of a batch. A quantile above the last finite bound is told as that bound: 10 s."""


def bounds_of(buckets: Iterable[float | str]) -> list[float]:
    """Return the upper bounds with +Inf at the end.

    Raises:
        ValueError: they are not in rising order, or there is none but +Inf.

    >>> bounds_of([1, "5"])
    [1.0, 5.0, inf]
    """
    bounds = [float(bucket) for bucket in buckets]
    if bounds and bounds[-1] != INF:
        bounds.append(INF)
    if len(bounds) < 2:
        raise ValueError(f"got the buckets {bounds}, wanted at least one bound below +Inf")
    if not all(low < high for low, high in pairwise(bounds)):
        raise ValueError(f"got the buckets {bounds}, wanted each bound above the one before it")
    return bounds
