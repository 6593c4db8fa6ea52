"""Remote-write 1.0 bodies of whole layouts: all but times and values is written once."""

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
_VALUE_AT, _TIME_AT = 3, 12


class WriteTemplate:
    """The TimeSeries of a layout, one sample each, with room for values and a time."""

    def __init__(self, labels: Sequence[bytes]) -> None:
        """`labels` are from `encode_series_labels`, in the layout's order."""
        parts = [b"\x0a" + varint(len(each) + len(_SAMPLE)) + each + _SAMPLE for each in labels]
        self._bytes: U8 = np.frombuffer(b"".join(parts), dtype=np.uint8)
        ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
        self._samples: I64 = ends - len(_SAMPLE)

    def fill(self, time_ms: int, bits: U64) -> memoryview:
        """Return the fields of all series at one time.

        Shapes:
            bits: (P,) from `value_bits`.
        """
        out = self._bytes.copy()
        at = self._samples[:, None]
        out[at + np.arange(_VALUE_AT, _VALUE_AT + 8)] = bits.astype("<u8").view(np.uint8).reshape(-1, 8)
        time = np.frombuffer(varint(time_ms), dtype=np.uint8)
        out[at + np.arange(_TIME_AT, _TIME_AT + _TIME_BYTES)] = time
        return out.data
