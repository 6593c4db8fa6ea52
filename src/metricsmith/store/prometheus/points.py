"""The points of an answer's series, from text to arrays without a Python step for each.

In JSON `"values":[[` begins the points of a series and nothing else: within a string its quotes would be
escaped. So the points are cut out before the rest, which is small, is read as JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from metricsmith.model.arrays import F64, I64
from metricsmith.wire.exposition.numbers import MalformedNumber, parse_floats, to_millis

_START, _BETWEEN, _END = b'"values":[[', b"],[", b"]]"
MAX_TIME_S = 1e13
_BRACKETS = b'[]"'


def cut_points(body: bytes) -> tuple[bytes, list[bytes]]:
    """Return an answer where each series has a number for its points, and the points' texts by number.

    >>> cut_points(b'{"a":[{"values":[[1,"2"],[3,"4"]]}]}')
    (b'{"a":[{"values":0}]}', [b'1,"2"],[3,"4"'])
    """
    kept: list[bytes] = []
    texts: list[bytes] = []
    at = 0
    while (start := body.find(_START, at)) >= 0:
        first = start + len(_START)
        end = body.find(_END, first)
        if end < 0:
            break
        kept += (body[at:start], b'"values":%d' % len(texts))
        texts.append(body[first:end])
        at = end + len(_END)
    kept.append(body[at:])
    return b"".join(kept), texts


def points_text(values: Any, texts: Sequence[bytes]) -> bytes:
    """Return the text of a series' points: by number, or of a list where they were not written as usual."""
    if isinstance(values, int):
        return texts[values]
    return _BETWEEN.join(f"{time_s},{value}".encode() for time_s, value in values)


def count_points(text: bytes) -> int:
    """Return the number of points in a text.

    Raises:
        ValueError: they are no pairs.
    """
    if not text:
        return 0
    numbers = text.count(b",") + 1
    if numbers % 2:
        raise ValueError("points are no pairs of time and value")
    return numbers // 2


def parse_points(texts: Sequence[bytes]) -> tuple[I64, F64]:
    """Return times in milliseconds and values of the points in some texts, one after another.

    Shapes:
        returns: (P,), (P,)
    Raises:
        ValueError: what stands there is no number.
    """
    data = b",".join(text for text in texts if text).translate(None, _BRACKETS)
    if not data:
        return np.empty(0, np.int64), np.empty(0)
    commas = np.flatnonzero(np.frombuffer(data, np.uint8) == ord(","))
    starts = np.concatenate([[0], commas - np.arange(len(commas))])
    numbers = data.translate(None, b",")
    offsets = np.append(starts, len(numbers)).astype(np.int32)
    buffers = [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(numbers)]
    try:
        found = parse_floats(pa.Array.from_buffers(pa.binary(), len(starts), buffers))
    except MalformedNumber as error:
        raise ValueError(f"a point has no {error.wanted.removeprefix('a ')}") from None
    times_s, values = found[0::2], found[1::2]
    if not (np.abs(times_s) < MAX_TIME_S).all():
        raise ValueError("a time is none")
    return to_millis(times_s), np.ascontiguousarray(values)
