"""One segment file: what is in it, reading it past damage, and cutting a torn tail."""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from metricsmith.errors import JournalCorrupt
from metricsmith.journal.format import SEGMENT_HEADER, SUFFIX, check_segment_header, sequence_of
from metricsmith.model.origin import Position
from metricsmith.wire.frames.format import (
    BATCH_KINDS,
    FRAME_HEADER,
    MARK,
    FrameHeader,
    Kind,
    unpack_frame_header,
    unpack_payload,
)
from metricsmith.wire.frames.origins import unpack_origins

_log = logging.getLogger(__name__)
_WINDOW_BYTES = 1 << 20

Damage = Callable[[Path, int, str], None]
"""Told of bytes that cannot be read: file, offset, reason (a short constant)."""


@dataclass(slots=True)
class Segment:
    """A segment file and how much of it is committed; its samples and events, where this run wrote it."""

    path: Path
    first_sequence: int
    size_bytes: int
    amounts: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame whose checksums were right."""

    header: FrameHeader
    payload: bytes
    end: int


class SegmentFile:
    """Reads ranges of a segment, through a window, never beyond a given end.

    The window is read anew when it is passed: what lies behind the committed
    end may be half written at the moment.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._window = b""
        self._window_at = 0

    def read(self, start: int, length: int, end: int) -> bytes:
        """Return up to `length` bytes from `start`, fewer only at `end`."""
        length = min(length, end - start)
        at = start - self._window_at
        if at < 0 or at + length > len(self._window):
            self._window = os.pread(self._fd, max(length, min(_WINDOW_BYTES, end - start)), start)
            self._window_at, at = start, 0
        return self._window[at : at + length]

    def find_mark(self, start: int, end: int) -> int:
        """Return the offset of the next frame mark in [start, end), or `end`."""
        while start < end:
            part = self.read(start, _WINDOW_BYTES, end)
            found = part.find(MARK)
            if found >= 0:
                return start + found
            if len(part) < _WINDOW_BYTES:
                break
            start += len(part) - len(MARK) + 1
        return end

    def close(self) -> None:
        """Release the file."""
        os.close(self._fd)


def scan_frames(file: SegmentFile, start: int, end: int, damage: Damage) -> Iterator[Frame]:
    """Yield the good frames in [start, end); damage is told of and passed over.

    A frame whose payload is damaged is passed by its length, for its header has
    a checksum of its own; behind a damaged header the next mark is looked for.
    """
    at = start
    while at < end:
        header = unpack_frame_header(file.read(at, FRAME_HEADER.size, end))
        if header is None:
            damage(file.path, at, "header")
            at = _next_header(file, at + 1, end)
            continue
        body = at + FRAME_HEADER.size
        payload = file.read(body, header.stored_bytes, end)
        if len(payload) < header.stored_bytes:
            damage(file.path, at, "cut")
            at = _next_header(file, at + 1, end)
        elif zlib.crc32(payload) != header.payload_crc:
            damage(file.path, at, "payload")
            at = body + header.stored_bytes
        else:
            at = body + header.stored_bytes
            yield Frame(header, payload, at)


def _next_header(file: SegmentFile, start: int, end: int) -> int:
    at = file.find_mark(start, end)
    while at < end and unpack_frame_header(file.read(at, FRAME_HEADER.size, end)) is None:
        at = file.find_mark(at + 1, end)
    return at


def list_segments(folder: Path) -> list[Segment]:
    """Return the segment files of a folder by first sequence number; files of other names are left alone."""
    segments = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        sequence = sequence_of(path)
        if sequence is None or not path.is_file():
            _log.warning("%s: ignored, it is no segment of the journal", path)
        else:
            segments.append(Segment(path, sequence, path.stat().st_size))
    return segments


def repair_tail(segment: Segment) -> tuple[int, int]:
    """Cut what follows the last good frame of the newest segment; return bytes cut and the next sequence.

    A file without a whole header was being created when the machine stopped,
    and is removed. Damage before a good frame is not a torn tail and stays.

    Raises:
        FormatTooNew: a newer version wrote the segment.
    """
    file = SegmentFile(segment.path)
    try:
        good, next_sequence = _good_end(file, segment)
    finally:
        file.close()
    cut = segment.size_bytes - good
    if good == 0:
        segment.path.unlink()
    elif cut:
        with segment.path.open("r+b") as out:
            out.truncate(good)
            os.fsync(out.fileno())
    segment.size_bytes = good
    return cut, next_sequence


def _good_end(file: SegmentFile, segment: Segment) -> tuple[int, int]:
    good, next_sequence = SEGMENT_HEADER.size, segment.first_sequence
    try:
        check_segment_header(file.read(0, SEGMENT_HEADER.size, segment.size_bytes), segment.path)
    except JournalCorrupt:
        # The header is durable before any frame follows, so only a file without frames can lack it.
        good = 0 if segment.size_bytes <= SEGMENT_HEADER.size else segment.size_bytes
    for frame in scan_frames(file, SEGMENT_HEADER.size, segment.size_bytes, lambda *_: None):
        good = frame.end
        if frame.header.kind in BATCH_KINDS:
            next_sequence = max(next_sequence, frame.header.sequence + 1)
    return good, next_sequence


def origins_of(segment: Segment, next_sequence: int) -> dict[bytes, Position]:
    """Return how far the journals of other agents are, as a segment tells; it begins with what was before.

    A position holds only when the batch that it came with is before `next_sequence`.
    """
    found: dict[bytes, Position] = {}
    file = SegmentFile(segment.path)
    try:
        for frame in scan_frames(file, SEGMENT_HEADER.size, segment.size_bytes, lambda *_: None):
            if frame.header.kind == Kind.ORIGINS and frame.header.sequence < next_sequence:
                with suppress(JournalCorrupt):  # counted by whoever reads the segment
                    found |= unpack_origins(unpack_payload(frame.header, frame.payload))
    finally:
        file.close()
    return found


def sync_folder(folder: Path) -> None:
    """Make created, renamed and removed files of a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
