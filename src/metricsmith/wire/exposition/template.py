"""The template of a document: how the next one like it is recognised and cut into its numbers.

A scrape differs from the one before it in its numbers. The numbers stand between separators (blanks and
newlines), always the same ones counted from the top; everything between the numbers is literal text. So a
known document is recognised by comparing the literals, whatever the widths of the numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from metricsmith.model.arrays import I64, Bool
from metricsmith.wire.exposition.reader import Reading


@dataclass(frozen=True, slots=True)
class Pieces:
    """A document cut at its N numbers, into them and the N + 1 literals around them.

    Shapes:
        sizes: (N + 1,) bytes of each literal.
    """

    sizes: I64
    literals: Any
    numbers: Any


@dataclass(frozen=True, slots=True)
class Template:
    """How to recognise and read a document of known structure.

    Shapes:
        slots: (N,) of each number, the index of the separator before it.
        value_at: (P,) index of the value among the numbers; the timestamp follows where `timed`.
        series_size: (P,) bytes of the series text that ends where the value's separator stands, or 0.
        lines: (P,) line numbers.
    """

    separators: int
    slots: I64
    pieces: Pieces
    value_at: I64
    timed: Bool
    series_size: I64
    lines: I64

    def recognise(self, body: bytes, separators: I64) -> Pieces | None:
        """Return a document's pieces if it differs from this one in its numbers only, else None."""
        if len(separators) != self.separators:
            return None
        pieces = _cut(body, separators[self.slots] + 1, separators[self.slots + 1])
        same = np.array_equal(pieces.sizes, self.pieces.sizes)
        return pieces if same and pieces.literals.equals(self.pieces.literals) else None

    def keys_by_text(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the key of each series text, given the keys in order."""
        text = self.pieces.literals.to_pybytes()
        ends = np.cumsum(self.pieces.sizes)[self.value_at] - 1
        spans = zip((ends - self.series_size).tolist(), ends.tolist(), keys, strict=True)
        return {text[start:end]: key for start, end, key in spans if end > start}


def make_template(body: bytes, separators: I64, reading: Reading) -> Template:
    """Return the template of a document that has been read.

    Where a number does not stand between two separators (`}1`), no other document is ever recognised.
    """
    spans = reading.spans
    timed = spans[:, 4] >= 0
    timed.flags.writeable = False
    value_at = np.arange(len(timed)) + np.cumsum(timed) - timed
    starts = np.empty(len(spans) + int(timed.sum()), dtype=np.int64)
    ends = np.empty_like(starts)
    starts[value_at], ends[value_at] = spans[:, 2], spans[:, 3]
    starts[value_at[timed] + 1], ends[value_at[timed] + 1] = spans[timed, 4], spans[timed, 5]
    slots = np.searchsorted(separators, starts) - 1
    usable = np.array_equal(separators[slots] + 1, starts) and np.array_equal(separators[slots + 1], ends)
    adjacent = spans[:, 1] + 1 == spans[:, 2]
    return Template(
        separators=len(separators) if usable else -1,
        slots=slots,
        pieces=_cut(body, starts, ends),
        value_at=value_at,
        timed=timed,
        series_size=np.where(adjacent, spans[:, 1] - spans[:, 0], 0),
        lines=reading.lines,
    )


def _cut(body: bytes, starts: I64, ends: I64) -> Pieces:
    bounds = np.empty(2 * len(starts) + 2, dtype=np.int32)
    bounds[0], bounds[-1] = 0, len(body)
    bounds[1:-1:2], bounds[2:-1:2] = starts, ends
    count = len(bounds) - 1
    buffers = [None, pa.py_buffer(bounds.data), pa.py_buffer(body)]
    whole: Any = pa.Array.from_buffers(pa.binary(), count, buffers)
    literals = whole.take(pa.array(np.arange(0, count, 2)))
    numbers = whole.take(pa.array(np.arange(1, count, 2)))
    return Pieces(np.diff(bounds)[::2].astype(np.int64), literals.buffers()[2], numbers)
