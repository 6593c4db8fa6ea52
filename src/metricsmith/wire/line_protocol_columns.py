"""Line protocol as arrays: where the numbers of plain lines are, without a step per line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from metricsmith.model.arrays import F64, I64, U8, Bool

_NEWLINE, _BLANK, _COMMA, _EQUALS = b"\n ,="
_FLOAT = r"^-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"
_SIGNED = r"^-?[0-9]{1,18}$"  # longer ones are for the careful reader, which knows the range
_UNSIGNED = r"^[0-9]{1,18}$"


@dataclass(frozen=True, slots=True)
class Lines:
    """The separators of a document, and which of them belong to which line.

    Shapes:
        at: (K,) places of newlines, blanks, commas and equals signs. kind: (K,) these bytes.
        start, end: (L,) of lines in the document, ends are at the newlines.
        first, last: (L,) of lines in `at`; the last is the newline.
    """

    buffer: U8
    at: I64
    kind: U8
    start: I64
    end: I64
    first: I64
    last: I64


@dataclass(frozen=True, slots=True)
class Columns:
    """The numbers of plain lines, and what is left of these without them.

    Shapes:
        owner: (P,) line of each number. timed: (N,) lines that have a time.
        values: (P,), times: of `timed`, as binary arrays of Arrow.
    """

    shapes: list[bytes]
    owner: I64
    values: Any
    timed: I64
    times: Any


def find_lines(body: bytes) -> Lines:
    """Return the separators of a document that ends with a newline."""
    buffer = np.frombuffer(body, np.uint8)
    is_separator = (buffer == _NEWLINE) | (buffer == _BLANK) | (buffer == _COMMA) | (buffer == _EQUALS)
    at = np.flatnonzero(is_separator)
    kind = buffer[at]
    last = np.flatnonzero(kind == _NEWLINE)
    end = at[last]
    first = np.concatenate([[0], last[:-1] + 1])
    start = np.concatenate([[0], end[:-1] + 1])
    return Lines(buffer, at, kind, start, end, first, last)


def find_odd(lines: Lines) -> Bool:
    """Return which lines hold what only the careful reader knows: quotes, escapes, comments, odd blanks.

    Shapes:
        returns: (L,)
    """
    buffer = lines.buffer
    special = np.flatnonzero((buffer == ord('"')) | (buffer == ord("\\")) | (buffer < ord(" ")))
    special = special[buffer[special] != _NEWLINE]
    odd = np.zeros(len(lines.end), dtype=np.bool_)
    odd[np.searchsorted(lines.end, special)] = True
    odd |= (buffer[lines.start] == ord("#")) | (lines.start == lines.end)
    return odd


def split(lines: Lines, odd: Bool) -> Columns:
    """Return the columns of lines that are not odd; those that cannot be read so are marked in `odd`.

    Shapes:
        odd: (L,), changed.
    """
    fields_at, fields_end = _find_fields(lines, odd)
    while True:
        plain = np.flatnonzero(~odd)
        equals, counts = _equals_signs(fields_at[plain], fields_end[plain])
        owner = np.repeat(plain, counts)
        wrong = owner[~_alternate(lines, equals, fields_end[owner])]
        if not len(wrong):
            break
        odd[wrong] = True
    return _cut(lines, odd, owner, equals, counts, plain, fields_end[plain])


def parse_floats(tokens: Any) -> tuple[F64, Bool]:
    """Return the values of tokens, and which of them are numbers of the protocol.

    Shapes:
        returns: two of (P,)
    """
    text = tokens.view(pa.string())
    try:
        values = text.cast(pa.float64()).to_numpy(zero_copy_only=False)
        good = np.isfinite(values) & _usual(tokens)
    except pa.ArrowInvalid:
        good = np.zeros(len(tokens), dtype=np.bool_)
    if good.all():
        return values, good
    good = _matching(text, _FLOAT)
    values = pc.if_else(good, text, "0").cast(pa.float64()).to_numpy(zero_copy_only=False)
    return values, good & np.isfinite(values)


def parse_integers(tokens: Any, unsigned: bool = False) -> tuple[I64, Bool]:
    """Return the integers in tokens of up to 18 digits, and which of them are such.

    Shapes:
        returns: two of (P,)
    """
    text = tokens.view(pa.string())
    good = _matching(text, _UNSIGNED if unsigned else _SIGNED)
    if not good.all():
        text = pc.if_else(good, text, "0")
    return text.cast(pa.int64()).to_numpy(zero_copy_only=False), good


def parse_times(tokens: Any) -> tuple[I64, Bool]:
    """Return times, and which of the tokens are integers of 64 bits as clocks give them.

    Shapes:
        returns: two of (P,)
    """
    try:
        times = tokens.view(pa.string()).cast(pa.int64()).to_numpy(zero_copy_only=False)
        if _usual(tokens, b"0123456789"):
            return times, np.ones(len(times), dtype=np.bool_)
    except pa.ArrowInvalid:
        pass
    return parse_integers(tokens)


def _find_fields(lines: Lines, odd: Bool) -> tuple[I64, I64]:
    """Return the separators, as places in `at`, before and behind the fields of each line."""
    blanks = np.append(np.flatnonzero(lines.kind == _BLANK), [len(lines.kind)] * 2)
    low = np.searchsorted(blanks, lines.first)
    count = np.searchsorted(blanks, lines.last) - low
    begin = np.minimum(blanks[low], lines.last)
    end = np.where(count >= 2, np.minimum(blanks[low + 1], lines.last), lines.last)
    odd |= (count == 0) | (count > 2)
    odd |= (count == 2) & ((end + 1 != lines.last) | (lines.at[end] + 1 == lines.end))
    odd |= ((end - begin) % 2 != 0) | (end == begin) | (lines.at[begin] == lines.start)
    return begin, end


def _equals_signs(begin: I64, end: I64) -> tuple[I64, I64]:
    """Return where the equals signs of all fields must be, as places in `at`, and how many a line has."""
    counts = (end - begin) // 2
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(begin + 1 - 2 * (ends - counts), counts) + 2 * np.arange(total), counts


def _alternate(lines: Lines, equals: I64, end: I64) -> Bool:
    """Return which fields are a name, an equals sign, a number's begin, and a comma or the end."""
    at, kind, buffer = lines.at, lines.kind, lines.buffer
    good: Bool = (kind[equals] == _EQUALS) & ((kind[equals + 1] == _COMMA) | (equals + 1 == end))
    good = good & (at[equals] > at[equals - 1] + 1)
    first = buffer[np.minimum(at[equals] + 1, len(buffer) - 1)]
    numeric: Bool = (first <= ord("9")) & (first >= ord("-")) & (at[equals + 1] > at[equals] + 1)
    return good & numeric


