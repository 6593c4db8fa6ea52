"""Samples as columns, as they are read from files."""

from __future__ import annotations

from dataclasses import dataclass

from metricsmith.model.arrays import F64, I64, U32, Bool


@dataclass(frozen=True, slots=True)
class Columns:
    """Samples in the order of a file.

    Shapes:
        series: (P,) process-wide ids. times, values: (P,). stale: (P,) or None.
    Units:
        times: milliseconds.
    """

    series: U32
    times: I64
    values: F64
    stale: Bool | None

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True, slots=True)
class Damage:
    """Something that cannot be read: where in a file, and what is wrong with it."""

    place: str
    problem: str
