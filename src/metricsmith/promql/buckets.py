"""Classic histograms out of their series: cumulative counts in `le` buckets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.model.bucket_quantile import BUCKET_LABEL, bucket_bound
from metricsmith.model.labels import PAIR, decode_labels
from metricsmith.model.series_keys import SeriesKeys, derive
from metricsmith.promql.remarks import CallRemarks, bad_bucket
from metricsmith.promql.series_labels import merge_same_labels, number_groups, signatures, without_names
from metricsmith.promql.values import Vector, narrow
from metricsmith.promql.windows import CHUNK_VALUES

OfBuckets: TypeAlias = Callable[..., F64]
"""Called with upper bounds (B,) ascending, counts (B, T), and what is known of each step, (T,) each.

Returns one value per step, (T,). Bounds may occur twice.
"""


@dataclass(frozen=True, slots=True)
class BucketRemarks:
    """Remarks on a call, and which of its arguments holds the buckets."""

    call: CallRemarks
    argument: int


def over_buckets(
    buckets: Vector, calculate: OfBuckets, per_step: Sequence[Any], remarks: BucketRemarks
) -> Vector:
    """Return a function of each histogram, names dropped; series that are no buckets are left out.

    Shapes:
        per_step: (T,) each, handed on to `calculate`.
    """
    keys = buckets.keys
    limits, usable, groups, rows = derive(keys, "histograms", lambda: _histograms(keys))
    if len(usable) < len(limits):
        unusable = np.flatnonzero(np.isnan(limits)).tolist()
        found = (bad_bucket(_bound_text(buckets.keys[i])) for i in unusable)
        remarks.call.warn(found, remarks.argument)
    shape = len(groups), buckets.values.shape[1]
    values, present = np.empty(shape), np.zeros(shape, dtype=np.bool_)
    for alike in _with_equal_buckets(rows, limits, shape[1]):
        cells = np.stack([rows[group] for group in alike], axis=1)
        counts = buckets.values[cells].reshape(len(cells), -1)
        mask = np.asarray(buckets.mask()[cells]).reshape(len(cells), -1)
        tiled = [np.tile(np.broadcast_to(each, shape[1:]), len(alike)) for each in per_step]
        result = _for_each_pattern(limits[cells[:, 0]], counts, mask, tiled, calculate)
        values[alike] = result.reshape(len(alike), -1)
        present[alike] = mask.any(axis=0).reshape(len(alike), -1)
    return merge_same_labels(narrow(without_names(groups), values, present))


def _histograms(keys: Sequence[bytes]) -> tuple[F64, I64, SeriesKeys, list[I64]]:
    """Return upper bounds, which series have one, and the histograms: names and rows, bounds ascending."""
    limits = np.array([bucket_bound(_bound_text(key)) for key in keys])
    usable = np.flatnonzero(~np.isnan(limits))
    numbers, groups = number_groups(_histogram_key(keys[i]) for i in usable.tolist())
    order = np.lexsort((limits[usable], numbers))
    rows = np.split(usable[order], np.searchsorted(numbers[order], np.arange(1, len(groups))))
    return limits, usable, SeriesKeys(groups), rows[: len(groups)]


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


def _bound_text(key: bytes) -> str:
    return decode_labels(key).get(BUCKET_LABEL, "")


def _for_each_pattern(
    limits: F64, counts: F64, mask: Bool, per_step: Sequence[Any], calculate: OfBuckets
) -> F64:
    """Return results at steps that may lack some of the buckets: one calculation per set of buckets.

    Shapes:
        limits: (B,), counts and mask: (B, T); returns: (T,), NaN where there is no bucket at all.
    """
    whole: Bool = np.logical_and.reduce(mask, axis=0)
    if whole.all():
        return calculate(limits, counts, *per_step)
    result = np.full(len(whole), np.nan)
    if whole.any():
        result[whole] = calculate(limits, counts[:, whole], *(each[whole] for each in per_step))
    partial = np.flatnonzero(mask.any(axis=0) & ~whole)
    patterns, which = np.unique(mask[:, partial], axis=1, return_inverse=True)
    for number in range(patterns.shape[1]):
        steps = partial[which.ravel() == number]
        rows = np.flatnonzero(patterns[:, number])
        some = counts[np.ix_(rows, steps)]
        result[steps] = calculate(limits[rows], some, *(each[steps] for each in per_step))
    return result
