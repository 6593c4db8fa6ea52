"""Parts of a date in UTC, from seconds since the Unix epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from metricsmith.model.arrays import F64, I64, Bool

Dates: TypeAlias = Any
"""Arrays of datetime64 or of their parts; NumPy's stubs do not follow their units."""

_LIMIT_S = 2.0**53
_DAY_S = 86_400


def _known(seconds: F64) -> tuple[I64, Bool]:
    """Return whole seconds, and where they make a date; elsewhere the epoch."""
    known = np.abs(seconds) < _LIMIT_S
    return np.trunc(np.where(known, seconds, 0.0)).astype(np.int64), known


def _part(take: Callable[[I64], Dates]) -> Callable[[F64], F64]:
    def part(seconds: F64) -> F64:
        whole, known = _known(seconds)
        return np.where(known, take(whole).astype(np.float64), np.nan)

    return part


def _dates(seconds: I64, unit: str) -> Dates:
    return seconds.astype("datetime64[s]").astype(f"datetime64[{unit}]")


def _day_of_month(seconds: I64) -> Dates:
    return (_dates(seconds, "D") - _dates(seconds, "M").astype("datetime64[D]")).astype(np.int64) + 1


def _day_of_year(seconds: I64) -> Dates:
    return (_dates(seconds, "D") - _dates(seconds, "Y").astype("datetime64[D]")).astype(np.int64) + 1


def _days_in_month(seconds: I64) -> Dates:
    month = _dates(seconds, "M")
    return ((month + 1).astype("datetime64[D]") - month.astype("datetime64[D]")).astype(np.int64)


DATE_PARTS: dict[str, Callable[[F64], F64]] = {
    "minute": _part(lambda s: s % 3600 // 60),
    "hour": _part(lambda s: s % _DAY_S // 3600),
    "day_of_week": _part(lambda s: (s // _DAY_S + 4) % 7),
    "day_of_month": _part(_day_of_month),
    "day_of_year": _part(_day_of_year),
    "days_in_month": _part(_days_in_month),
    "month": _part(lambda s: _dates(s, "M").astype(np.int64) % 12 + 1),
    "year": _part(lambda s: _dates(s, "Y").astype(np.int64) + 1970),
}
"""Each part of a date; NaN where the number is no date."""
