"""A file of frames: what is on its way to become Parquet. The frames are those of the journal.

    session := MARK frame*

Each process that writes begins a session, whose series and layouts are numbered anew.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator

from metricsmith.errors import JournalCorrupt
from metricsmith.model.batch import Batch
from metricsmith.model.series import SeriesTable
from metricsmith.wire.frames.decode import FrameDecoder, LayoutMemory
from metricsmith.wire.frames.encode import FrameEncoder
from metricsmith.wire.frames.format import FRAME_HEADER, unpack_frame_header, unpack_payload

MARK = b"\xf5mfile1\n"
MAX_LAYOUT_BYTES = 64 << 20
"""After so much of layouts a session ends: a reader keeps what is defined in one."""
_numbers = itertools.count()


class FramesWriter:
    """Turns batches into the bytes of one session."""

    def __init__(self, series: SeriesTable) -> None:
        self._series = series
        self._encoder: FrameEncoder | None = None

    def encode(self, batch: Batch, sequence: int) -> list[bytes | memoryview]:
        """Return what is to be written next.

        Raises:
            LimitExceeded: larger than a frame may be.
        """
        pieces: list[bytes | memoryview] = []
        if self._encoder is None or self._encoder.layout_bytes > MAX_LAYOUT_BYTES:
            self._encoder = FrameEncoder(next(_numbers), self._series, self)
            pieces.append(MARK)
        return pieces + self._encoder.encode(batch, sequence)

    def begin_anew(self) -> None:
        """Begin another session: what was encoded last may not have been written."""
        self._encoder = None


class FramesReader:
    """Reads such a file, in parts that follow one another; trusted as far as its checksums are right."""

    def __init__(self, series: SeriesTable) -> None:
        self._series = series
        self._decoder: FrameDecoder | None = None

    def batches(self, data: bytes, offset: int = 0) -> Iterator[Batch]:
        """Yield the batches of what comes next in the file, whole frames; `offset` is where, for people.

        Raises:
            JournalCorrupt: it is damaged from some byte on.
        """
        at, view = 0, memoryview(data)
        while at < len(data):
            if data.startswith(MARK, at):
                self._decoder = FrameDecoder(self._series, LayoutMemory())
                at += len(MARK)
                continue
            header = unpack_frame_header(data[at : at + FRAME_HEADER.size])
            if header is None or self._decoder is None:
                raise JournalCorrupt(f"got no frame at byte {offset + at}")
            start = at + FRAME_HEADER.size
            stored = view[start : start + header.stored_bytes]
            if len(stored) < header.stored_bytes or zlib.crc32(stored) != header.payload_crc:
                raise JournalCorrupt(f"got a damaged frame at byte {offset + at}")
            batch = self._decoder.decode(header.kind, unpack_payload(header, stored))
            if batch is not None:
                yield batch
            at = start + header.stored_bytes
