"""OTLP requests in JSON to the same messages in Protobuf, which alone are read further."""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from metricsmith.errors import WireError
from metricsmith.wire.otlp.attributes import MOST_NESTED
from metricsmith.wire.protobuf import bytes_field, varint

_Encode = Callable[[Any, str], bytes]
_TEMPORALITY = {
    f"AGGREGATION_TEMPORALITY_{name}": i for i, name in enumerate(("UNSPECIFIED", "DELTA", "CUMULATIVE"))
}
_FLOATS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def protobuf_of(body: bytes) -> bytes:
    """Return the Protobuf form of an ExportMetricsServiceRequest in JSON.

    Fields that are not known are ignored, as are exemplars but for their number;
    64-bit integers may be texts, enums numbers or names.

    Raises:
        WireError: not JSON, or a value of the wrong type; the message says where.
    Source:
        OTLP 1.x, "JSON Protobuf Encoding".
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise WireError(f"got a body that is not JSON: {error}") from None
    return _message(_REQUEST, document, "body")


def _message(fields: Mapping[str, tuple[int, _Encode]], value: Any, where: str) -> bytes:
    if not isinstance(value, dict):
        raise _wrong(where, value, "an object")
    parts = []
    for name, content in value.items():
        if (known := fields.get(name)) is not None and content is not None:
            parts.append(known[1](content, f"{where}.{name}"))
    return b"".join(parts)


def _one(number: int, fields: Mapping[str, tuple[int, _Encode]]) -> tuple[int, _Encode]:
    return number, lambda value, where: bytes_field(number, _message(fields, value, where))


def _many(number: int, fields: Mapping[str, tuple[int, _Encode]]) -> tuple[int, _Encode]:
    def encode(value: Any, where: str) -> bytes:
        items = _items(value, where)
        return b"".join(
            bytes_field(number, _message(fields, v, f"{where}[{i}]")) for i, v in enumerate(items)
        )

    return number, encode


def _text(number: int) -> tuple[int, _Encode]:
    def encode(value: Any, where: str) -> bytes:
        if not isinstance(value, str):
            raise _wrong(where, value, "a text")
        return bytes_field(number, value.encode())

    return number, encode


def _integer(value: Any, where: str) -> int:
    try:
        number = int(value) if isinstance(value, str) and len(value) < 30 else value
    except ValueError:
        number = None
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if not isinstance(number, int) or isinstance(number, bool) or not -(1 << 63) <= number < 1 << 64:
        raise _wrong(where, value, "an integer of 64 bits")
    return number


def _double(value: Any, where: str) -> float:
    if isinstance(value, str):
        try:
            return _FLOATS[value] if value in _FLOATS else float(value[:400])
        except ValueError:
            raise _wrong(where, value, "a number") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(where, value, "a number")
    return float(value)


def _fixed(number: int) -> tuple[int, _Encode]:
    tag = varint(number << 3 | 1)
    return number, lambda value, where: tag + _word(value, where)


def _word(value: Any, where: str) -> bytes:
    return (_integer(value, where) & (1 << 64) - 1).to_bytes(8, "little")


def _float(number: int) -> tuple[int, _Encode]:
    tag = varint(number << 3 | 1)
    return number, lambda value, where: tag + struct.pack("<d", _double(value, where))


def _fixed_list(number: int) -> tuple[int, _Encode]:
    def encode(value: Any, where: str) -> bytes:
        return bytes_field(number, b"".join(_word(v, where) for v in _items(value, where)))

    return number, encode


def _float_list(number: int) -> tuple[int, _Encode]:
    def encode(value: Any, where: str) -> bytes:
        numbers = [_double(v, where) for v in _items(value, where)]
        return bytes_field(number, struct.pack(f"<{len(numbers)}d", *numbers))

    return number, encode


def _varint(number: int, names: Mapping[str, int] | None = None) -> tuple[int, _Encode]:
    tag = varint(number << 3)

    def encode(value: Any, where: str) -> bytes:
        if names is not None and isinstance(value, str) and value in names:
            return tag + varint(names[value])
        return tag + varint(_integer(value, where))

    return number, encode


def _flag(number: int) -> tuple[int, _Encode]:
    def encode(value: Any, where: str) -> bytes:
        if not isinstance(value, bool):
            raise _wrong(where, value, "true or false")
        return varint(number << 3) + bytes([value])

    return number, encode


def _base64(number: int) -> tuple[int, _Encode]:
    def encode(value: Any, where: str) -> bytes:
        try:
            return bytes_field(number, base64.b64decode(value, validate=True))
        except (TypeError, ValueError, binascii.Error):
            raise _wrong(where, value, "base64") from None

    return number, encode


def _any_value(value: Any, where: str) -> bytes:
    _check_depth(where)
    return bytes_field(2, _message(_ANY, value, where))


def _check_depth(where: str) -> None:
    if where.count(".value") > 2 * MOST_NESTED:
        raise WireError(f"got an attribute nested deeper than {MOST_NESTED} levels")


def _array(value: Any, where: str) -> bytes:
    _check_depth(where)
    if not isinstance(value, dict):
        raise _wrong(where, value, "an object")
    items = enumerate(_items(value.get("values", []), where))
    texts = [_message(_ANY, v, f"{where}.values[{i}]") for i, v in items]
    return bytes_field(5, b"".join(bytes_field(1, text) for text in texts))


def _pairs(value: Any, where: str) -> bytes:
    return bytes_field(6, _message({"values": _many(1, _KEY_VALUE)}, value, where))


def _skipped(number: int) -> tuple[int, _Encode]:
    return number, lambda value, where: bytes_field(number, b"") * len(_items(value, where))


def _items(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise _wrong(where, value, "a list")
    return value


def _wrong(where: str, value: Any, wanted: str) -> WireError:
    return WireError(f"{where[:200]}: got {orjson.dumps(value).decode()[:80]}, wanted {wanted}")


_Fields = dict[str, tuple[int, _Encode]]
_ANY: _Fields = {
    "stringValue": _text(1),
    "boolValue": _flag(2),
    "intValue": _varint(3),
    "doubleValue": _float(4),
    "arrayValue": (5, _array),
    "kvlistValue": (6, _pairs),
    "bytesValue": _base64(7),
}
_KEY_VALUE: _Fields = {"key": _text(1), "value": (2, _any_value)}
_TIMES: _Fields = {"startTimeUnixNano": _fixed(2), "timeUnixNano": _fixed(3)}
_NUMBER: _Fields = {
    **_TIMES,
    "asDouble": _float(4),
    "exemplars": _skipped(5),
    "asInt": _fixed(6),
    "attributes": _many(7, _KEY_VALUE),
    "flags": _varint(8),
}
_HISTOGRAM: _Fields = {
    **_TIMES,
    "count": _fixed(4),
    "sum": _float(5),
    "bucketCounts": _fixed_list(6),
    "explicitBounds": _float_list(7),
    "exemplars": _skipped(8),
    "attributes": _many(9, _KEY_VALUE),
    "flags": _varint(10),
    "min": _float(11),
    "max": _float(12),
}
_SUMMARY: _Fields = {
    **_TIMES,
    "count": _fixed(4),
    "sum": _float(5),
    "quantileValues": _many(6, {"quantile": _float(1), "value": _float(2)}),
    "attributes": _many(7, _KEY_VALUE),
    "flags": _varint(8),
}
_SUMMED: _Fields = {"aggregationTemporality": _varint(2, _TEMPORALITY), "isMonotonic": _flag(3)}
_METRIC: _Fields = {
    "name": _text(1),
    "description": _text(2),
    "unit": _text(3),
    "gauge": _one(5, {"dataPoints": _many(1, _NUMBER)}),
    "sum": _one(7, {"dataPoints": _many(1, _NUMBER), **_SUMMED}),
    "histogram": _one(9, {"dataPoints": _many(1, _HISTOGRAM), **_SUMMED}),
    "exponentialHistogram": _one(10, {"dataPoints": _many(1, {})}),
    "summary": _one(11, {"dataPoints": _many(1, _SUMMARY)}),
}
_SCOPE: _Fields = {"name": _text(1), "version": _text(2), "attributes": _many(3, _KEY_VALUE)}
_REQUEST: _Fields = {
    "resourceMetrics": _many(
        1,
        {
            "resource": _one(1, {"attributes": _many(1, _KEY_VALUE)}),
            "scopeMetrics": _many(
                2, {"scope": _one(1, _SCOPE), "metrics": _many(2, _METRIC), "schemaUrl": _text(3)}
            ),
        },
    )
}
