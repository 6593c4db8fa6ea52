"""Decompression of record batches; a bomb costs no more memory than the limit."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable
from typing import Any

import cramjam
import numpy as np

from metricsmith.errors import InputError, LimitExceeded
from metricsmith.model.arrays import U8

MAX_BATCH_BYTES = 64 << 20
"""Most that a batch may hold unpacked; a broker takes 1 MB packed unless told otherwise."""
NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
_XERIAL, _XERIAL_HEADER_BYTES = b"\x82SNAPPY\0", 16
_local = threading.local()


def unpack(codec: int, packed: memoryview) -> bytes:
    """Return the records of a batch.

    Raises:
        InputError: damaged, or packed in a way that Kafka does not know.
        LimitExceeded: larger than MAX_BATCH_BYTES.
    """
    unpacker = _UNPACKERS.get(codec)
    if unpacker is None:
        raise InputError(f"got compression {codec}, wanted gzip (1), snappy (2), lz4 (3) or zstd (4)")
    return unpacker(packed)


def _gzip(packed: memoryview) -> bytes:
    member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        out = member.decompress(packed, MAX_BATCH_BYTES + 1)
    except zlib.error as error:
        raise InputError(f"got a damaged gzip batch: {error}") from None
    if len(out) > MAX_BATCH_BYTES:
        raise _too_large()
    if not member.eof:
        raise InputError("got a gzip batch that is cut off")
    return out


def _snappy(packed: memoryview) -> bytes:
    if packed[:8] != _XERIAL:
        return _snappy_block(packed, MAX_BATCH_BYTES)
    parts, at, room = [], _XERIAL_HEADER_BYTES, MAX_BATCH_BYTES
    while at < len(packed):
        size = int.from_bytes(packed[at : at + 4], "big")
        if at + 4 + size > len(packed):
            raise InputError("got a snappy block that is cut off")
        parts.append(_snappy_block(packed[at + 4 : at + 4 + size], room))
        room -= len(parts[-1])
        at += 4 + size
    return b"".join(parts)


def _snappy_block(packed: memoryview, room: int) -> bytes:
    try:
        if cramjam.snappy.decompress_raw_len(packed) > room:
            raise _too_large()
        return bytes(cramjam.snappy.decompress_raw(packed))
    except cramjam.DecompressionError as error:
        raise InputError(f"got a damaged snappy block: {error}") from None


def _lz4(packed: memoryview) -> bytes:
    return _into_scratch(cramjam.lz4.decompress_into, packed)


def _zstd(packed: memoryview) -> bytes:
    return _into_scratch(cramjam.zstd.decompress_into, packed)


def _into_scratch(unpack_into: Callable[[Any, Any], int], packed: memoryview) -> bytes:
    # Memory of one's own that is large enough for all: the system gives of it what was written to.
    scratch: U8 | None = getattr(_local, "scratch", None)
    if scratch is None:
        scratch = _local.scratch = np.empty(MAX_BATCH_BYTES, np.uint8)
    try:
        size = unpack_into(packed, scratch)
    except cramjam.DecompressionError as error:
        if "whole buffer" in str(error) or "too small" in str(error):
            raise _too_large() from None
        raise InputError(f"got a damaged batch: {error}") from None
    return scratch[:size].tobytes()


def _too_large() -> LimitExceeded:
    return LimitExceeded(f"got a batch of more than {MAX_BATCH_BYTES} bytes unpacked (is it a bomb?)")


_UNPACKERS: dict[int, Callable[[memoryview], bytes]] = {
    NONE: bytes,
    GZIP: _gzip,
    SNAPPY: _snappy,
    LZ4: _lz4,
    ZSTD: _zstd,
}
