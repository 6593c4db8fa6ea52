"""Where the records of many batches begin, and what each of them holds, with arrays.

A record tells its length and nothing tells where the tenth one begins, so lengths must be followed one by
one. Batches are followed side by side: step k finds record k of every batch that has one. When few batches
are left, array operations cost more than they do, and each is followed by a plain loop.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metricsmith.errors import InputError
from metricsmith.model.arrays import I64, U8, Bool

LEAST_RECORD_BYTES = 7
"""Length, attributes, two deltas, key length, value length and the count of headers: a byte each."""
SIDE_BY_SIDE = 160
"""From this many batches on, a step over all of them is faster than a loop over each (measured)."""
PAD_BYTES = 64
"""Zeros behind the last payload: no field of a record, and no batch header, is read beyond them."""
_AT_ONCE = 1 << 16
_VARINT_BYTES = 5


@dataclass(frozen=True, slots=True)
class RecordCounts:
    """Shapes: all (B,), one per batch. What a malformed batch seems to hold is not counted."""

    records: I64
    tombstones: I64
    empty_values: I64
    null_keys: I64
    malformed: Bool


def count_records(buffer: bytes, first: I64, stop: I64, counts: I64, skip_below: I64) -> RecordCounts:
    """Return what the records of each batch hold.

    A batch is malformed unless its records, as many as its header says, fill its payload exactly.

    Shapes:
        buffer: payloads, then PAD_BYTES zeros.
        first, stop: (B,) bounds of each payload.
        counts: (B,) records that the header tells of.
        skip_below: (B,) records with a lesser offset delta are left out.
    Source:
        https://kafka.apache.org/documentation/#record
    """
    data = np.frombuffer(buffer, np.uint8)
    malformed = (counts < 0) | (counts > (stop - first) // LEAST_RECORD_BYTES)
    counts = np.where(malformed, 0, counts)
    positions, owners, ends = _follow(buffer, data, first, counts)
    malformed |= ends != stop
    size = len(first)
    sums = np.zeros((4, size), np.int64)
    for low in range(0, len(positions), _AT_ONCE):
        chunk, owner = positions[low : low + _AT_ONCE], owners[low : low + _AT_ONCE]
        fields = _fields(data, chunk, stop[owner], skip_below[owner])
        malformed |= np.bincount(owner[fields.wrong], minlength=size) > 0
        for row, chosen in zip(
            sums, (fields.counted, fields.tombstone, fields.empty, fields.null_key), strict=True
        ):
            row += np.bincount(owner[chosen], minlength=size)
    sums[:, malformed] = 0
    return RecordCounts(sums[0], sums[1], sums[2], sums[3], malformed)


def _follow(buffer: bytes, data: U8, first: I64, counts: I64) -> tuple[I64, I64, I64]:
    """Return where every record begins, the batch of each, and where each batch's last record ends."""
    order = np.argsort(-counts, kind="stable")
    remaining = counts[order]
    at = first[order]
    widths = _widths(remaining)
    positions, owners = [], []
    # Positions only grow: a batch whose end is right was right all along; others need only stay in bounds.
    most = len(data) - PAD_BYTES
    for width in widths:
        now = at[:width]
        positions.append(now.copy())
        owners.append(order[:width])
        np.minimum(_record_end(data, now), most, out=now)
    for place in range(int(np.searchsorted(-remaining, -len(widths), side="left"))):
        found, at[place] = _follow_one(buffer, int(at[place]), int(remaining[place]) - len(widths), most)
        positions.append(np.array(found, np.int64))
        owners.append(np.full(len(found), order[place]))
    ends = np.empty_like(at)
    ends[order] = at
    nothing = np.empty(0, np.int64)
    return np.concatenate([nothing, *positions]), np.concatenate([nothing, *owners]), ends


def _widths(remaining: I64) -> list[int]:
    """Return how many batches have a record k, for each step k that is done side by side."""
    if len(remaining) < SIDE_BY_SIDE:
        return []
    steps = int(remaining[SIDE_BY_SIDE - 1])
    widths: list[int] = np.searchsorted(-remaining, -np.arange(steps), side="left").tolist()
    return widths


def _record_end(data: U8, at: I64) -> I64:
    head = data[at].astype(np.int64)
    longer = np.flatnonzero(head >= 0x80)
    end: I64 = at + 1 + (head >> 1)
    if len(longer):
        length, after = _varints(data, at[longer])
        end[longer] = after + np.maximum(length, 0)
    return end


def _follow_one(buffer: bytes, at: int, count: int, most: int) -> tuple[list[int], int]:
    found = []
    for _ in range(count):
        found.append(at)
        head = buffer[at]
        if head < 0x80:
            at += 1 + (head >> 1)
        elif (second := buffer[at + 1]) < 0x80:
            at += 2 + ((head & 0x7F | second << 7) >> 1)
        else:
            at = _long_record_end(buffer, at)
        if at >= most:
            at = most
    return found, at


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the signed number there and where what follows it begins.

    Raises:
        IndexError: the data end before.
        InputError: it has more bytes than a number of 64 bits.
    """
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at
        shift += 7
        if shift > 63:
            raise InputError("got a number of more than ten bytes")


def _long_record_end(buffer: bytes, at: int) -> int:
    length = 0
    for place in range(_VARINT_BYTES):
        byte = buffer[at + place]
        length |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return at + place + 1 + (length >> 1)
    return at + _VARINT_BYTES


@dataclass(frozen=True, slots=True)
class _Fields:
    counted: Bool
    tombstone: Bool
    empty: Bool
    null_key: Bool
    wrong: Bool


def _fields(data: U8, at: I64, stop: I64, skip_below: I64) -> _Fields:
    most = len(data) - PAD_BYTES
    length, body = _varints(data, at)
    end = body + length
    wrong = (length < LEAST_RECORD_BYTES - 1) | (end > stop)
    offset_at = _behind_varints(data, body + 1)
    if skip_below.any():
        offset, key_at = _varints(data, offset_at)
        counted = offset >= skip_below
    else:
        key_at = _behind_varints(data, offset_at)
        counted = np.ones(len(at), np.bool_)
    key_size, key = _varints(data, np.minimum(key_at, most))
    value_at = key + np.maximum(key_size, 0)
    wrong |= (key_size < -1) | (value_at >= end)
    value_size, value = _varints(data, np.minimum(value_at, most))
    wrong |= (value_size < -1) | (value + np.maximum(value_size, 0) >= end)
    return _Fields(
        counted, counted & (value_size == -1), counted & (value_size == 0), counted & (key_size == -1), wrong
    )


def _behind_varints(data: U8, at: I64) -> I64:
    """Return the place behind each number, which has ten bytes at most."""
    behind: I64 = at + 1
    more = np.flatnonzero(data[at] >= 0x80)
    for _ in range(9):
        if not len(more):
            break
        here = behind[more]
        behind[more] = here + 1
        more = more[data[here] >= 0x80]
    return behind


def _varints(data: U8, at: I64) -> tuple[I64, I64]:
    """Return numbers of at most five bytes, and the place behind each."""
    value = data[at].astype(np.int64)
    behind: I64 = at + 1
    more = np.flatnonzero(value >= 0x80)
    value[more] &= 0x7F
    for place in range(1, _VARINT_BYTES):
        if not len(more):
            break
        here = behind[more]
        byte = data[here].astype(np.int64)
        value[more] |= (byte & 0x7F) << 7 * place
        behind[more] = here + 1
        more = more[byte >= 0x80]
    return (value >> 1) ^ -(value & 1), behind
