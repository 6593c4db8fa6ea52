"""Remote-write series of whole layouts, of either version: all but times and values is written once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metricsmith.model.arrays import I64, U8
from metricsmith.wire.protobuf import varint
from metricsmith.wire.remote_write_encode import U64

_TIME_BYTES = 6
"""Times in milliseconds from 1971 to 2109 have so many bytes as varints."""
FIRST_MS, LAST_MS = 1 << 35, (1 << 42) - 1
_SAMPLE = b"\x12" + bytes([9 + 1 + _TIME_BYTES]) + b"\x09" + bytes(8) + b"\x10" + bytes(_TIME_BYTES)
_VALUE_AT, _TIME_WORD_AT = 3, 10
_WORD = 8


class WriteTemplate:
    """The TimeSeries of a layout, some samples each, with room for values and times."""

    def __init__(self, tag: bytes, heads: Sequence[bytes], tails: Sequence[bytes], count: int) -> None:
        """`heads` and `tails` are what series have before and after their `count` samples.

        `tag` is that of a series in a request. Order is the layout's.
        """
        room, pieces = _SAMPLE * count, []
        starts, at = [], 0
        for head, tail in zip(heads, tails, strict=True):
            length = varint(len(head) + len(room) + len(tail))
            pieces += (tag, length, head, room, tail)
            starts.append(at + len(tag) + len(length) + len(head))
            at = starts[-1] + len(room) + len(tail)
        self._bytes: U8 = np.frombuffer(b"".join(pieces), dtype=np.uint8)
        self._samples: I64 = np.array(starts, dtype=np.int64)
        self.head_bytes = sum(map(len, heads))

    def fill(self, times: Sequence[int], bits: Sequence[U64]) -> memoryview:
        """Return the fields of all series at some times, the oldest first.

        Shapes:
            times: `count`, of FIRST_MS to LAST_MS. bits: `count` of (S,), from `value_bits`.
        """
        out = self._bytes.copy()
        words = np.ndarray((max(len(out) - _WORD + 1, 0),), dtype="<u8", buffer=out.data, strides=(1,))
        at = self._samples
        for time_ms, values in zip(times, bits, strict=True):
            # The word of the time begins in the last byte of the value, which is written after it.
            words[at + _TIME_WORD_AT] = int.from_bytes(b"\0\x10" + varint(time_ms), "little")
            words[at + _VALUE_AT] = values
            at = at + len(_SAMPLE)
        return out.data
