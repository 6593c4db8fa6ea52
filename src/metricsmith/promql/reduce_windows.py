"""Aggregations of a function over windows, piece by piece.

The values of single series are needed for nothing else then, so they are never all in memory: a piece is
reduced while it is in the cache. Where a sum needs compensation, its terms must be at hand, and the
ordinary way is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.promql.aggregate import grouping, reduce_rows
from metricsmith.promql.budget import Budget
from metricsmith.promql.kernels import Kernel
from metricsmith.promql.over_windows import kernel_results
from metricsmith.promql.series_labels import are_distinct
from metricsmith.promql.sliding import signs
from metricsmith.promql.values import RangeVector, Vector, narrow

REDUCED_IN_PIECES = frozenset({"sum", "avg", "min", "max", "count", "group"})
_OPERATIONS = {"sum": np.add, "avg": np.add, "min": np.fmin, "max": np.fmax}


@dataclass(frozen=True, slots=True)
class Unmade:
    """A vector that only an aggregation will look at.

    `keys` are the labels of its series where they have values. `vector` makes
    it; `made` is told which series have values when it was not made.
    """

    samples: RangeVector
    keys: list[bytes]
    kernel: Kernel
    parameters: Sequence[F64]
    vector: Callable[[], Vector]
    made: Callable[[list[bytes]], None]


def reduce_windows(
    op: str, unmade: Unmade, labels: tuple[str, ...], without: bool, budget: Budget
) -> Vector | None:
    """Return the aggregation, or None where all values are needed at once."""
    samples, steps = unmade.samples, unmade.samples.ends.count
    if not samples.keys or not steps or not are_distinct(unmade.keys):
        return None
    groups, order, numbers, _ = grouping(unmade.keys, labels, without)
    if 2 * len(groups) > len(samples.keys):
        return None
    group_of = np.empty(len(order), np.int64)
    group_of[order] = numbers
    total = _Total(op, len(groups), steps)
    alive = np.zeros(len(samples.keys), np.bool_)
    for piece, values, there in kernel_results(samples, unmade.kernel, unmade.parameters, budget):
        if piece.every_step:
            shape = len(piece.rows), steps
            mask = None if there.all() else np.broadcast_to(there.reshape(-1, steps), shape)
            alive[piece.rows] = True if mask is None else mask.any(axis=1)
            fits = total.add_rows(group_of[piece.rows], values.reshape(shape), mask)
        else:
            assert piece.windows.steps is not None
            kept = np.flatnonzero(there)
            rows = piece.rows[kept]
            alive[rows] = True
            fits = total.add_cells(group_of[rows] * steps + piece.windows.steps[kept], values[kept])
        if not fits:
            return None
    result = total.result()
    if result is None:
        return None
    unmade.made(samples.keys if alive.all() else [samples.keys[i] for i in np.flatnonzero(alive).tolist()])
    return narrow(groups, result, total.counts > 0)


class _Total:
    """What has been reduced so far.

    Shapes:
        values, counts: (G, T)
    """

    def __init__(self, op: str, groups: int, steps: int) -> None:
        self._op, self._operation = op, _OPERATIONS.get(op)
        self._adds = self._operation is np.add
        self._negative = self._positive = False
        self._values = np.full((groups, steps), 0.0 if self._adds else np.nan)
        self.counts = np.zeros((groups, steps))

    def add_rows(self, groups: I64, values: F64, mask: Bool | None) -> bool:
        """Add some series; returns whether that is all that there is to do for them.

        Shapes:
            groups: (N,); values, mask: (N, T)
        """
        order = np.arange(len(groups))
        if (groups[1:] < groups[:-1]).any():
            order = np.argsort(groups, kind="stable")
            groups, values, mask = groups[order], values[order], None if mask is None else mask[order]
        cuts = np.flatnonzero(np.diff(groups, prepend=-1))
        touched = groups[cuts]
        sizes = np.diff(cuts, append=len(groups)).astype(np.float64)
        there = np.repeat(sizes[:, None], values.shape[1], axis=1)
        if mask is not None:
            some = np.flatnonzero(~mask.all(axis=0))  # most often only the first steps, before any sample
            mask = mask[:, some]
            there[:, some] = np.add.reduceat(mask, cuts, axis=0, dtype=np.float64)
            if self._operation is not None:
                values = values if values.flags.writeable else values.copy()
                values[:, some] = np.where(mask, values[:, some], 0.0 if self._adds else np.nan)
        self.counts[touched] += there
        if self._operation is None:
            return True
        if not self._fits(values):
            return False
        reduced = reduce_rows(self._operation, values, cuts)
        self._values[touched] = self._operation(self._values[touched], reduced)
        return True

    def add_cells(self, cells: I64, values: F64) -> bool:
        """Add single values; `cells` is group · T + step.

        Shapes:
            cells, values: (C,)
        """
        self.counts += np.bincount(cells, minlength=self.counts.size).reshape(self.counts.shape)
        if self._operation is None:
            return True
        if not self._fits(values):
            return False
        if self._adds:
            added = np.bincount(cells, values, minlength=self._values.size)
            self._values += added.reshape(self._values.shape)
        else:
            self._operation.at(self._values.reshape(-1), cells, values)
        return True

    def _fits(self, values: F64) -> bool:
        if not self._adds:
            return True
        negative, positive = signs(values)
        self._negative, self._positive = self._negative or negative, self._positive or positive
        return not (self._negative and self._positive)

    def result(self) -> F64 | None:
        """Return the aggregation of each group and step; what stands where there is none has no meaning."""
        if self._op == "count":
            return self.counts
        if self._op == "group":
            return np.ones_like(self.counts)
        if self._op == "avg":
            if not np.isfinite(self._values).all():
                return None  # sums that overflow have a mean all the same
            return self._values / self.counts
        return self._values
