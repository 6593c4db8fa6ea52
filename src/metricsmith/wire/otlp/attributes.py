"""Attributes of OTLP as texts: any value has one, as label values are texts."""

from __future__ import annotations

import base64
import struct
from typing import Any

import numpy as np
import orjson

from metricsmith.errors import LimitExceeded, WireError
from metricsmith.wire.protobuf import BYTES, FIXED64, VARINT, expect, read_fields, read_varint, signed

MOST_ATTRIBUTES = 10_000
MOST_NESTED = 16
"""Lists in lists deeper than that are refused."""


def read_attributes(fields: bytes) -> list[tuple[str, str]]:
    """Return key and value of attributes, given as fields of whichever number that hold a KeyValue each.

    Raises:
        WireError: malformed.
    """
    return [_key_value(fields, start, stop) for _, _, start, stop in read_fields(fields, 0, len(fields))]


def check_attributes(count: int) -> None:
    """Raise LimitExceeded for too many attributes: one takes two bytes to send and a hundred to read."""
    if count > MOST_ATTRIBUTES:
        raise LimitExceeded(f"got more attributes or quantiles of one thing than {MOST_ATTRIBUTES:,}")


def read_text(data: bytes, at: int, end: int) -> str:
    """Return the text of a string field.

    Raises:
        WireError: not UTF-8.
    """
    try:
        return data[at:end].decode()
    except UnicodeDecodeError:
        shown = data[at : min(end, at + 80)].decode(errors="backslashreplace")
        raise WireError(f"got {shown!r}, wanted UTF-8") from None


def _key_value(data: bytes, at: int, end: int) -> tuple[str, str]:
    key, value = _pair(data, at, end, 0)
    return key, _as_text(value)


def _pair(data: bytes, at: int, end: int, depth: int) -> tuple[str, Any]:
    key: str = ""
    value: Any = None
    for number, kind, start, stop in read_fields(data, at, end):
        if number == 1:
            expect(kind, BYTES, "KeyValue", number)
            key = read_text(data, start, stop)
        elif number == 2:
            expect(kind, BYTES, "KeyValue", number)
            value = _any_value(data, start, stop, depth)
    return key, value


_ANY_KINDS = {1: BYTES, 2: VARINT, 3: VARINT, 4: FIXED64, 5: BYTES, 6: BYTES, 7: BYTES}


def _any_value(data: bytes, at: int, end: int, depth: int) -> Any:
    if depth > MOST_NESTED:
        raise WireError(f"got an attribute nested deeper than {MOST_NESTED} levels")
    value: Any = None
    for number, kind, start, stop in read_fields(data, at, end):
        if number not in _ANY_KINDS:
            continue
        expect(kind, _ANY_KINDS[number], "AnyValue", number)
        match number:
            case 1:
                value = read_text(data, start, stop)
            case 2:
                value = read_varint(data, start, stop)[0] != 0
            case 3:
                value = signed(read_varint(data, start, stop)[0])
            case 4:
                value = struct.unpack_from("<d", data, start)[0]
            case 5:
                inside = read_fields(data, start, stop)
                value = [_any_value(data, s, e, depth + 1) for n, k, s, e in inside if (n, k) == (1, BYTES)]
            case 6:
                inside = read_fields(data, start, stop)
                value = dict(_pair(data, s, e, depth + 1) for n, k, s, e in inside if (n, k) == (1, BYTES))
            case 7:
                value = base64.b64encode(data[start:stop]).decode()
    return value


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, float):
        return np.format_float_positional(value, trim="-") if 1e-6 <= abs(value) < 1e21 else _plain(value)
    return orjson.dumps(value).decode()


def _plain(value: float) -> str:
    return {np.inf: "+Inf", -np.inf: "-Inf", 0.0: "0"}.get(value, "NaN" if value != value else repr(value))
