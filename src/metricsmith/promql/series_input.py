"""Series as a person hands them over, lists or arrays of any kind, made into sorted NumPy arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np

from metricsmith.model.arrays import F64, I64
from metricsmith.model.labels import encode_labels

Series: TypeAlias = tuple[Mapping[str, str], Any, Any]
"""Labels, timestamps in ms, values: each a list, a NumPy or Arrow array, or what `np.asarray` takes."""


_MAX_MS = (1 << 63) - 1


def read_series(series: Iterable[Series]) -> dict[bytes, tuple[I64, F64]]:
    """Return times, ascending and distinct, and values by label key; keys sorted.

    A series that comes twice is joined. Where a timestamp comes twice, the last
    value wins, as in the store.

    Raises:
        TypeError, ValueError: a series is malformed; the message names it by its index.
    """
    if not isinstance(series, Iterable):
        raise TypeError(f"series: got {type(series).__name__}, wanted tuples (labels, timestamps_ms, values)")
    parts: dict[bytes, list[tuple[I64, F64]]] = {}
    for index, item in enumerate(series):
        where = f"series[{index}]"
        labels, times, values = _three(item, where)
        parts.setdefault(_key(labels, where), []).append(_samples(times, values, where))
    return {key: _sorted(parts[key]) for key in sorted(parts)}


def _three(item: Any, where: str) -> tuple[Any, Any, Any]:
    if not isinstance(item, tuple | list) or len(item) != 3:
        got = f"{len(item)} items" if isinstance(item, tuple | list) else type(item).__name__
        raise TypeError(f"{where}: got {got}, wanted a tuple (labels, timestamps_ms, values)")
    return item[0], item[1], item[2]


def _key(labels: Any, where: str) -> bytes:
    if not isinstance(labels, Mapping):
        raise TypeError(
            f"{where}: got labels of type {type(labels).__name__}, wanted a mapping such as "
            '{"__name__": "up", "job": "shop"}'
        )
    for name, value in labels.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"{where}: got label {name!r}: {value!r}, wanted text for name and value")
        if not name:
            raise ValueError(
                f'{where}: got a label without name of value {value!r}, wanted a name such as "job"'
            )
    try:
        return encode_labels(labels)
    except UnicodeEncodeError as error:
        raise ValueError(f"{where}: got a label that is not valid Unicode ({error.reason})") from None


def _samples(times: Any, values: Any, where: str) -> tuple[I64, F64]:
    times, values = _array(times, f"{where}: timestamps"), _array(values, f"{where}: values")
    if len(times) != len(values):
        raise ValueError(f"{where}: got {len(times)} timestamps and {len(values)} values, wanted as many")
    if not len(times):
        return np.empty(0, np.int64), np.empty(0)
    if times.dtype.kind not in "iu":
        hint = {"f": '; use .astype("int64")', "M": '; use .astype("datetime64[ms]").astype("int64")'}
        raise TypeError(
            f"{where}: got timestamps of type {times.dtype}, wanted whole milliseconds"
            + hint.get(times.dtype.kind, "")
        )
    if times.dtype.kind == "u" and (largest := int(times.max())) > _MAX_MS:
        raise ValueError(f"{where}: got a timestamp of {largest} ms, wanted at most {_MAX_MS}")
    if values.dtype.kind not in "iufb":
        raise TypeError(f"{where}: got values of type {values.dtype}, wanted numbers")
    return times.astype(np.int64), values.astype(np.float64)


def _array(given: Any, what: str) -> Any:
    if getattr(given, "null_count", 0):
        raise ValueError(
            f"{what}: got {given.null_count} nulls, wanted none; drop them, or fill them with NaN"
        )
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None
    if array.ndim != 1:
        raise ValueError(f"{what}: got {array.ndim} dimensions, wanted a list or an array of one")
    return array


def _sorted(parts: list[tuple[I64, F64]]) -> tuple[I64, F64]:
    times = np.concatenate([times for times, _ in parts])
    values = np.concatenate([values for _, values in parts])
    if (np.diff(times) > 0).all():
        return times, values
    order = np.argsort(times, kind="stable")
    times, values = times[order], values[order]
    last = np.append(np.diff(times) > 0, True)
    return times[last], values[last]
