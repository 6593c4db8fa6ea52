"""Frames of one segment or session to batches, with series interned again in the present series table."""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import Any

import numpy as np
import orjson

from metricsmith.errors import JournalCorrupt
from metricsmith.model.arrays import U32
from metricsmith.model.batch import Batch, Layout, event_batch
from metricsmith.model.events import Event
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.model.series import SeriesTable
from metricsmith.wire.frames.encode import (
    HAS_STALE,
    HAS_TIMES,
    LAYOUT_HEAD,
    NO_STREAM,
    SAMPLES_HEAD,
    SERIES_HEAD,
    UNDEFINED,
    samples_bytes,
)
from metricsmith.wire.frames.format import Kind

MAX_SERIES = 1 << 28
_UNDECODABLE = (ValueError, IndexError, KeyError, TypeError, AttributeError, struct.error)


class LayoutMemory:
    """The last layout of each stream, so that a stream keeps its Layout object over segments."""

    def __init__(self) -> None:
        self._by_stream: dict[str, Layout] = {}

    def same(self, layout: Layout) -> Layout:
        """Return the stream's last layout when it is equal, else the given one, remembered."""
        if layout.stream is None:
            return layout
        last = self._by_stream.get(layout.stream)
        if last is not None and np.array_equal(last.ids, layout.ids) and last.metadata == layout.metadata:
            return last
        self._by_stream[layout.stream] = layout
        return layout


class FrameDecoder:
    """Turns the frames of one segment, in order, back into batches.

    Raises JournalCorrupt for a frame that cannot be decoded, also because a
    frame that it depends on was lost; the frames after it can still be read.
    """

    def __init__(self, series: SeriesTable, layouts: LayoutMemory) -> None:
        self._series = series
        self._memory = layouts
        self._ids = np.empty(0, dtype=np.uint32)  # the segment's number of a series → its id now
        self._layouts: dict[int, Layout] = {}

    def decode(self, kind: int, payload: bytes | memoryview) -> Batch | None:
        """Return the batch of a samples frame; remember what the other kinds define."""
        try:
            match kind:
                case Kind.SERIES:
                    self._define_series(payload)
                case Kind.LAYOUT:
                    self._define_layout(payload)
                case Kind.SAMPLES | Kind.SAMPLES_INLINE:
                    return self._samples(payload, inline=kind == Kind.SAMPLES_INLINE)
                case Kind.EVENTS:
                    return _events(payload)
                case Kind.ORIGINS:
                    pass  # where batches came from matters to those who go on receiving, not to readers
                case _:
                    raise JournalCorrupt(f"got frame kind {kind}")
        except _UNDECODABLE as error:
            raise JournalCorrupt(f"frame of kind {kind}: {error}") from None
        return None

    def _define_series(self, payload: bytes | memoryview) -> None:
        first, count = SERIES_HEAD.unpack_from(payload)
        ends = np.cumsum(np.frombuffer(payload, np.uint32, count, SERIES_HEAD.size), dtype=np.int64)
        keys_at = SERIES_HEAD.size + 4 * count
        if first + count > MAX_SERIES or (count and keys_at + int(ends[-1]) != len(payload)):
            raise JournalCorrupt(f"got {count} series from {first} in {len(payload)} bytes")
        text = bytes(payload[keys_at:])
        starts = [0, *ends.tolist()]
        ids = self._intern([text[a:b] for a, b in pairwise(starts)])
        if first + count > len(self._ids):
            more = np.full(max(first + count, 2 * len(self._ids)) - len(self._ids), UNDEFINED, np.uint32)
            self._ids = np.concatenate([self._ids, more])
        self._ids[first : first + count] = ids

    def _define_layout(self, payload: bytes | memoryview) -> None:
        number, count, stream_bytes, metadata_bytes = LAYOUT_HEAD.unpack_from(payload)
        text_at = LAYOUT_HEAD.size + 4 * count
        stream_end = text_at + max(stream_bytes, 0)
        if stream_end + metadata_bytes != len(payload):
            raise JournalCorrupt(f"got a layout of {len(payload)} bytes")
        ids = self._known(take_planes(payload, LAYOUT_HEAD.size, count, np.dtype("<u4")))
        stream = None if stream_bytes == NO_STREAM else str(payload[text_at:stream_end], "utf-8")
        families: dict[str, list[str]] = orjson.loads(payload[stream_end:])
        metadata = {n: Metadata(MetricType(t), unit, text) for n, (t, unit, text) in families.items()}
        self._keep_layout(number, Layout(ids, stream, metadata))

    def _samples(self, payload: bytes | memoryview, inline: bool) -> Batch:
        number, count, base, flags = SAMPLES_HEAD.unpack_from(payload)
        if samples_bytes(count, flags, inline) != len(payload):
            raise JournalCorrupt(f"got {count} samples in {len(payload)} bytes")
        at = SAMPLES_HEAD.size
        value = take_planes(payload, at, count, np.dtype("<f8"))
        at += 8 * count
        time_ms = base
        if flags & HAS_TIMES:
            time_ms = np.cumsum(take_planes(payload, at, count, np.dtype("<i8")), dtype=np.int64) + base
            at += 8 * count
        stale = None
        if flags & HAS_STALE:
            bits = np.frombuffer(payload, np.uint8, (count + 7) // 8, at)
            stale = np.unpackbits(bits, count=count).view(np.bool_)
            at += len(bits)
        if inline:
            layout = Layout(self._known(take_planes(payload, at, count, np.dtype("<u4"))))
        else:
            layout = self._layouts[number]
            if len(layout) != count:
                raise JournalCorrupt(f"got {count} samples for a layout of {len(layout)} series")
        return Batch(layout, time_ms, value, stale)

    def _intern(self, keys: list[bytes]) -> U32:
        return self._series.intern_many(keys)

    def _keep_layout(self, number: int, layout: Layout) -> None:
        self._layouts[number] = self._memory.same(layout)

    def _known(self, differences: U32) -> U32:
        # Present ids of the segment's series numbers, which are stored as differences.
        ids: U32 = self._ids[np.cumsum(differences, dtype=np.uint32)]
        if (ids == UNDEFINED).any():
            raise JournalCorrupt("uses a series that no readable frame defines")
        return ids


def amount_in(kind: int, payload: bytes | memoryview) -> tuple[int, int]:
    """Return the samples and the events of a frame that is a batch, without decoding the samples.

    Raises:
        JournalCorrupt: not to be decoded.
    """
    try:
        if kind == Kind.EVENTS:
            return 0, len(orjson.loads(payload))
        return SAMPLES_HEAD.unpack_from(payload)[1], 0
    except _UNDECODABLE as error:
        raise JournalCorrupt(f"frame of kind {kind}: {error}") from None


def _events(payload: bytes | memoryview) -> Batch:
    found = [
        Event(time_ms, summary, category, about)
        for time_ms, summary, category, about in orjson.loads(payload)
    ]
    if not found or not all(isinstance(e.time_ms, int) for e in found):
        raise JournalCorrupt(f"got {len(found)} events, wanted some, each with its time")
    return event_batch(found, max(event.time_ms for event in found))


def take_planes(data: bytes | memoryview, at: int, count: int, dtype: np.dtype[Any]) -> Any:
    """Return numbers that were written as byte planes.

    Shapes:
        returns: (count,)
    """
    planes = np.frombuffer(data, np.uint8, count * dtype.itemsize, at).reshape(dtype.itemsize, count)
    return np.ascontiguousarray(planes.T).view(dtype).reshape(count)
