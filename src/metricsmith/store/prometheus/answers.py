"""Results of the server's query API as arrays, with bounds on what is taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from metricsmith.errors import QueryLimitExceeded
from metricsmith.model.arrays import I64
from metricsmith.model.labels import encode_labels
from metricsmith.model.query_result import Result
from metricsmith.model.selection import RaggedGroup
from metricsmith.store.prometheus.points import count_points, parse_points, points_text
from metricsmith.store.prometheus.server import Told, malformed, result_type

T = TypeVar("T")
SPARSE = 8
"""A matrix has at most that many cells for each value that an answer may have."""
NO_HISTOGRAMS = "{} series of native histograms are left out: they cannot be read yet"


def read(build: Callable[[], T]) -> T:
    """Return what `build` makes of an answer.

    Raises:
        StoreUnavailable: the answer is not of the form that it must have.
    """
    try:
        return build()
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise malformed(f"{type(error).__name__}: {error}") from None


class Limits:
    """Bounds on an answer: its series and its values."""

    def __init__(self, max_series: int, max_points: int) -> None:
        self._max_series, self.max_points = max_series, max_points

    def check_series(self, series: int) -> None:
        """Raise QueryLimitExceeded when an answer has more series than it may."""
        if series > self._max_series:
            raise QueryLimitExceeded(
                f"query would answer too many series: got {series}, wanted at most {self._max_series}; "
                "aggregate, or use a narrower selector",
                "series",
            )

    def check_points(self, points: int, most: int | None = None) -> None:
        """Raise QueryLimitExceeded when an answer has more values than it may."""
        most = self.max_points if most is None else most
        if points > most:
            raise QueryLimitExceeded(
                f"query would answer too many points: got {points}, wanted at most {most}; "
                "aggregate, or use a shorter range or a larger step",
                "points",
            )


def instant_result(told: Told, time_ms: int, limits: Limits) -> Result:
    """Return the answer of `/api/v1/query`.

    Raises:
        StoreUnavailable: malformed.
        QueryLimitExceeded: it has too much.
    """
    result = _instant(told, np.array([time_ms]), limits)
    return replace(result, warnings=told.warnings, infos=told.infos)


def _instant(told: Told, steps: I64, limits: Limits) -> Result:
    kind, found = result_type(told), told.data.get("result")
    match kind:
        case "scalar":
            value = read(lambda: float(found[1]))
            return Result("scalar", steps, [b""], np.array([[value]]))
        case "string":
            return Result("string", steps, text=read(lambda: str(found[1])))
        case "vector":
            found = _floats(found, "value", told, limits)
            limits.check_points(len(found))
            values = read(lambda: np.array([float(series["value"][1]) for series in found], np.float64))
            return Result("vector", steps, series_keys(found), values[:, None])
        case "matrix":
            found = _floats(found, "values", told, limits)
            keys, raw = series_keys(found), read(lambda: raw_samples(found, told, limits))
            return Result("matrix", steps, keys, raw=raw)
    raise malformed(f"resultType {kind[:50]!r}")


def range_result(told: Told, steps: I64, limits: Limits) -> Result:
    """Return the answer of `/api/v1/query_range` at its steps.

    Shapes:
        steps: (T,) milliseconds.
    Raises:
        as `instant_result`.
    """
    kind, found = result_type(told), told.data.get("result")
    if kind != "matrix":
        raise malformed(f"resultType {kind[:50]!r}")
    found = _floats(found, "values", told, limits)
    limits.check_points(len(found) * len(steps), limits.max_points * SPARSE)
    raw = read(lambda: raw_samples(found, told, limits))
    rows = np.repeat(raw.rows, np.diff(raw.offsets))
    columns = np.searchsorted(steps, raw.times)
    if len(columns) and (columns.max() >= len(steps) or (steps[columns] != raw.times).any()):
        raise malformed("it has times that are no steps of the range")
    values = np.full((len(found), len(steps)), np.nan)
    present = np.zeros(values.shape, np.bool_)
    values[rows, columns], present[rows, columns] = raw.values, True
    return Result(
        "matrix",
        steps,
        series_keys(found),
        values,
        None if present.all() else present,
        warnings=told.warnings,
        infos=told.infos,
    )


def raw_samples(found: Sequence[Any], told: Told, limits: Limits) -> RaggedGroup:
    """Return the samples of a matrix, series after series."""
    texts = [points_text(series["values"], told.points) for series in found]
    counts = np.fromiter(map(count_points, texts), np.int64, len(texts))
    limits.check_points(int(counts.sum()))
    times, values = parse_points(texts)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    later = np.diff(times) > 0
    begins = offsets[(offsets > 0) & (offsets < len(times))]
    later[begins - 1] = True  # another series may begin with any time
    if not later.all():
        raise ValueError("times of a series do not ascend")
    return RaggedGroup(np.arange(len(found)), offsets, times, values)


def series_keys(found: Sequence[Any]) -> list[bytes]:
    """Return the canonical keys of the series of a result."""
    keys = read(lambda: [encode_labels(series["metric"]) for series in found])
    if len(set(keys)) < len(keys):
        raise malformed("it has two series with the same labels")
    return keys


def _floats(found: Any, values: str, told: Told, limits: Limits) -> list[Any]:
    """Return the series of a result that have numbers, and remark what is left out."""
    if not isinstance(found, list):
        raise malformed("result is no list")
    limits.check_series(len(found))
    kept = read(lambda: [series for series in found if values in series])
    if len(kept) < len(found):
        told.warnings.append(NO_HISTOGRAMS.format(len(found) - len(kept)))
    return kept
