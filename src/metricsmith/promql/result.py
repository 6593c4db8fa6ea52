"""Answers of the engine as the `data` object of Prometheus' HTTP API."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from metricsmith.model.labels import decode_labels
from metricsmith.model.query_result import Result
from metricsmith.model.selection import RaggedGroup


def to_api(result: Result) -> dict[str, Any]:
    """Return the `data` object of the HTTP API, for small answers: tests, the command line.

    Source:
        Prometheus, "HTTP API": times in seconds, values as text; remarks come
        as `warnings` and `infos` where there are any.
    """
    data: dict[str, Any] = {"resultType": result.type, "result": _payload(result)}
    if result.warnings:
        data["warnings"] = result.warnings
    if result.infos:
        data["infos"] = result.infos
    return data


def _payload(result: Result) -> list[Any]:
    times = [format_time(t) for t in result.steps.tolist()]
    match result.type:
        case "string":
            return [times[0], result.text]
        case "scalar":
            return [times[0], plain_number(float(result.values[0, 0]))]
        case "vector":
            rows = zip(result.keys, result.values[:, 0].tolist(), strict=True)
            return [{"metric": decode_labels(key), "value": [times[0], format_value(v)]} for key, v in rows]
        case "matrix" if result.raw is not None:
            return [_raw_series(key, result.raw, row) for row, key in enumerate(result.keys)]
        case "matrix":
            return [_series(result, times, row) for row in range(len(result.keys))]


def _series(result: Result, times: list[float | int], row: int) -> dict[str, Any]:
    steps = range(len(times)) if result.present is None else np.flatnonzero(result.present[row]).tolist()
    values = result.values[row].tolist()
    return {
        "metric": decode_labels(result.keys[row]),
        "values": [[times[step], format_value(values[step])] for step in steps],
    }


def _raw_series(key: bytes, raw: RaggedGroup, row: int) -> dict[str, Any]:
    samples = slice(int(raw.offsets[row]), int(raw.offsets[row + 1]))
    pairs = zip(raw.times[samples].tolist(), raw.values[samples].tolist(), strict=True)
    return {"metric": decode_labels(key), "values": [[format_time(t), format_value(v)] for t, v in pairs]}


def format_time(time_ms: int) -> float | int:
    """Return seconds, whole ones as an integer.

    >>> format_time(1500), format_time(2000)
    (1.5, 2)
    """
    return time_ms / 1000 if time_ms % 1000 else time_ms // 1000


def format_value(value: float) -> str:
    """Return a sample's value as Prometheus writes it: the shortest text that reads back the same.

    Source:
        Prometheus `jsonutil.MarshalFloat`: an exponent only below 1e-6 and from
        1e21 on.

    >>> format_value(1e-7), format_value(0.00001), format_value(1e20), format_value(float("-inf"))
    ('1e-07', '0.00001', '100000000000000000000', '-Inf')
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(value)
    if "e" in text and 1e-6 <= abs(value) < 1e21:
        return _without_exponent(text)
    return text.removesuffix(".0")


def plain_number(value: float) -> str:
    """Return a number without exponent, as Prometheus writes scalars and literals, which are no samples.

    >>> plain_number(1e-7), plain_number(2.0), plain_number(float("inf"))
    ('0.0000001', '2', '+Inf')
    """
    if not math.isfinite(value):
        return format_value(value)
    return np.format_float_positional(value, trim="-")


def _without_exponent(text: str) -> str:
    mantissa, _, exponent = text.partition("e")
    sign = "-" if mantissa[0] == "-" else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits, point = whole + fraction, len(whole) + int(exponent)
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    return f"{sign}{digits.ljust(point, '0')}"
