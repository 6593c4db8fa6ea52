"""Reading batches across segments, from a sequence number on, and going on where reading stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from metricsmith.errors import JournalCorrupt
from metricsmith.journal.format import SEGMENT_HEADER, check_segment_header
from metricsmith.journal.segment import Damage, Frame, Segment, SegmentFile, scan_frames
from metricsmith.model.batch import Batch
from metricsmith.model.series import SeriesTable
from metricsmith.wire.frames.decode import FrameDecoder, LayoutMemory
from metricsmith.wire.frames.format import BATCH_KINDS, FRAME_HEADER, unpack_payload


class Tail:
    """A position in the journal. Used by one thread at a time; the journal may grow meanwhile."""

    def __init__(
        self, segments: Callable[[], list[Segment]], series: SeriesTable, damage: Damage, from_sequence: int
    ) -> None:
        self.next_sequence = from_sequence
        self._segments = segments
        self._series = series
        self._damage = damage
        self.layouts = LayoutMemory()
        self._segment: Segment | None = None
        self._file: SegmentFile | None = None
        self._decoder = FrameDecoder(series, self.layouts)
        self._at = 0

    def read(self, until_sequence: int) -> Iterator[tuple[int, Batch]]:
        """Yield (sequence, batch) in order, up to but without `until_sequence`."""
        while self.next_sequence < until_sequence:
            segment, successor = self._current()
            until = until_sequence if successor is None else min(until_sequence, successor.first_sequence)
            if segment is not None:
                try:
                    yield from self._read_segment(segment, until)
                except OSError as error:
                    reason = "missing" if isinstance(error, FileNotFoundError) else "unreadable"
                    self._damage(segment.path, self._at, reason)
            self.next_sequence = max(self.next_sequence, until)  # what could not be read is passed over

    def skip(self, sequence: int) -> None:
        """Go on behind what was got elsewhere; a file that may be trimmed by now is not held."""
        self.next_sequence = sequence
        if self._segment is not None and self._segment is not self._segments()[-1]:
            self.close()

    def close(self) -> None:
        """Release the open file."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._segment = None

    def _current(self) -> tuple[Segment | None, Segment | None]:
        # The segment that holds the next sequence number, and the one after it. The successor is looked
        # up first: when there is one, the segment's committed size is final.
        segments = self._segments()
        index = 0
        for i, segment in enumerate(segments):
            if segment.first_sequence <= self.next_sequence:
                index = i
        found = segments[index : index + 2]
        return (found[0] if found else None), (found[1] if len(found) > 1 else None)

    def _read_segment(self, segment: Segment, until: int) -> Iterator[tuple[int, Batch]]:
        end = segment.size_bytes
        for frame in scan_frames(self._enter(segment), self._at, end, self._damage):
            if frame.header.sequence >= until:
                return
            self._at = frame.end
            batch = self._decode(segment, frame)
            if batch is not None:
                self.next_sequence = frame.header.sequence + 1
                yield frame.header.sequence, batch
        self._at = end

    def _enter(self, segment: Segment) -> SegmentFile:
        if self._file is not None and self._segment is segment:
            return self._file
        self.close()
        self._file, self._segment = SegmentFile(segment.path), segment
        self._decoder = FrameDecoder(self._series, self.layouts)
        self._at = SEGMENT_HEADER.size
        try:
            check_segment_header(self._file.read(0, SEGMENT_HEADER.size, segment.size_bytes), segment.path)
        except JournalCorrupt:
            self._damage(segment.path, 0, "segment_header")
        return self._file

    def _decode(self, segment: Segment, frame: Frame) -> Batch | None:
        header = frame.header
        if header.kind in BATCH_KINDS and header.sequence < self.next_sequence:
            return None
        try:
            return self._decoder.decode(header.kind, unpack_payload(header, frame.payload))
        except JournalCorrupt:
            start = frame.end - header.stored_bytes - FRAME_HEADER.size
            self._damage(segment.path, start, "undecodable")
            return None
