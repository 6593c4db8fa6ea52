"""Shapes of lines: the text of a line without its numbers, and the series that its fields are."""

from __future__ import annotations

from array import array

import numpy as np

from metricsmith.model.arrays import I64, U32, Bool
from metricsmith.model.series import SeriesTable
from metricsmith.wire.line_protocol_line import (
    MAX_FIELDS,
    MalformedLine,
    read_field_key,
    read_head,
)

BUDGET_BYTES = 64 << 20
_ENTRY_BYTES = 200  # dict slot, bytes object, int and places beside the text
_FIELD_BYTES = 5
_SUFFIXES = b"iu"


class Shapes:
    """Remembers shapes within a budget: senders repeat theirs with other numbers in them.

    When the budget is spent all are forgotten, between two documents: what is
    in use is back at once.
    """

    def __init__(self, series: SeriesTable, budget_bytes: int = BUDGET_BYTES) -> None:
        self._series, self._budget = series, budget_bytes
        self._numbers: dict[bytes, int] = {}
        self._forget()

    def trim(self) -> None:
        """Forget all shapes if they take more than the budget."""
        if self._used > self._budget:
            self._forget()

    def numbers(self, texts: list[bytes], extra_tags: tuple[tuple[bytes, bytes], ...]) -> I64:
        """Return the number of each shape, -1 for those that are malformed.

        Shapes:
            returns: (L,), valid until `trim`.
        """
        prefix = b"\n".join(b"=".join(tag) for tag in extra_tags) + b"\n"
        get = self._numbers.get
        found = [
            self._add(prefix, text, extra_tags) if (number := get(prefix + text)) is None else number
            for text in texts
        ]
        return np.array(found, dtype=np.int64)

    def fields(self, numbers: I64) -> tuple[U32, Bool, Bool]:
        """Return the series of all fields of lines, one line after another, and which are integers.

        Shapes:
            numbers: (L,) of `numbers`, none of them -1.
            returns: three of (P,): ids, signed integers, unsigned integers.
        """
        starts = np.frombuffer(self._starts, np.int64)[numbers]
        counts = np.frombuffer(self._counts, np.int64)[numbers]
        ends = np.cumsum(counts)
        place = np.repeat(starts - (ends - counts), counts) + np.arange(ends[-1] if len(ends) else 0)
        kinds = np.frombuffer(self._kinds, np.uint8)[place]
        return np.frombuffer(self._ids, np.uint32)[place], kinds == ord("i"), kinds == ord("u")

    def _forget(self) -> None:
        self._numbers.clear()
        self._starts, self._counts = array("q"), array("q")
        self._ids, self._kinds = array("I"), bytearray()
        self._used = 0

    def _add(self, prefix: bytes, text: bytes, extra_tags: tuple[tuple[bytes, bytes], ...]) -> int:
        try:
            head, at = read_head(text, extra_tags)
            keys, kinds = _read_fields(text, at)
        except MalformedLine:
            return -1
        number = self._numbers[prefix + text] = len(self._starts)
        self._starts.append(len(self._ids))
        self._counts.append(len(keys))
        self._ids.extend(self._series.intern_many(head.key(key) for key in keys).tolist())
        self._kinds += kinds
        self._used += _ENTRY_BYTES + len(prefix) + len(text) + _FIELD_BYTES * len(keys)
        return number


def _read_fields(text: bytes, at: int) -> tuple[list[bytes], bytearray]:
    """Return the names of fields whose values were taken out, and the suffix of each value, 0 for none."""
    keys: list[bytes] = []
    kinds = bytearray()
    while True:
        key, at = read_field_key(text, at)
        keys.append(key)
        kind = text[at] if text[at : at + 1] and text[at] in _SUFFIXES else 0
        kinds.append(kind)
        at += kind != 0
        if text[at : at + 1] != b",":
            break
        at += 1
    if len(keys) > MAX_FIELDS or text[at:].strip(b" "):
        raise MalformedLine("not a shape")
    return keys, kinds
