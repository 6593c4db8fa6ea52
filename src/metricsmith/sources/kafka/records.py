"""What raw record batches hold: records, tombstones, empty values, null keys. No Python object per record.

A `Piece` is the `records` of one partition in one Fetch answer. Many pieces are read in one call: the more
batches there are, the more of the work is done side by side.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from metricsmith.errors import InputError, LimitExceeded
from metricsmith.model.arrays import I64, Bool
from metricsmith.sources.kafka.codecs import unpack
from metricsmith.sources.kafka.record_walk import PAD_BYTES, count_records
from metricsmith.wire.crc32c import crc32c

HEADER_BYTES = 61
_BEFORE_LENGTH = 12
_BEFORE_CRC_DATA = 21
_LEAST_LENGTH = HEADER_BYTES - _BEFORE_LENGTH
_LEAST_OLD_LENGTH = 14
_MAGIC_AT = 16
_DELTA_AT = 23
_CODEC_BITS, _APPEND_TIME, _TRANSACTIONAL, _CONTROL = 0x07, 0x08, 0x10, 0x20
_HEADER = np.dtype(
    [
        ("base_offset", ">i8"),
        ("length", ">i4"),
        ("leader_epoch", ">i4"),
        ("magic", "i1"),
        ("crc", ">u4"),
        ("attributes", ">u2"),
        ("last_offset_delta", ">i4"),
        ("first_time", ">i8"),
        ("max_time", ">i8"),
        ("producer_id", ">i8"),
        ("producer_epoch", ">i2"),
        ("sequence", ">i4"),
        ("records", ">i4"),
    ]
)


class BatchHeader(NamedTuple):
    """What stands before the records of a batch of format 2, in the order of the wire."""

    base_offset: int
    length: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    first_time: int
    max_time: int
    producer_id: int
    producer_epoch: int
    sequence: int
    records: int

    @property
    def last_offset(self) -> int:
        """The offset of its last record, which compaction may have removed."""
        return self.base_offset + self.last_offset_delta

    @property
    def codec(self) -> int:
        """How the records are compressed."""
        return self.attributes & _CODEC_BITS

    @property
    def stamped_on_arrival(self) -> bool:
        """Whether `max_time` is the time of all its records."""
        return bool(self.attributes & _APPEND_TIME)

    @property
    def control(self) -> bool:
        """Whether it holds transaction markers, which are no records."""
        return bool(self.attributes & _CONTROL)


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes as the broker sent them, of one partition.

    Records with an offset below `from_offset` are not counted: a batch may begin before the offset that was
    asked for. `aborted` are (producer id, first offset) of the answer; leave it empty for read_uncommitted.
    """

    data: bytes
    from_offset: int = 0
    aborted: Sequence[tuple[int, int]] = ()


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """What each whole record batch holds.

    Control batches, batches of aborted transactions and refused ones have a row
    with zeros. `refused` counts batches that could not be read, by reason: old_format
    (v0 and v1 message sets), crc, codec, malformed, too_large.

    Shapes:
        all (B,) in the order of the pieces and their bytes.
    """

    piece: I64
    first_offset: I64
    last_offset: I64
    max_time_ms: I64
    size_bytes: I64
    records: I64
    tombstones: I64
    empty_values: I64
    null_keys: I64
    readable: Bool
    refused: dict[str, int] = field(default_factory=dict)


def until(data: bytes, end: int) -> tuple[int, int | None]:
    """Return how many bytes whole batches that begin before an offset take, and the offset behind them.

    None when there is no such batch.

    Raises:
        InputError: these bytes are not record batches.
    """
    starts = batch_starts(data)
    number = bisect_left(starts, end, 0, len(starts) - 1, key=partial(_base_offset, data))
    if number == 0:
        return 0, None
    at = starts[number - 1]
    delta = (
        0
        if data[at + _MAGIC_AT] < 2
        else int.from_bytes(data[at + _DELTA_AT : at + _DELTA_AT + 4], "big", signed=True)
    )
    return starts[number], _base_offset(data, at) + delta + 1


def _base_offset(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 8], "big", signed=True)


def batch_starts(data: bytes) -> list[int]:
    """Return where each whole batch begins, and where the last one ends; a cut-off one is left out.

    Raises:
        InputError: a length is impossible.
    """
    starts, at, size = [0], 0, len(data)
    while at + _MAGIC_AT < size:
        length = int.from_bytes(data[at + 8 : at + 12], "big", signed=True)
        least = _LEAST_LENGTH if data[at + _MAGIC_AT] >= 2 else _LEAST_OLD_LENGTH
        if length < least:
            raise InputError(
                f"got a record batch that says it has {length} bytes, wanted {least} or more"
                " (is this partition's log damaged?)"
            )
        at += _BEFORE_LENGTH + length
        if at > size:
            break
        starts.append(at)
    return starts


def batches(data: bytes) -> Iterator[tuple[BatchHeader, memoryview]]:
    """Yield header and records of each whole batch.

    Raises:
        InputError: a length is impossible, or a message set is from before Kafka 0.11.
    """
    for at, stop in pairwise(batch_starts(data)):
        if data[at + _MAGIC_AT] < 2:
            raise InputError("got a message set of before Kafka 0.11")
        [row] = np.frombuffer(data, _HEADER, 1, at).tolist()
        yield BatchHeader(*row), memoryview(data)[at + HEADER_BYTES : stop]


