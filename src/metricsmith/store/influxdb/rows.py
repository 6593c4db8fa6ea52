"""The rows of an answer, from text to arrays without a Python step for each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from metricsmith.model.arrays import F64
from metricsmith.store.influxdb.server import malformed, series_of
from metricsmith.store.prometheus.points import cut_points

_WORDS = ((b"null", b"nan"), (b"true", b"1"), (b"false", b"0"))


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one measurement and tag set.

    Shapes:
        numbers: (N, 1 + F) time in milliseconds and the fields asked for, NaN where there is none.
    """

    measurement: bytes
    tags: tuple[tuple[bytes, bytes], ...]
    numbers: F64


def rows_in(body: bytes, fields: int) -> list[Rows]:
    """Return the rows of an answer about so many fields of numbers.

    Raises:
        as `series_of`.
    """
    rest, texts = cut_points(body)
    found = [(series, _text(series.get("values"), texts)) for series in series_of(rest)]
    if not found:
        return []
    try:
        numbers = _numbers(b",".join(text for _, text in found))
        counts = [text.count(b",") + 1 for _, text in found]
        if sum(counts) != len(numbers) or any(count % (fields + 1) for count in counts):
            raise ValueError("rows are not as wide as they were asked for")
        if np.isnan(numbers[:: fields + 1]).any():
            raise ValueError("a row has no time")
        return list(_rows(found, numbers, counts, fields))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise malformed(error) from None


def _rows(
    found: list[tuple[dict[str, Any], bytes]], numbers: F64, counts: list[int], fields: int
) -> Iterator[Rows]:
    at = 0
    for (series, _), count in zip(found, counts, strict=True):
        tags = tuple((n.encode(), v.encode()) for n, v in (series.get("tags") or {}).items() if v)
        yield Rows(series["name"].encode(), tags, numbers[at : at + count].reshape(-1, fields + 1))
        at += count


def _text(values: Any, texts: list[bytes]) -> bytes:
    if type(values) is not int or not 0 <= values < len(texts):
        raise malformed("a series without rows")
    return texts[values]


def _numbers(text: bytes) -> F64:
    data = text.translate(None, b"[]")
    for word, number in _WORDS:
        if word in data:
            data = data.replace(word, number)
    if b'"' in data:
        raise ValueError("a text among numbers")
    commas = np.flatnonzero(np.frombuffer(data, np.uint8) == ord(","))
    digits = data.translate(None, b",")
    starts = np.concatenate([[0], commas - np.arange(len(commas)), [len(digits)]]).astype(np.int32)
    buffers = [None, pa.py_buffer(starts.tobytes()), pa.py_buffer(digits)]
    column = pa.Array.from_buffers(pa.string(), len(starts) - 1, buffers)
    values: F64 = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return values
