"""A file of frames: what is on its way to become Parquet. The frames are those of the journal.

    session := MARK frame*

Each process that writes begins a session, whose series and layouts are numbered anew.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from metricsmith.errors import JournalCorrupt, LimitExceeded
from metricsmith.model.batch import Batch
from metricsmith.model.series import SeriesTable
from metricsmith.wire.frames.decode import LayoutMemory
from metricsmith.wire.frames.encode import FrameEncoder
from metricsmith.wire.frames.format import FRAME_HEADER, MAX_PAYLOAD_BYTES, unpack_frame_header
from metricsmith.wire.frames.guarded import GuardedDecoder

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
    """Reads such a file, in parts that follow one another."""

    def __init__(self, series: SeriesTable) -> None:
        self._series = series
        self._decoder: GuardedDecoder | None = None

    def batches(self, data: bytes, offset: int = 0) -> Iterator[Batch]:
        """Yield the batches of what comes next in the file, whole frames; `offset` is where, for people.

        Raises:
            JournalCorrupt: it is damaged.
        """
        at = 0
        while at < len(data):
            if data.startswith(MARK, at):
                self._decoder = GuardedDecoder(self._series, LayoutMemory(), "", MAX_PAYLOAD_BYTES)
                at += len(MARK)
            end = _end_of_frames(data, at)
            if end == at and at < len(data):
                raise JournalCorrupt(f"got no frame at byte {offset + at}")
            if self._decoder is None:
                raise JournalCorrupt(f"got a frame before a session begins, at byte {offset + at}")
            try:
                for _, batch in self._decoder.batches(data[at:end]):
                    yield batch
            except (JournalCorrupt, LimitExceeded) as error:
                raise JournalCorrupt(f"{error}, in the frames from byte {offset + at}") from None
            at = end


def _end_of_frames(data: bytes, at: int) -> int:
    """Return where the frames that follow one another end: at a session, damage, or the data's end."""
    while (header := unpack_frame_header(data[at : at + FRAME_HEADER.size])) is not None:
        at += FRAME_HEADER.size + header.stored_bytes
    return min(at, len(data))