def _cut(
    lines: Lines, odd: Bool, owner: I64, equals: I64, counts: I64, plain: I64, fields_end: I64
) -> Columns:
    """Cut values, times and odd lines out of the document."""
    at, buffer = lines.at, lines.buffer
    value_at, value_end = at[equals] + 1, at[equals + 1]
    suffix = buffer[value_end - 1]
    value_end = value_end - ((suffix == ord("i")) | (suffix == ord("u")))
    has_time = fields_end < lines.last[plain]
    timed = plain[has_time]
    time_at = at[fields_end[has_time]] + 1
    odd_lines = np.flatnonzero(odd)
    starts = np.concatenate([value_at, time_at, lines.start[odd_lines]])
    ends = np.concatenate([value_end, lines.end[timed], lines.end[odd_lines] + 1])
    change = np.zeros(len(buffer) + 1, np.int8)
    change[starts] += 1
    change[ends] -= 1  # as starts, no two ends are the same
    cut = np.cumsum(change[:-1], dtype=np.int8).view(np.bool_)
    shapes = buffer[~cut].tobytes().split(b"\n")[:-1]
    values = _tokens(buffer, value_at, value_end)
    return Columns(shapes, owner, values, timed, _tokens(buffer, time_at, lines.end[timed]))


def _tokens(buffer: U8, start: I64, end: I64) -> Any:
    """Return pieces of the document as a binary array."""
    lengths = end - start
    offsets = np.zeros(len(start) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    data = buffer[np.repeat(start - offsets[:-1], lengths) + np.arange(offsets[-1])]
    return pa.Array.from_buffers(
        pa.binary(), len(start), [None, pa.py_buffer(offsets.data), pa.py_buffer(data.data)]
    )


def _usual(tokens: Any, members: bytes = b"0123456789.-") -> bool:
    data = tokens.buffers()[2]
    return data is None or not data.to_pybytes().translate(None, members)


def _matching(text: Any, pattern: str) -> Bool:
    found: Bool = pc.match_substring_regex(text, pattern).to_numpy(zero_copy_only=False)
    return found
