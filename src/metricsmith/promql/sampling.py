"""limitk and limit_ratio: some of the series, chosen by a hash of their labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xxhash

from metricsmith.errors import ExecutionError
from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.model.labels import split_key
from metricsmith.promql.aggregate import group_series
from metricsmith.promql.rank import whole_numbers
from metricsmith.promql.series_labels import NAME
from metricsmith.promql.values import Scalar, Vector, narrow

_LONG = 255


def limit_k(vector: Vector, parameter: Scalar, labels: tuple[str, ...], without: bool) -> Vector:
    """Return k series of each group at each step, with all their labels; always the same ones.

    Raises:
        ExecutionError: k is no number, or too large.
    """
    sizes = whole_numbers(parameter.values)
    if not vector.keys:
        return vector
    chosen = np.zeros(vector.values.shape, dtype=np.bool_)
    mask, offsets = vector.mask(), label_offsets(vector.keys)
    for rows in group_series(vector, labels, without).rows():
        rows = rows[np.argsort(offsets[rows], kind="stable")]
        chosen[rows] = _first_of(mask[rows], sizes)
    return narrow(vector.keys, vector.values, chosen)


def _first_of(candidates: Bool, wanted: I64) -> Bool:
    """Return the first `wanted` marked rows of each column."""
    return candidates & (candidates.cumsum(axis=0) <= wanted)


def limit_ratio(vector: Vector, parameter: Scalar) -> Vector:
    """Return about a share of the series, chosen by their labels alone; a negative share is the complement.

    `limit_ratio(-0.9, x)` holds what `limit_ratio(0.1, x)` leaves out.

    Raises:
        ExecutionError: the ratio is not a number.
    """
    ratios = np.clip(parameter.values, -1, 1)
    if np.isnan(ratios).any():
        raise ExecutionError("Ratio value is NaN")
    offsets = label_offsets(vector.keys)[:, None]
    chosen = np.where(ratios >= 0, offsets < ratios, offsets >= 1 + ratios)
    return narrow(vector.keys, vector.values, vector.mask() & chosen)


def label_offsets(keys: Sequence[bytes]) -> F64:
    """Return for each series a number from 0 to 1 that only its labels decide.

    Shapes:
        returns: (S,)
    Source:
        Prometheus: xxhash64 of its label encoding (`stringlabels`), over 2^64.
    """
    hashes = [xxhash.xxh64_intdigest(_encoded(key)) for key in keys]
    return np.array(hashes, dtype=np.uint64).astype(np.float64) / 2.0**64


def _encoded(key: bytes) -> bytes:
    """Return names and values in the order of the names, each after its length."""
    name, pairs = split_key(key)
    labels = sorted([(NAME, name), *pairs]) if name else pairs
    return b"".join(_size(text) + text for pair in labels for text in pair)


def _size(text: bytes) -> bytes:
    if len(text) < _LONG:
        return bytes([len(text)])
    return b"\xff" + len(text).to_bytes(3, "little")
