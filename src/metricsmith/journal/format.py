"""The bytes of a segment file: its name and header, before frames. See docs/formats/journal.md."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from metricsmith.errors import FormatTooNew, JournalCorrupt

VERSION = 1
SUFFIX = ".journal"
MAGIC = b"msjournl"
SEGMENT_HEADER = struct.Struct("<8sIQI")
_CRC_BYTES = 4
MAX_SEQUENCE = 1 << 62
"""No journal gets so far, and every file and database that holds sequence numbers has room for more."""


def segment_name(first_sequence: int) -> str:
    """Return the file name of the segment that begins with a sequence number."""
    return f"{first_sequence:020d}{SUFFIX}"


def sequence_of(path: Path) -> int | None:
    """Return the sequence number that a segment's file name says, None for a name that we do not give."""
    name = path.stem
    if path.suffix != SUFFIX or len(name) != 20 or not (name.isascii() and name.isdecimal()):
        return None
    sequence = int(name)
    return sequence if sequence <= MAX_SEQUENCE else None


def pack_segment_header(first_sequence: int) -> bytes:
    """Return the bytes that begin a segment file."""
    head = SEGMENT_HEADER.pack(MAGIC, VERSION, first_sequence, 0)[:-_CRC_BYTES]
    return head + zlib.crc32(head).to_bytes(_CRC_BYTES, "little")


def check_segment_header(data: bytes, path: Path) -> None:
    """Check the first bytes of a segment file.

    Raises:
        JournalCorrupt: too short, or not written by us.
        FormatTooNew: a newer version wrote it.
    """
    if len(data) < SEGMENT_HEADER.size:
        raise JournalCorrupt(f"{path}: got {len(data)} bytes, wanted a header of {SEGMENT_HEADER.size}")
    magic, version, _, crc = SEGMENT_HEADER.unpack(data)
    if magic != MAGIC or crc != zlib.crc32(data[:-_CRC_BYTES]):
        raise JournalCorrupt(f"{path}: got {data[:12]!r}, wanted the header of a journal segment")
    if version > VERSION:
        raise FormatTooNew(
            f"{path}: got format version {version}, wanted at most {VERSION} (upgrade metricsmith)"
        )
