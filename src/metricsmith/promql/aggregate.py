"""Aggregations over series: sum, avg, min, max, count, group, stddev, stdvar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.promql.series_labels import number_groups, signatures
from metricsmith.promql.sliding import cancelled, compensated_sums, mixed_signs
from metricsmith.promql.values import Vector


@dataclass(frozen=True, slots=True)
class Grouped:
    """A vector with the series of each group side by side.

    Shapes:
        keys: S label keys of the series, in the order of `values`.
        groups: G label keys.
        starts: (G,) first row of each group.
        numbers: (S,) group of each row, ascending.
        values: (S, T); present: (S, T) or None.
    """

    keys: list[bytes]
    groups: list[bytes]
    starts: I64
    numbers: I64
    values: F64
    present: Bool | None

    def counts(self) -> F64:
        """Return the number of values of each group at each step.

        Shapes:
            returns: (G, T)
        """
        if self.present is None:
            sizes = np.diff(self.starts, append=len(self.numbers))
            return np.repeat(sizes[:, None], self.values.shape[1], axis=1).astype(np.float64)
        return np.add.reduceat(self.present, self.starts, axis=0, dtype=np.float64)

    def filled(self, absent: float) -> F64:
        """Return the values with absent ones replaced."""
        return self.values if self.present is None else np.where(self.present, self.values, absent)

    def alive(self) -> Bool | None:
        """Return where a group has a value.

        Shapes:
            returns: (G, T) or None
        """
        return None if self.present is None else np.logical_or.reduceat(self.present, self.starts, axis=0)

    def slices(self) -> list[slice]:
        """Return the rows of each group."""
        cuts = [*self.starts.tolist(), len(self.numbers)]
        return [slice(a, b) for a, b in pairwise(cuts)]


def group_series(vector: Vector, labels: tuple[str, ...], without: bool) -> Grouped:
    """Return the vector grouped by some labels, or by all others."""
    numbers, groups = number_groups(signatures(vector.keys, labels, keep=not without))
    values, present, keys = vector.values, vector.present, vector.keys
    if len(groups) > 1 and (np.diff(numbers) < 0).any():
        order = np.argsort(numbers, kind="stable")
        numbers, values = numbers[order], values[order]
        present = None if present is None else present[order]
        keys = [keys[i] for i in order.tolist()]
    return Grouped(keys, groups, np.searchsorted(numbers, np.arange(len(groups))), numbers, values, present)


Reduction: TypeAlias = Callable[[Grouped], F64]
"""Return one value of each group at each step, shape (G, T)."""


def sums(grouped: Grouped) -> F64:
    """Return sums, compensated where terms cancel."""
    return _compensated(grouped, grouped.filled(0.0))


def _compensated(grouped: Grouped, values: F64) -> F64:
    found: F64 = np.add.reduceat(values, grouped.starts, axis=0)
    if mixed_signs(values):
        bad = cancelled(found, np.add.reduceat(np.abs(values), grouped.starts, axis=0))
        if bad.any():
            group, step = np.nonzero(bad)
            steps = values.shape[1]
            sizes = np.diff(grouped.starts, append=len(values))
            flat = np.ascontiguousarray(values).ravel()
            found[bad] = compensated_sums(flat, grouped.starts[group] * steps + step, sizes[group], steps)
    return found


def averages(grouped: Grouped) -> F64:
    """Return means; finite values have a finite mean, also where their sum overflows."""
    values, counts = grouped.filled(0.0), grouped.counts()
    totals = _compensated(grouped, values)
    means = totals / counts
    overflown = ~np.isfinite(totals)
    if overflown.any():
        scale = max(len(values), 1)
        means[overflown] = (_compensated(grouped, values / scale) / (counts / scale))[overflown]
    return means


def minima(grouped: Grouped) -> F64:
    """Return the smallest values; NaN only where there is no other."""
    return np.fmin.reduceat(grouped.filled(np.nan), grouped.starts, axis=0)


def maxima(grouped: Grouped) -> F64:
    """Return the largest values; NaN only where there is no other."""
    return np.fmax.reduceat(grouped.filled(np.nan), grouped.starts, axis=0)


def counts(grouped: Grouped) -> F64:
    """Return the number of values."""
    return grouped.counts()


def ones(grouped: Grouped) -> F64:
    """Return 1 for each group."""
    return np.ones((len(grouped.groups), grouped.values.shape[1]))


def variances(grouped: Grouped) -> F64:
    """Return population variances, in two passes; exactly 0 where all values are equal."""
    # Measured from one of the values, equal values have a mean of exactly 0.
    apart = grouped.filled(np.nan) - maxima(grouped)[grouped.numbers]
    if grouped.present is not None:
        apart[~grouped.present] = 0.0
    apart -= (np.add.reduceat(apart, grouped.starts, axis=0) / grouped.counts())[grouped.numbers]
    squares = apart * apart
    if grouped.present is not None:
        squares[~grouped.present] = 0.0
    return np.add.reduceat(squares, grouped.starts, axis=0) / grouped.counts()


def deviations(grouped: Grouped) -> F64:
    """Return population standard deviations."""
    return np.sqrt(variances(grouped))


REDUCTIONS: dict[str, Reduction] = {
    "sum": sums,
    "avg": averages,
    "min": minima,
    "max": maxima,
    "count": counts,
    "group": ones,
    "stddev": deviations,
    "stdvar": variances,
}


def reduce_groups(vector: Vector, reduction: Reduction, labels: tuple[str, ...], without: bool) -> Vector:
    """Return the aggregation of each group, at each step where it has a value."""
    if not vector.keys:
        return vector
    grouped = group_series(vector, labels, without)
    return Vector(grouped.groups, reduction(grouped), grouped.alive())
