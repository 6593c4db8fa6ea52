"""CRC-32C (Castagnoli) of many pieces of bytes at once.

A checksum is linear: that of a piece is the exclusive or of what each of its rows of 64 bytes adds, moved
by the number of bytes behind the row. So rows of all pieces are worked on side by side.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from metricsmith.model.arrays import I64

U32 = NDArray[np.uint32]
_POLYNOMIAL = 0x82F63B78
_ROW = 64


def crc32c(data: bytes, bounds: I64) -> U32:
    """Return the checksum of each piece of `data` between two bounds; pieces have four bytes or more.

    Shapes:
        bounds: (N + 1,); returns: (N,).
    Source:
        RFC 3720, appendix B.4: reflected polynomial 0x82F63B78, begun and ended with all ones.

    >>> hex(crc32c(b"123456789", np.array([0, 9]))[0])
    '0xe3069283'
    """
    if len(bounds) < 2:
        return np.empty(0, np.uint32)
    lengths = np.diff(bounds)
    rows = -(-lengths // _ROW)
    last = np.cumsum(rows)
    # Each piece stands at the end of its rows: zeros before it add nothing.
    padded = np.zeros(int(last[-1]) * _ROW, np.uint8)
    source = np.frombuffer(data, np.uint8)
    for end, first, stop in zip((last * _ROW).tolist(), bounds.tolist(), bounds[1:].tolist(), strict=False):
        padded[end - (stop - first) : end] = source[first:stop]
    # To begin with all ones is to turn over the first four bytes.
    begins = last * _ROW - lengths
    padded[(begins[:, None] + np.arange(4)).ravel()] ^= 0xFF
    sums = _row_sums(padded.reshape(-1, _ROW))
    behind = np.repeat(last, rows) - 1 - np.arange(len(sums))
    for power in range(int(behind.max()).bit_length()):
        moved = (behind >> power & 1).astype(np.bool_)
        sums[moved] = _moved(sums[moved], power)
    return np.bitwise_xor.reduceat(sums, last - rows) ^ np.uint32(0xFFFFFFFF)


def _row_sums(rows: NDArray[np.uint8]) -> U32:
    table, sums = _byte_table(), np.zeros(len(rows), np.uint32)
    for column in np.ascontiguousarray(rows.T):
        sums = table[(sums & 0xFF).astype(np.uint8) ^ column] ^ (sums >> np.uint32(8))
    return sums


def _moved(sums: U32, power: int) -> U32:
    """Return checksums after 2**power rows of zeros."""
    tables = _move_tables(power)
    parts = sums.astype("<u4").view(np.uint8).reshape(-1, 4)
    moved: U32 = tables[0][parts[:, 0]]
    for place in (1, 2, 3):
        moved = moved ^ tables[place][parts[:, place]]
    return moved


@cache
def _byte_table() -> U32:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> np.uint32(1) ^ np.uint32(_POLYNOMIAL), table >> np.uint32(1))
    return table


@cache
def _move_tables(power: int) -> U32:
    """Return what each byte of a checksum becomes after 2**power rows of zeros.

    Shapes:
        returns: (4, 256)
    """
    every = (np.arange(256, dtype=np.uint32) << (8 * np.arange(4, dtype=np.uint32))[:, None]).ravel()
    if power == 0:
        table = _byte_table()
        for _ in range(_ROW):
            every = table[every & 0xFF] ^ (every >> np.uint32(8))
    else:
        every = _moved(_moved(every, power - 1), power - 1)
    return every.reshape(4, 256)
