"""Columns of number tokens to arrays, accepting exactly what the formats accept."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from metricsmith.model.arrays import F64, I64, U8, Bool

NUMBER = re.compile(
    rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|[+-]?inf(?:inity)?|nan", re.IGNORECASE
)
_INTEGER = re.compile(rb"-?[0-9]{1,19}")
_LARGEST_MS = 2**63 - 1024  # the largest double below 2^63


def _byte_set(members: bytes) -> Bool:
    table = np.zeros(256, dtype=np.bool_)
    table[list(members)] = True
    return table


_USUAL = b"0123456789.eE-"
_PLAIN = _byte_set(_USUAL + b"+")
_NONE = np.empty(0, dtype=np.int64)
_INTEGER_BYTES = _byte_set(b"0123456789-")


class MalformedNumber(Exception):
    """Token `index` of a column is not a number of the format."""

    def __init__(self, index: int, wanted: str) -> None:
        self.index = index
        self.wanted = wanted
        super().__init__(index)


def parse_floats(tokens: Any) -> F64:
    """Return the values of a binary array of tokens.

    Arrow's cast reads more than Go's ParseFloat does (`nan(1)`, `-nan`, `+-1`, an overflow as
    infinity), so whatever is not plain digits is first held against the grammar, once per
    different token.

    Shapes:
        returns: (P,)
    Raises:
        MalformedNumber: the first token that is not a number, or overflows.
    Source:
        Prometheus `textparse.parseFloat`: ParseFloat without hexadecimal and underscores.
    """
    offsets, data = _columns(tokens)
    unusual = _unusual(offsets, data)
    if len(unusual):
        words = tokens.take(pa.array(unusual))
        bad = [word for word in words.unique().to_pylist() if not NUMBER.fullmatch(word)]
        if bad:
            first = pc.index_in(words, value_set=pa.array(bad, type=words.type)).is_valid()
            raise MalformedNumber(int(unusual[int(np.argmax(first))]), "a number")
    try:
        values: F64 = tokens.view(pa.string()).cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        raise MalformedNumber(_first_bad(tokens, NUMBER), "a number") from None
    infinite = np.flatnonzero(np.isinf(values))
    overflows = data[offsets[infinite + 1] - 1] < ord("A")  # infinity in words ends in a letter
    if overflows.any():
        raise MalformedNumber(int(infinite[int(np.argmax(overflows))]), "a number that fits a double")
    return values


def parse_millis(tokens: Any) -> I64:
    """Return timestamps that are whole milliseconds.

    Shapes:
        returns: (P,)
    Raises:
        MalformedNumber: the first token that is not a 64-bit integer.
    """
    _, data = _columns(tokens)
    try:
        if not _INTEGER_BYTES[data].all():
            raise pa.ArrowInvalid("not an integer")
        millis: I64 = tokens.view(pa.string()).cast(pa.int64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        index = _first_bad(tokens, _INTEGER)
        raise MalformedNumber(index, "a timestamp in whole milliseconds") from None
    return millis


def parse_seconds(tokens: Any) -> F64:
    """Return timestamps that are seconds with decimals.

    Shapes:
        returns: (P,)
    Raises:
        MalformedNumber: the first token that is not a finite number.
    """
    seconds = parse_floats(tokens)
    finite = np.isfinite(seconds)
    if not finite.all():
        raise MalformedNumber(int(np.argmin(finite)), "a finite timestamp in seconds")
    return seconds


def to_millis(seconds: F64) -> I64:
    """Return seconds as the nearest milliseconds, cut at the ends of int64."""
    return np.clip(np.rint(seconds * 1000.0), -_LARGEST_MS, _LARGEST_MS).astype(np.int64)


def _columns(tokens: Any) -> tuple[I64, U8]:
    _, offsets, data = tokens.buffers()
    bounds = np.frombuffer(offsets, dtype=np.int32, count=len(tokens) + 1).astype(np.int64)
    octets = np.frombuffer(data, dtype=np.uint8)[: bounds[-1]] if data else np.empty(0, np.uint8)
    return bounds, octets


def _unusual(offsets: I64, data: U8) -> I64:
    """Indices of tokens that are empty, begin with a plus, or hold other bytes than plain digits."""
    starts = offsets[:-1]
    empty = starts == offsets[1:]
    if not empty.any() and not data.tobytes().translate(None, _USUAL):
        return _NONE  # as nearly always
    if len(data) == 0:
        return np.flatnonzero(empty)
    signed = data[np.minimum(starts, len(data) - 1)] == ord("+")
    strange = np.flatnonzero(~_PLAIN[data])
    owners = np.searchsorted(offsets, strange, side="right") - 1
    return np.unique(np.concatenate([np.flatnonzero(empty | signed), owners]))


def _first_bad(tokens: Any, grammar: re.Pattern[bytes]) -> int:
    """Index of the first token outside a grammar; the last one when all fit, but one overflows."""
    words = tokens.to_pylist()
    for index, word in enumerate(words):
        if not grammar.fullmatch(word) or (grammar is _INTEGER and not -(2**63) <= int(word) < 2**63):
            return index
    return len(words) - 1
