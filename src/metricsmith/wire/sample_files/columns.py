"""Samples as columns, as they are read from files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metricsmith.model.arrays import F64, I64, U32, Bool
from metricsmith.model.batch import Batch


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


def columns_of(batches: Sequence[Batch]) -> Columns:
    """Return the samples of batches one after another."""
    stale = None
    if any(batch.stale is not None for batch in batches):
        stale = np.concatenate([batch.stales() for batch in batches])
    return Columns(
        np.concatenate([batch.layout.ids for batch in batches]),
        np.concatenate([batch.times() for batch in batches]),
        np.concatenate([batch.value for batch in batches]),
        stale,
    )
