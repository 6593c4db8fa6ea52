"""Samples as JSON text: `t,"v"],[t,"v"],[t,"v` for each series, made in a few passes over arrays.

orjson writes the values of many series as shortest digits in one call. What stands before each value
(`"],[t`) and the value (`,"v`) become two Arrow arrays of texts over buffers that exist already; joining
them element by element gives the text of all series, to be cut where a series ends. The few values that
Prometheus writes otherwise than orjson (exponents, NaN, infinities) are put in before.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.promql.result import format_value

PIECE_VALUES = 32_768
"""Values per pass: their text fits the second-level cache."""
PLAIN_FROM, PLAIN_BELOW = 1e-5, 1e16  # in this range orjson writes no exponent
Texts: TypeAlias = Any
"""A `pa.LargeBinaryArray`, whose type stubs do not know the functions used here."""

_EXACT_BELOW = 2.0**53
_JOINT = len('"],[')
"""What joins a point to the one before; a row's first point has none before it."""
_COMMA = ord(",")
_TWO_DIGITS = np.array([f"{i:02d}" for i in range(100)], "S2")
_FOUR_DIGITS = np.array([f"{i:04d}" for i in range(10_000)], "S4")
_FRACTION = np.array([f".{i:03d}" for i in range(1_000)], "S4")
_TIME = np.dtype([("begin", "S4"), ("first", "S2"), ("middle", "S4"), ("last", "S4"), ("fraction", "S4")])
_TEN_DIGITS_MS = (10**12, 10**13)  # from 2001 to 2286 the seconds have ten digits


def rows_of_steps(steps: I64, values: F64, present: Bool | None) -> Iterator[memoryview]:
    """Yield the points of each series of a matrix, without the brackets around them.

    Shapes:
        steps: (T,); values, present: (S, T)
    """
    width = len(steps)
    size = max(1, PIECE_VALUES // max(width, 1))
    before = _before(steps)
    together = min(size, len(values))
    tiled = before if together == 1 else before.take(pa.array(np.tile(np.arange(width), together)))
    for start in range(0, len(values), size):
        part = values[start : start + size]
        mask = None if present is None else present[start : start + size]
        if mask is None or mask.all():
            yield from _rows(tiled[: part.size], part.ravel(), np.arange(len(part) + 1) * width)
        else:
            offsets = np.append(0, np.cumsum(mask.sum(axis=1)))
            yield from _rows(before.take(pa.array(np.nonzero(mask)[1])), part[mask], offsets)


def rows_of_samples(times: I64, values: F64, offsets: I64) -> Iterator[memoryview]:
    """Yield the points of series with times of their own, without the brackets around them.

    Shapes:
        times, values: (P,); offsets: (S + 1,)
    """
    first = 0
    while first < len(offsets) - 1:
        last = int(np.searchsorted(offsets, offsets[first] + PIECE_VALUES, side="right")) - 1
        last = max(last, first + 1)
        samples = slice(offsets[first], offsets[last])
        yield from _rows(_before(times[samples]), values[samples], offsets[first : last + 1] - offsets[first])
        first = last


def _rows(before: Texts, values: F64, offsets: I64) -> Iterator[memoryview]:
    """Yield the points of each row of values, rows one after another."""
    if not len(values):
        yield from (memoryview(b"") for _ in offsets[1:])
        return
    joined = pc.binary_join_element_wise(before, _values(values), pa.scalar(b"", pa.large_binary()))
    _, ends, data = joined.buffers()
    text = memoryview(data)
    for begin, end in pairwise(np.frombuffer(ends, np.int64)[offsets].tolist()):
        yield text[begin + _JOINT : end]


def _values(values: F64) -> Texts:
    """Return `,"v` for each value."""
    size = np.abs(values)
    rare = ~((size >= PLAIN_FROM) & (size < PLAIN_BELOW)) & (values != 0)
    some_rare = bool(rare.any())
    text = b',"' + _numbers(np.where(rare, 1.0, values) if some_rare else values).replace(b",", b',"')
    commas = np.flatnonzero(np.frombuffer(text, np.uint8) == _COMMA)
    found = _texts(text, np.append(commas, len(text)))
    if not some_rare:
        return found
    written = [b',"' + format_value(v).encode() for v in values[rare].tolist()]
    return pc.replace_with_mask(found, pa.array(rare), pa.array(written, pa.large_binary()))


def _numbers(values: F64) -> bytes:
    """Return shortest digits, whole numbers without a fraction, between commas.

    Shapes:
        values: (P,), P ≥ 1; 0 or of a size that needs no exponent.
    """
    whole = values == np.trunc(values)
    if whole.all() and np.abs(values).max() < _EXACT_BELOW and not np.signbit(values[values == 0]).any():
        return orjson.dumps(values.astype(np.int64), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
    text = orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)
    return (text[1:-1] + b",").replace(b".0,", b",")[:-1] if whole.any() else text[1:-1]


def _before(times: I64) -> Texts:
    """Return `"],[t` for each time: seconds, with three decimals unless they are whole."""
    if len(times) and (times.min() < _TEN_DIGITS_MS[0] or times.max() >= _TEN_DIGITS_MS[1]):
        return pa.array([b'"],[' + time_text(t).encode() for t in times.tolist()], pa.large_binary())
    seconds = times // 1000
    milliseconds = times - seconds * 1000
    high = seconds // 10_000
    text = np.empty(len(times), _TIME)
    text["begin"] = b'"],['
    text["first"] = _TWO_DIGITS[high // 10_000]
    text["middle"] = _FOUR_DIGITS[high % 10_000]
    text["last"] = _FOUR_DIGITS[seconds - high * 10_000]
    text["fraction"] = _FRACTION[milliseconds]
    whole = milliseconds == 0
    ends = np.cumsum(np.where(whole, _TIME.itemsize - 4, _TIME.itemsize))
    if whole.any():
        shown = np.ones((len(times), _TIME.itemsize), np.bool_)
        shown[whole, -4:] = False
        return _texts(text.view(np.uint8).reshape(shown.shape)[shown].data, np.append(0, ends))
    return _texts(text.view(np.uint8).data, np.append(0, ends))


def _texts(data: Any, offsets: I64) -> Texts:
    """Return views of parts of any buffer as texts."""
    buffers = [None, pa.py_buffer(offsets.data), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.large_binary(), len(offsets) - 1, buffers)


def time_text(time_ms: int) -> str:
    """Return seconds, with three decimals unless they are whole."""
    if time_ms % 1000 == 0:
        return str(time_ms // 1000)
    sign = "-" if time_ms < 0 else ""
    return f"{sign}{abs(time_ms) // 1000}.{abs(time_ms) % 1000:03d}"