def count_batches(pieces: Sequence[Piece], check_crc: bool = True) -> BatchCounts:
    """Return what the batches of all pieces hold.

    Raises:
        InputError: a piece is not made of record batches.
    Source:
        https://kafka.apache.org/documentation/#recordbatch
    """
    bounds = [batch_starts(piece.data) for piece in pieces]
    sizes = np.array([len(b) - 1 for b in bounds], np.int64)
    before = np.cumsum([0, *(len(piece.data) for piece in pieces)], dtype=np.int64)
    owner = np.repeat(np.arange(len(pieces)), sizes)
    begin = _joined([b[:-1] for b in bounds]) + before[owner]
    end = _joined([b[1:] for b in bounds]) + before[owner]
    data = b"".join([*(piece.data for piece in pieces), bytes(PAD_BYTES)])
    rows = np.frombuffer(data, np.uint8)[begin[:, None] + np.arange(HEADER_BYTES)]
    headers = np.ascontiguousarray(rows).view(_HEADER).reshape(-1)
    return _Reading(pieces, data, owner, begin, end, headers).counts(check_crc)


def _joined(lists: Sequence[Sequence[int]]) -> I64:
    return np.array([value for one in lists for value in one], np.int64)


class _Reading:
    """One call's batches: those that are out of the question are set aside, the others counted."""

    def __init__(
        self, pieces: Sequence[Piece], data: bytes, owner: I64, begin: I64, end: I64, headers: np.ndarray
    ) -> None:
        self.pieces, self.data, self.owner = pieces, data, owner
        self.begin, self.end, self.headers = begin, end, headers
        self.base = headers["base_offset"].astype(np.int64)
        self.attributes = headers["attributes"].astype(np.int64)
        self.refused: dict[str, int] = {}
        self.readable = np.ones(len(owner), np.bool_)

    def counts(self, check_crc: bool) -> BatchCounts:
        old = self.headers["magic"] < 2
        last = np.where(old, self.base, self.base + self.headers["last_offset_delta"])
        self._refuse("old_format", old)
        self._refuse("malformed", (self.headers["magic"] > 2) | (last < self.base))
        if check_crc:
            self._check_crc()
        wanted = self.readable & (self.attributes & _CONTROL == 0) & ~self._aborted(last)
        low = np.array([piece.from_offset for piece in self.pieces], np.int64)[self.owner]
        wanted &= last >= low
        chosen = np.flatnonzero(wanted)
        buffer, first, stop, chosen = self._payloads(chosen)
        found = count_records(
            buffer,
            first,
            stop,
            self.headers["records"][chosen].astype(np.int64),
            np.maximum(low[chosen] - self.base[chosen], 0),
        )
        wrong = np.zeros(len(self.owner), np.bool_)
        wrong[chosen[found.malformed]] = True
        self._refuse("malformed", wrong)

        def spread(values: I64) -> I64:
            out = np.zeros(len(self.owner), np.int64)
            out[chosen] = values
            return out

        return BatchCounts(
            self.owner,
            self.base,
            last,
            self.headers["max_time"].astype(np.int64),
            self.end - self.begin,
            spread(found.records),
            spread(found.tombstones),
            spread(found.empty_values),
            spread(found.null_keys),
            self.readable,
            self.refused,
        )

    def _refuse(self, reason: str, which: Bool) -> None:
        new = which & self.readable
        if count := int(new.sum()):
            self.refused[reason] = self.refused.get(reason, 0) + count
            self.readable &= ~new

    def _check_crc(self) -> None:
        checked = np.flatnonzero(self.readable)
        if not len(checked):
            return
        # Bounds of neighbours: what lies between two batches' data is summed, too, and passed over.
        bounds = np.column_stack([self.begin[checked] + _BEFORE_CRC_DATA, self.end[checked]]).ravel()
        sums = crc32c(self.data, bounds)[::2]
        wrong = np.zeros(len(self.owner), np.bool_)
        wrong[checked] = sums != self.headers["crc"][checked]
        self._refuse("crc", wrong)

    def _aborted(self, last: I64) -> Bool:
        """Whether each batch belongs to a transaction that was aborted.

        A producer has one transaction at a time, so its next control batch ends the aborted one.
        """
        out = np.zeros(len(self.owner), np.bool_)
        for number, piece in enumerate(self.pieces):
            if not piece.aborted:
                continue
            inside = np.flatnonzero((self.owner == number) & (self.attributes & _TRANSACTIONAL != 0))
            producers = self.headers["producer_id"][inside].astype(np.int64)
            control = self.attributes[inside] & _CONTROL != 0
            for producer, first in piece.aborted:
                own = (producers == producer) & (last[inside] >= first)
                markers = inside[own & control]
                stop = int(markers[0]) if len(markers) else len(out)
                batches = inside[own & ~control]
                out[batches[batches < stop]] = True
        return out

    def _payloads(self, chosen: I64) -> tuple[bytes, I64, I64, I64]:
        """Return a buffer with the records of the chosen batches, their bounds, and those that unpack."""
        codec = self.attributes[chosen] & _CODEC_BITS
        first, stop = self.begin[chosen] + HEADER_BYTES, self.end[chosen]
        packed = np.flatnonzero(codec)
        if not len(packed):
            return self.data, first, stop, chosen
        parts, size = [self.data], len(self.data)
        keep = np.ones(len(chosen), np.bool_)
        view = memoryview(self.data)
        for place in packed.tolist():
            try:
                part = unpack(int(codec[place]), view[first[place] : stop[place]])
            except LimitExceeded:
                self._refuse_one("too_large", int(chosen[place]))
                keep[place] = False
                continue
            except InputError:
                self._refuse_one("codec", int(chosen[place]))
                keep[place] = False
                continue
            parts.append(part)
            first[place], stop[place] = size, size + len(part)
            size += len(part)
        return b"".join([*parts, bytes(PAD_BYTES)]), first[keep], stop[keep], chosen[keep]

    def _refuse_one(self, reason: str, batch: int) -> None:
        which = np.zeros(len(self.owner), np.bool_)
        which[batch] = True
        self._refuse(reason, which)
