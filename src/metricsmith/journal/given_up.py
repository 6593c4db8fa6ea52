"""What readers of the journal do not get, counted in its files: nobody has read it, so only they know."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from metricsmith.errors import JournalCorrupt
from metricsmith.journal.format import SEGMENT_HEADER
from metricsmith.journal.segment import Segment, SegmentFile, scan_frames
from metricsmith.wire.frames.decode import amount_in
from metricsmith.wire.frames.format import BATCH_KINDS, unpack_payload

Reason = Literal["expired", "removed"]
"""The journal was larger than it may be; the reader was gone for too long."""


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Batches from `begin` up to but without `end` that a reader will not get, and what is in them."""

    reader: str
    reason: Reason
    begin: int
    end: int
    samples: int
    events: int


def count_batches(segment: Segment, begin: int, end: int) -> tuple[int, int]:
    """Return the samples and the events of a segment's batches from `begin` on; `end` is where it ends.

    What cannot be read is not counted: a reader would not have got it either.
    """
    if segment.amounts is not None and begin <= segment.first_sequence:
        return segment.amounts
    samples = events = 0
    try:
        file = SegmentFile(segment.path)
    except OSError:
        return 0, 0
    try:
        for frame in scan_frames(file, SEGMENT_HEADER.size, segment.size_bytes, lambda *_: None):
            header = frame.header
            if header.kind in BATCH_KINDS and begin <= header.sequence < end:
                with suppress(JournalCorrupt):
                    more = amount_in(header.kind, unpack_payload(header, frame.payload))
                    samples, events = samples + more[0], events + more[1]
    finally:
        file.close()
    return samples, events
