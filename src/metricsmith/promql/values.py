"""What the nodes of a plan give each other: whole blocks of series × steps.

A real NaN is a value; that a series has no value at a step is said by the mask `present`, and what
stands in `values` there is unspecified.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from metricsmith.errors import ExecutionError
from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.model.selection import MatrixGroup, RaggedGroup

MAX_TIME_MS = 2**53
"""Furthest time of a query before and after 1970: what an answer in float seconds can still tell apart."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Evaluation times: `start_ms`, then every `step_ms`, `count` of them; step 0 repeats one time."""

    start_ms: int
    step_ms: int
    count: int

    @classmethod
    def between(cls, start_ms: int, end_ms: int, step_ms: int) -> Grid:
        """Return the grid from start to end, both included when the step fits; empty when end < start."""
        return cls(start_ms, step_ms, max(0, (end_ms - start_ms) // step_ms + 1))

    @classmethod
    def single(cls, time_ms: int) -> Grid:
        """Return the grid of one time."""
        return cls(time_ms, 1, 1)

    @property
    def end_ms(self) -> int:
        """The last time."""
        return self.start_ms + (self.count - 1) * self.step_ms

    def times(self) -> I64:
        """Return all times.

        Shapes:
            returns: (T,)
        """
        return self.start_ms + np.arange(self.count, dtype=np.int64) * self.step_ms

    def shifted(self, by_ms: int) -> Grid:
        """Return the grid moved by some time."""
        return Grid(self.start_ms + by_ms, self.step_ms, self.count)


@dataclass(frozen=True, slots=True)
class QueryTimes:
    """What a query was asked for; step 0 is an instant query. The end need not be a step.

    Raises:
        ExecutionError: a time that is no sample's, beyond `MAX_TIME_MS`.
    """

    start_ms: int
    end_ms: int
    step_ms: int

    def __post_init__(self) -> None:
        for name, time_ms in (("start", self.start_ms), ("end", self.end_ms), ("step", self.step_ms)):
            if abs(time_ms) > MAX_TIME_MS:
                raise ExecutionError(f"got {name} {time_ms} ms, wanted at most 2^53 from 1970")

    def grid(self) -> Grid:
        """Return the evaluation times."""
        if not self.step_ms:
            return Grid.single(self.start_ms)
        return Grid.between(self.start_ms, self.end_ms, self.step_ms)


@dataclass(frozen=True, slots=True)
class Vector:
    """An instant vector at every step.

    Shapes:
        keys: S canonical label keys.
        values: (S, T).
        present: (S, T), or None when every value is there.
    """

    keys: list[bytes]
    values: F64
    present: Bool | None = None

    def mask(self) -> Bool:
        """Return the mask, all true when there is none.

        Shapes:
            returns: (S, T), possibly a read-only view.
        """
        if self.present is None:
            return np.broadcast_to(np.True_, self.values.shape)
        return self.present


@dataclass(frozen=True, slots=True)
class Scalar:
    """A number at every step.

    Shapes:
        values: (T,)
    """

    values: F64


@dataclass(frozen=True, slots=True)
class String:
    """A text."""

    value: str


@dataclass(frozen=True, slots=True)
class RangeVector:
    """Samples, and the windows over them: one window of `range_ms` ends at each time of `ends`.

    Windows are left-open, or closed when `closed`. Series without samples in
    any window may be among the keys.

    Shapes:
        keys: S canonical label keys; the groups' `rows` index it.
    """

    keys: list[bytes]
    matrices: list[MatrixGroup]
    ragged: RaggedGroup | None
    ends: Grid
    range_ms: int
    closed: bool


Value: TypeAlias = Vector | Scalar | String | RangeVector


def series_count(value: Value) -> int:
    """Return the number of series; a scalar counts as one."""
    match value:
        case Vector() | RangeVector():
            return len(value.keys)
        case Scalar():
            return 1
        case String():
            return 0


def sample_count(value: Value) -> int:
    """Return the number of values, or of samples under windows."""
    match value:
        case Vector() | Scalar():
            return value.values.size
        case RangeVector():
            loose = 0 if value.ragged is None else len(value.ragged.times)
            return loose + sum(matrix.values.size for matrix in value.matrices)
        case String():
            return 0


def narrow(keys: list[bytes], values: F64, present: Bool | None) -> Vector:
    """Return a vector without the series that have no value at any step; drops a mask that is all true."""
    if not values.shape[1]:
        return Vector([], values[:0])
    if present is None or present.all():
        return Vector(keys, values)
    alive = present.any(axis=1)
    if alive.all():
        return Vector(keys, values, present)
    kept = np.flatnonzero(alive)
    kept_present = present[kept]
    return Vector(
        [keys[i] for i in kept.tolist()], values[kept], None if kept_present.all() else kept_present
    )


def both(left: Bool | None, right: Bool | None) -> Bool | None:
    """Return where both masks are true; None stands for all true."""
    if left is None:
        return right
    return left if right is None else left & right
