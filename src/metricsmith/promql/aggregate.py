"""Aggregations over series: sum, avg, min, max, count, group, stddev, stdvar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.model.series_keys import SeriesKeys, derive
from metricsmith.promql.series_labels import number_groups, signatures
from metricsmith.promql.sliding import cancelled, compensated_sums, signs
from metricsmith.promql.values import Vector
from metricsmith.promql.windows import CHUNK_VALUES

FEW_ROWS = 3
"""With fewer rows of each group than this, a call for each group costs more than it saves."""


@dataclass(frozen=True, slots=True)
class Grouped:
    """A vector and its groups.

    Shapes:
        groups: G label keys.
        order: (S,) rows of the vector, those of one group side by side.
        numbers: (S,) group of each row in that order, ascending.
        starts: (G,) where each group begins in that order.
    """

    vector: Vector
    groups: list[bytes]
    order: I64
    numbers: I64
    starts: I64

    def rows(self) -> list[I64]:
        """Return the rows of each group."""
        return np.split(self.order, self.starts[1:])

    def fold(self, operation: np.ufunc, identity: float, terms: Terms) -> F64:
        """Return an associative operation over what `terms` makes of each group's values.

        Rows are gathered, masked and reduced in pieces that fit the cache.

        Shapes:
            returns: (G, T)
        """
        steps = self.vector.values.shape[1]
        result = np.full((len(self.groups), steps), identity)
        size = max(1, CHUNK_VALUES // max(steps, 1))
        for start in range(0, len(self.order), size):
            part = slice(start, start + size)
            rows, numbers = self.order[part], self.numbers[part]
            cuts = np.flatnonzero(np.diff(numbers, prepend=-1))
            reduced = reduce_rows(operation, terms(*self._take(rows), numbers), cuts)
            touched = slice(numbers[0], numbers[-1] + 1)
            result[touched] = operation(result[touched], reduced)
        return result

    def _take(self, rows: I64) -> tuple[F64, Bool | None]:
        values, present = self.vector.values, self.vector.present
        if rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
            span = slice(rows[0], rows[-1] + 1)
            return values[span], None if present is None else present[span]
        return values[rows], None if present is None else present[rows]

    def counts(self) -> F64:
        """Return the number of values of each group at each step.

        Shapes:
            returns: (G, T)
        """
        if self.vector.present is None:
            sizes = np.diff(self.starts, append=len(self.order))
            return np.repeat(sizes[:, None], self.vector.values.shape[1], axis=1).astype(np.float64)
        return self.fold(np.add, 0.0, _presence)


Terms: TypeAlias = Callable[[F64, Bool | None, I64], F64]
"""Called with values (N, T), mask (N, T) or None, and group of each row (N,); returns (N, T)."""

Reduction: TypeAlias = Callable[[Grouped], F64]
"""Return one value of each group at each step, shape (G, T)."""


def reduce_rows(operation: np.ufunc, values: F64, cuts: I64) -> F64:
    """Return the rows between cuts reduced to one: row by row, as `reduceat` does not go.

    Shapes:
        values: (N, T); cuts: (G,) first row of each group.
        returns: (G, T)
    """
    if FEW_ROWS * len(cuts) > len(values):
        found: F64 = operation.reduceat(values, cuts, axis=0)
        return found
    return np.stack([operation.reduce(part, axis=0) for part in np.split(values, cuts[1:])])


def _presence(values: F64, present: Bool | None, numbers: I64) -> F64:
    return np.ones_like(values) if present is None else present.astype(np.float64)


def _or(absent: float) -> Terms:
    def filled(values: F64, present: Bool | None, numbers: I64) -> F64:
        return values if present is None else np.where(present, values, absent)

    return filled


def group_series(vector: Vector, labels: tuple[str, ...], without: bool) -> Grouped:
    """Return the vector grouped by some labels, or by all others."""
    return Grouped(vector, *grouping(vector.keys, labels, without))


def grouping(keys: list[bytes], labels: tuple[str, ...], without: bool) -> tuple[SeriesKeys, I64, I64, I64]:
    """Return the groups of some keys, and what `Grouped` says of them: order, numbers, starts."""
    return derive(keys, ("groups", labels, without), lambda: _grouping(keys, labels, without))


def _grouping(keys: list[bytes], labels: tuple[str, ...], without: bool) -> tuple[SeriesKeys, I64, I64, I64]:
    numbers, groups = number_groups(signatures(keys, labels, keep=not without))
    order = np.arange(len(numbers))
    if (np.diff(numbers) < 0).any():
        order = np.argsort(numbers, kind="stable")
        numbers = numbers[order]
    return SeriesKeys(groups), order, numbers, np.searchsorted(numbers, np.arange(len(groups)))


def sums(grouped: Grouped) -> F64:
    """Return sums, compensated where terms cancel."""
    return _compensated(grouped, 1.0)


def _compensated(grouped: Grouped, scale: float) -> F64:
    """Return sums of the values times a scale."""
    negative = positive = False

    def terms(values: F64, present: Bool | None, numbers: I64) -> F64:
        nonlocal negative, positive
        filled = values if present is None else np.where(present, values, 0.0)
        if not (negative and positive):
            here = signs(filled)
            negative, positive = negative or here[0], positive or here[1]
        return filled if scale == 1 else filled * scale

    def magnitudes(values: F64, present: Bool | None, numbers: I64) -> F64:
        return np.abs(terms(values, present, numbers))

    found = grouped.fold(np.add, 0.0, terms)
    if not (negative and positive):
        return found
    bad = cancelled(found, grouped.fold(np.add, 0.0, magnitudes))
    rows = grouped.rows()
    for group in np.flatnonzero(bad.any(axis=1)).tolist():
        steps = np.flatnonzero(bad[group])
        cells = np.ix_(rows[group], steps)
        present = None if grouped.vector.present is None else grouped.vector.present[cells]
        block = terms(grouped.vector.values[cells], present, grouped.numbers)
        found[group, steps] = compensated_sums(
            block.ravel(), np.arange(len(steps)), np.full(len(steps), len(block)), len(steps)
        )
    return found


def averages(grouped: Grouped) -> F64:
    """Return means; finite values have a finite mean, also where their sum overflows."""
    totals, counts = sums(grouped), grouped.counts()
    means = totals / counts
    overflown = ~np.isfinite(totals)
    if overflown.any():
        share = 1.0 / max(len(grouped.order), 1)
        means[overflown] = (_compensated(grouped, share) / (counts * share))[overflown]
    return means


def minima(grouped: Grouped) -> F64:
    """Return the smallest values; NaN only where there is no other."""
    return grouped.fold(np.fmin, np.nan, _or(np.nan))


def maxima(grouped: Grouped) -> F64:
    """Return the largest values; NaN only where there is no other."""
    return grouped.fold(np.fmax, np.nan, _or(np.nan))


def counts(grouped: Grouped) -> F64:
    """Return the number of values."""
    return grouped.counts()


def ones(grouped: Grouped) -> F64:
    """Return 1 for each group."""
    return np.ones((len(grouped.groups), grouped.vector.values.shape[1]))


def variances(grouped: Grouped) -> F64:
    """Return population variances, in two passes; exactly 0 where all values are equal."""
    # Measured from one of the values, equal values have a mean of exactly 0.
    origin, counts = maxima(grouped), grouped.counts()

    def apart(values: F64, present: Bool | None, numbers: I64) -> F64:
        return _or(0.0)(values - origin[numbers], present, numbers)

    mean = grouped.fold(np.add, 0.0, apart) / counts

    def squares(values: F64, present: Bool | None, numbers: I64) -> F64:
        return _or(0.0)(np.square(values - origin[numbers] - mean[numbers]), present, numbers)

    return grouped.fold(np.add, 0.0, squares) / counts


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


def alive(grouped: Grouped) -> Bool | None:
    """Return where a group has a value.

    Shapes:
        returns: (G, T), or None where every group always has one.
    """
    return None if grouped.vector.present is None else grouped.counts() > 0


def reduce_groups(vector: Vector, reduction: Reduction, labels: tuple[str, ...], without: bool) -> Vector:
    """Return the aggregation of each group, at each step where it has a value."""
    if not vector.keys:
        return vector
    grouped = group_series(vector, labels, without)
    return Vector(grouped.groups, reduction(grouped), alive(grouped))
