"""How much counters grew since the sample before, series by series."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.model.series_state import SeriesState


@dataclass(frozen=True, slots=True)
class Growth:
    """Growth over the time since the sample before; only what is `present` says something.

    `late` samples are not after the one before. `restarted` counters began anew.

    Shapes:
        all: (D,)
    """

    value: F64
    elapsed_ms: F64
    present: Bool
    late: Bool
    restarted: Bool


def growth(
    state: SeriesState,
    slots: I64,
    time_ms: int | I64,
    value: F64,
    usable: Bool,
    max_gap_ms: int,
    restarted: Bool | None = None,
) -> Growth:
    """Return the growth since the samples before, and remember these in the columns `value` and `time`.

    A value below the one before is a restart from zero, unless `restarted`
    says which are: a sum of what can be negative may fall.

    Shapes:
        slots: (D,) distinct. value, usable, restarted: (D,)
    """
    values, times = state.columns["value"], state.columns["time"]
    elapsed = time_ms - times[slots]
    late = elapsed <= 0
    with np.errstate(invalid="ignore", over="ignore"):
        before = values[slots]
        fallen: Bool = value < before if restarted is None else restarted
        change = np.where(fallen, value, value - before)
    remembered = usable & ~late
    if remembered.all():
        values[slots], times[slots] = value, time_ms
    else:
        kept = slots[remembered]
        values[kept] = value[remembered]
        times[kept] = time_ms if isinstance(time_ms, int) else time_ms[remembered]
    return Growth(change, elapsed, remembered & (elapsed <= max_gap_ms), late, fallen)
