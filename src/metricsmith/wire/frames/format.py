"""The bytes of a frame: header, checksums, compression. See docs/formats/journal.md."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import cramjam

from metricsmith.errors import JournalCorrupt

MARK = b"\xf5mj1"
"""Begins every frame, so that reading can resume after damage. Holds a byte that no UTF-8 text has."""

FRAME_HEADER = struct.Struct("<4sBBHIIQII")
_CRC_BYTES = 4
MAX_PAYLOAD_BYTES = 1 << 30


class Kind(IntEnum):
    """What a frame holds."""

    SERIES = 1
    LAYOUT = 2
    SAMPLES = 3
    SAMPLES_INLINE = 4
    EVENTS = 5
    ORIGINS = 6


BATCH_KINDS = frozenset((Kind.SAMPLES, Kind.SAMPLES_INLINE, Kind.EVENTS))
"""Frames that are a batch; the others define what these use."""


class Compression(IntEnum):
    """How a payload is stored."""

    NONE = 0
    LZ4 = 1


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """A frame's header whose checksum was right."""

    kind: int
    compression: int
    stored_bytes: int
    raw_bytes: int
    sequence: int
    payload_crc: int


def pack_frame(kind: Kind, sequence: int, payload: bytes | memoryview) -> Iterator[bytes | memoryview]:
    """Yield header and payload of a frame, compressed where that makes it smaller."""
    compression, raw_bytes = Compression.NONE, len(payload)
    packed = memoryview(cramjam.lz4.compress_block(payload, store_size=False))
    if len(packed) < raw_bytes:
        compression, payload = Compression.LZ4, packed
    head = FRAME_HEADER.pack(
        MARK, kind, compression, 0, len(payload), raw_bytes, sequence, zlib.crc32(payload), 0
    )[:-_CRC_BYTES]
    yield head + zlib.crc32(head).to_bytes(_CRC_BYTES, "little")
    yield payload


def unpack_frame_header(data: bytes) -> FrameHeader | None:
    """Return a frame header, or None when the bytes are not one."""
    if len(data) < FRAME_HEADER.size or data[:4] != MARK:
        return None
    if zlib.crc32(data[:-_CRC_BYTES]) != int.from_bytes(data[-_CRC_BYTES:], "little"):
        return None
    _, kind, compression, _, stored, raw, sequence, payload_crc, _ = FRAME_HEADER.unpack(data)
    return FrameHeader(kind, compression, stored, raw, sequence, payload_crc)


def unpack_payload(header: FrameHeader, stored: bytes | memoryview) -> bytes | memoryview:
    """Return the payload as it was before compression; the caller has checked its checksum.

    Raises:
        JournalCorrupt: not to be decompressed to the announced length.
    """
    if header.compression == Compression.NONE and len(stored) == header.raw_bytes:
        return stored
    if header.compression != Compression.LZ4 or header.raw_bytes > MAX_PAYLOAD_BYTES:
        raise JournalCorrupt(f"got compression {header.compression} and {header.raw_bytes} bytes")
    try:
        return memoryview(cramjam.lz4.decompress_block(stored, output_len=header.raw_bytes))
    except cramjam.DecompressionError as error:
        raise JournalCorrupt(f"lz4: {error}") from None
