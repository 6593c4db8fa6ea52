"""Samples brought together in groups, and reduced to one number for each group."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from metricsmith.model.arrays import F64, I64, Bool

Function: TypeAlias = Literal["sum", "avg", "min", "max", "count", "last"]


@dataclass(frozen=True, slots=True)
class Groups:
    """Which samples are in which group; no group is empty.

    Shapes:
        order: (N,) places of samples, group after group. starts: (G,) where each begins in `order`.
    """

    order: I64
    starts: I64

    def reduce(self, function: Function, value: F64, present: Bool, time_ms: int | I64) -> tuple[F64, Bool]:
        """Return one number for each group out of what is present, and whether there was anything.

        A NaN makes sum and avg NaN, as in PromQL; min and max pass over it.
        Of equal times the later sample is the last.

        Shapes:
            value, present: (N,), time_ms: one int or (N,); returns: (G,), (G,)
        """
        if not len(self.starts):
            return np.empty(0), np.empty(0, dtype=np.bool_)
        value, present = value[self.order], present[self.order]
        times = time_ms if isinstance(time_ms, int) else time_ms[self.order]
        count = np.add.reduceat(present.astype(np.float64), self.starts)
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            return _FUNCTIONS[function](self.starts, value, present, times, count), count > 0

    def latest(self, time_ms: int | I64, present: Bool) -> int | I64:
        """Return the latest time in each group, of what is present where something is.

        Shapes:
            time_ms: one int or (N,), present: (N,); returns: one int or (G,)
        """
        if isinstance(time_ms, int) or not len(self.starts):
            return time_ms if isinstance(time_ms, int) else np.empty(0, dtype=np.int64)
        times = time_ms[self.order]
        some = np.logical_or.reduceat(present[self.order], self.starts)
        seen = np.where(present[self.order], times, np.iinfo(np.int64).min)
        return np.where(some, np.maximum.reduceat(seen, self.starts), np.maximum.reduceat(times, self.starts))


def group(numbers: I64) -> tuple[I64, Groups]:
    """Return the distinct numbers, ascending, and the groups of what has the same.

    Shapes:
        numbers: (N,); returns: (G,)
    """
    order = np.argsort(numbers, kind="stable")
    starts = np.flatnonzero(np.diff(numbers[order], prepend=-1))
    return numbers[order[starts]], Groups(order, starts)


_Reduce: TypeAlias = Callable[[I64, F64, Bool, "int | I64", F64], F64]


def _sum(starts: I64, value: F64, present: Bool, times: int | I64, count: F64) -> F64:
    total: F64 = np.add.reduceat(np.where(present, value, 0.0), starts)
    return total


def _avg(starts: I64, value: F64, present: Bool, times: int | I64, count: F64) -> F64:
    return _sum(starts, value, present, times, count) / count


def _min(starts: I64, value: F64, present: Bool, times: int | I64, count: F64) -> F64:
    least: F64 = np.fmin.reduceat(np.where(present, value, np.nan), starts)
    return least


def _max(starts: I64, value: F64, present: Bool, times: int | I64, count: F64) -> F64:
    most: F64 = np.fmax.reduceat(np.where(present, value, np.nan), starts)
    return most


def _count(starts: I64, value: F64, present: Bool, times: int | I64, count: F64) -> F64:
    return count


def _last(starts: I64, value: F64, present: Bool, times: int | I64, count: F64) -> F64:
    number = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(value)))
    rank = np.lexsort((np.arange(len(value)), np.broadcast_to(times, value.shape), present, number))
    ends = np.append(starts[1:], len(value)) - 1
    last: F64 = value[rank[ends]]
    return last


_FUNCTIONS: dict[Function, _Reduce] = {
    "sum": _sum,
    "avg": _avg,
    "min": _min,
    "max": _max,
    "count": _count,
    "last": _last,
}
