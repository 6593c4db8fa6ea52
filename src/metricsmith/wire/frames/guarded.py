"""Frames that others send: the same as the journal's, read with limits and without trust."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np

from metricsmith.errors import JournalCorrupt, LimitExceeded
from metricsmith.model.arrays import U32
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import NAME_LABEL, split_key
from metricsmith.model.series import SeriesTable
from metricsmith.wire.frames.decode import FrameDecoder, LayoutMemory
from metricsmith.wire.frames.encode import SERIES_HEAD
from metricsmith.wire.frames.format import BATCH_KINDS, FRAME_HEADER, unpack_frame_header, unpack_payload

MAX_SESSION_SERIES = 4_000_000
MAX_LAYOUT_BYTES = 128 << 20
MAX_KEY_BYTES = 64 << 10
MAX_LABELS = 512
MAX_TIME_MS = 1 << 62
_LZ4_MOST = 256
"""LZ4 makes at most that many bytes of one."""


class GuardedDecoder(FrameDecoder):
    """Decodes the frames of one session with another agent; streams get a prefix that sets them apart."""

    def __init__(self, series: SeriesTable, layouts: LayoutMemory, prefix: str, max_payload: int) -> None:
        super().__init__(series, layouts)
        self._table, self._prefix, self._max_payload = series, prefix, max_payload
        self._series_seen = self._layout_bytes = 0

    def batches(self, body: bytes) -> Iterator[tuple[int, Batch]]:
        """Yield number and batch of each batch in a body of whole frames.

        Raises:
            JournalCorrupt: a frame is damaged, or cannot be decoded.
            LimitExceeded: more than one session may define.
        """
        at, view = 0, memoryview(body)
        while at < len(body):
            header = unpack_frame_header(body[at : at + FRAME_HEADER.size])
            if header is None:
                raise JournalCorrupt(f"got no frame at byte {at}")
            start, at = at + FRAME_HEADER.size, at + FRAME_HEADER.size + header.stored_bytes
            stored = view[start:at]
            if len(stored) < header.stored_bytes or zlib.crc32(stored) != header.payload_crc:
                raise JournalCorrupt(f"got a damaged frame at byte {start - FRAME_HEADER.size}")
            if header.raw_bytes > min(self._max_payload, _LZ4_MOST * (header.stored_bytes + 1)):
                raise LimitExceeded(f"got a frame of {header.raw_bytes} bytes, wanted {self._max_payload}")
            payload = unpack_payload(header, stored)
            batch = self.decode(header.kind, payload)
            if batch is not None:
                _check_events(batch)
                yield header.sequence, batch
            elif header.kind in BATCH_KINDS:
                raise JournalCorrupt(f"got a frame of kind {header.kind} without a batch")

    def _define_series(self, payload: bytes | memoryview) -> None:
        first, _ = SERIES_HEAD.unpack_from(payload)
        if first != self._series_seen:
            raise JournalCorrupt(f"got series from {first}, wanted them from {self._series_seen}")
        super()._define_series(payload)

    def _intern(self, keys: list[bytes]) -> U32:
        self._series_seen += len(keys)
        if self._series_seen > MAX_SESSION_SERIES:
            raise LimitExceeded(f"got {self._series_seen} series, wanted at most {MAX_SESSION_SERIES}")
        for key in keys:
            if self._table.find(key) is None:
                _check_key(key)
        return super()._intern(keys)

    def _keep_layout(self, number: int, layout: Layout) -> None:
        self._layout_bytes += 4 * len(layout) + 100 * len(layout.metadata)
        if self._layout_bytes > MAX_LAYOUT_BYTES:
            raise LimitExceeded(f"got layouts of more than {MAX_LAYOUT_BYTES} bytes")
        if number in self._layouts:
            raise JournalCorrupt(f"got layout {number} twice")
        if layout.stream is not None:
            if len(np.unique(layout.ids)) != len(layout):
                raise JournalCorrupt("got a stream that has a series twice")
            layout = Layout(layout.ids, f"{self._prefix}{layout.stream}", layout.metadata)
        if not {type(text) for m in layout.metadata.values() for text in (m.unit, m.help)} <= {str}:
            raise JournalCorrupt("got metadata that is no text")
        super()._keep_layout(number, layout)


def _check_events(batch: Batch) -> None:
    for event in batch.events:
        texts = [event.summary, event.category, *event.attributes]
        right = {type(text) for text in texts} <= {str} and abs(event.time_ms) < MAX_TIME_MS
        if not right or not {type(v) for v in event.attributes.values()} <= {str, int, float, bool}:
            raise JournalCorrupt("got an event of wrong types")


def _check_key(key: bytes) -> None:
    """Return when a key is one that `encode_labels` makes.

    Raises:
        JournalCorrupt: it is not.
        UnicodeDecodeError: it is not UTF-8.
    """
    if not 0 < len(key) <= MAX_KEY_BYTES:
        raise JournalCorrupt(f"got a series of {len(key)} bytes, wanted 1 to {MAX_KEY_BYTES}")
    name, pairs = split_key(key)
    name.decode()
    labels = [label for label, _ in pairs]
    if len(pairs) > MAX_LABELS or labels != sorted(set(labels)) or NAME_LABEL.encode() in labels:
        raise JournalCorrupt(f"got a series with wrong labels: {key[:100]!r}")
    for label, value in pairs:
        if not label or not value:
            raise JournalCorrupt(f"got a series with an empty label: {key[:100]!r}")
        label.decode(), value.decode()
