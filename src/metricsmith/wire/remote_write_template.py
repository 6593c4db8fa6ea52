"""Remote-write series of whole layouts, of either version: all but times and values is written once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat

import numpy as np

from metricsmith.model.arrays import F64, I64
from metricsmith.wire.protobuf import varint
from metricsmith.wire.remote_write_encode import U64

_TIME_BYTES = 6
"""Times in milliseconds from 1971 to 2109 have so many bytes as varints."""
FIRST_MS, LAST_MS = 1 << 35, (1 << 42) - 1
_ROOM = b"\x09" + bytes(8) + b"\x10" + bytes(_TIME_BYTES)
_SAMPLE = b"\x12" + bytes([len(_ROOM)]) + _ROOM
_STARTED = b"\x12" + bytes([len(_ROOM) + 1 + _TIME_BYTES]) + _ROOM + b"\x18" + bytes(_TIME_BYTES)
_VALUE_AT, _TIME_WORD_AT, _START_WORD_AT = 3, 10, 17
_WORD = 8


class WriteTemplate:
    """The TimeSeries of a layout, some samples each, with room for values and times."""

    def __init__(
        self,
        tag: bytes,
        heads: Sequence[bytes],
        tails: Sequence[bytes],
        count: int,
        starts: Sequence[int] = (),
    ) -> None:
        """`heads` and `tails` are what series have before and after their `count` samples.

        `tag` is that of a series in a request. Order is the layout's. `starts`, of version 2.0, are
        the places of series whose values say in seconds when others began, -1 where none does.
        """
        pieces: list[bytes] = []
        at, samples, strides = 0, [], []
        for head, tail, start in zip(heads, tails, starts or repeat(-1), strict=False):
            sample = _SAMPLE if start < 0 else _STARTED
            length = varint(len(head) + len(sample) * count + len(tail))
            pieces += (tag, length, head, sample * count, tail)
            samples.append(at + len(tag) + len(length) + len(head))
            strides.append(len(sample))
            at = samples[-1] + len(sample) * count + len(tail)
        self._bytes = bytearray(b"".join(pieces))
        self._words = _words(self._bytes)
        self._samples: I64 = np.array(samples, dtype=np.int64)
        self._strides: I64 = np.array(strides, dtype=np.int64)
        begun = np.array(starts, dtype=np.int64)
        self._started = np.flatnonzero(begun >= 0)
        self._starts = begun[self._started]
        self.head_bytes = sum(map(len, heads))

    def fill(self, times: Sequence[int], bits: Sequence[U64]) -> memoryview:
        """Return the fields of all series at some times, the oldest first; good until the next call.

        Shapes:
            times: `count`, of FIRST_MS to LAST_MS. bits: `count` of (S,), from `value_bits`.
        """
        words, at = self._words, self._samples
        for time_ms, values in zip(times, bits, strict=True):
            # Words are written back to front where they overlap: that of a start begins in the last
            # byte of the time, that of the time in the last byte of the value.
            time = varint(time_ms)
            if len(self._started):
                starts = _varints(values[self._starts].view(np.float64))
                head = int.from_bytes(time[-1:] + b"\x18", "little")
                words[at[self._started] + _START_WORD_AT] = starts << np.uint64(16) | np.uint64(head)
            words[at + _TIME_WORD_AT] = int.from_bytes(b"\0\x10" + time, "little")
            words[at + _VALUE_AT] = values
            at = at + self._strides
        return memoryview(self._bytes)


def _words(data: bytearray) -> U64:
    """Return a view of the words that begin at each byte."""
    return np.ndarray((max(len(data) - _WORD + 1, 0),), dtype="<u8", buffer=data, strides=(1,))


def _varints(seconds: F64) -> U64:
    """Return times as varints of _TIME_BYTES bytes in milliseconds; 0, which is unknown, for what is none."""
    known = (seconds >= FIRST_MS / 1000) & (seconds <= LAST_MS / 1000)
    rest = (np.where(known, seconds, 0.0) * 1000).round().astype(np.uint64)
    found = np.zeros(len(seconds), dtype=np.uint64)
    for place in range(_TIME_BYTES):
        more = 0x80 if place < _TIME_BYTES - 1 else 0
        found |= ((rest & np.uint64(0x7F)) | np.uint64(more)) << np.uint64(8 * place)
        rest >>= np.uint64(7)
    return found
