"""Reads every frame of a journal that nobody writes, without changing it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from metricsmith.errors import FormatTooNew, JournalCorrupt
from metricsmith.journal.cursor_file import CURSOR_SUFFIX, read_cursor
from metricsmith.journal.format import SEGMENT_HEADER, check_segment_header
from metricsmith.journal.segment import Segment, SegmentFile, list_segments, scan_frames
from metricsmith.model.faults import Advance, Fault
from metricsmith.model.series import SeriesTable
from metricsmith.wire.frames.decode import FrameDecoder, LayoutMemory
from metricsmith.wire.frames.format import BATCH_KINDS, FRAME_HEADER, unpack_payload

LOST = "readers pass over it, and count it; samples that are in blocks already are there"
UNREADABLE = "the agent stops there: look at the disk, or move the file away"
TORN = "nothing: the next start cuts it, nobody was told that it was accepted"


def verify_journal(folder: Path, cursor: int | None, advance: Advance) -> Iterator[Fault]:
    """Yield what is wrong with segments and cursor files.

    `cursor` is the first batch that the store needs, None where that is not known.
    """
    segments = list_segments(folder)
    expected: int | None = None
    for segment in segments:
        name = f"{folder.name}/{segment.path.name}"
        if expected is not None and segment.first_sequence > expected:
            what = f"begins with batch {segment.first_sequence}, wanted {expected}"
            yield Fault(name, "", what, "what lies between is lost, unless it is in blocks already")
        reading = _Reading(segment)
        try:
            for part, what, harmless in reading.faults(is_newest=segment is segments[-1]):
                yield Fault(name, part, what, TORN if harmless else LOST, harmless)
        except OSError as error:
            yield Fault(name, "", f"cannot be read: {error.strerror or error}", UNREADABLE)
            expected = None
            continue
        expected = None if reading.end_is_damaged else max(reading.next_sequence, expected or 0)
        advance(segment.size_bytes)
    if expected is not None or not segments:
        yield from _bounds(folder.name, segments, cursor, expected or 0)
    yield from _beside(folder)


def _bounds(name: str, segments: list[Segment], cursor: int | None, end: int) -> Iterator[Fault]:
    if cursor is None:
        return
    if segments and cursor < segments[0].first_sequence and cursor > 0:
        what = f"begins with batch {segments[0].first_sequence}, but blocks hold those before {cursor} only"
        yield Fault(name, "", what, "what lies between is lost; look whether segments were moved away")
    if cursor > end:
        what = f"ends at batch {end}, but blocks hold those before {cursor}"
        yield Fault(name, "", what, "nothing: the journal goes on from there", harmless=True)


def _beside(folder: Path) -> Iterator[Fault]:
    for path in sorted(folder.glob(f"*{CURSOR_SUFFIX}")):
        try:
            read_cursor(path)
        except (ValueError, OSError) as error:
            advice = "remove it to have its reader begin at the end; else it begins with the oldest batch"
            yield Fault(f"{folder.name}/{path.name}", "", str(error).removeprefix(f"{path}: "), advice)
    for path in sorted(folder.glob("*.tmp")):
        advice = "nothing: the next start removes it"
        yield Fault(f"{folder.name}/{path.name}", "", "was being created", advice, harmless=True)


class _Reading:
    """One segment, read whole: checksums, definitions before their use, numbers that rise by one."""

    def __init__(self, segment: Segment) -> None:
        self.next_sequence = segment.first_sequence
        self._segment = segment
        self._damage: list[tuple[int, str]] = []
        self._good_end = SEGMENT_HEADER.size

    @property
    def end_is_damaged(self) -> bool:
        """Whether it is not known with which batch it ends."""
        return any(at >= self._good_end for at, _ in self._damage)

    def faults(self, is_newest: bool) -> Iterator[tuple[str, str, bool]]:
        """Yield part, fault, and whether it is only the torn end of the newest segment."""
        file = SegmentFile(self._segment.path)
        try:
            yield from self._header(file, is_newest)
            yield from ((f"byte {at}", what, False) for at, what in self._frames(file))
        finally:
            file.close()
        for at, reason in self._damage:
            torn = is_newest and at >= self._good_end
            what = "a torn end" if torn else f"cannot be read: {reason}"
            yield f"byte {at}", what, torn

    def _header(self, file: SegmentFile, is_newest: bool) -> Iterator[tuple[str, str, bool]]:
        size = self._segment.size_bytes
        try:
            check_segment_header(file.read(0, SEGMENT_HEADER.size, size), self._segment.path)
        except (JournalCorrupt, FormatTooNew) as error:
            torn = is_newest and size <= SEGMENT_HEADER.size
            yield "header", str(error).removeprefix(f"{self._segment.path}: "), torn

    def _frames(self, file: SegmentFile) -> Iterator[tuple[int, str]]:
        decoder = FrameDecoder(SeriesTable(), LayoutMemory())
        end, told = self._segment.size_bytes, 0
        for frame in scan_frames(file, SEGMENT_HEADER.size, end, self._note):
            start = frame.end - frame.header.stored_bytes - FRAME_HEADER.size
            self._good_end = frame.end
            try:
                decoder.decode(frame.header.kind, unpack_payload(frame.header, frame.payload))
            except JournalCorrupt as error:
                yield start, f"cannot be decoded: {error}"
            if frame.header.kind in BATCH_KINDS:
                gap = frame.header.sequence != self.next_sequence
                if gap and len(self._damage) == told:  # else it is the damaged frames that are missing
                    yield start, f"got batch {frame.header.sequence}, wanted {self.next_sequence}"
                self.next_sequence, told = frame.header.sequence + 1, len(self._damage)

    def _note(self, _: Path, at: int, reason: str) -> None:
        self._damage.append((at, reason))
