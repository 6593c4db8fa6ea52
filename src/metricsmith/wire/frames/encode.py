"""Batches to frames of one segment or session; what depends on a layout alone is written once in each."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from metricsmith.errors import LimitExceeded
from metricsmith.model.arrays import U8, U32
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.series import SeriesTable
from metricsmith.wire.frames.format import MAX_PAYLOAD_BYTES, Kind, pack_frame
from metricsmith.wire.frames.origins import pack_origins

SERIES_HEAD = struct.Struct("<II")
LAYOUT_HEAD = struct.Struct("<IIiI")
SAMPLES_HEAD = struct.Struct("<IIqI")
HAS_TIMES, HAS_STALE = 1, 2
NO_STREAM = -1
UNDEFINED = 0xFFFFFFFF
SERIES_PER_FRAME = 1 << 16


@dataclass(slots=True)
class Written:
    """Where a layout was last written."""

    segment: int = -1
    number: int = 0


def never_written(_: Layout) -> Written:
    """Return the state of a layout that no segment holds; for `Layout.derive`."""
    return Written()


class FrameEncoder:
    """Turns batches into the frames of one segment, defining series and layouts before first use.

    What two agents say in one session is a segment in this sense.

    Series are numbered by the segment, from 0 in order of appearance: the file
    depends on no process and the numbers compress well.
    """

    def __init__(
        self, segment: int, series: SeriesTable, owner: object, max_payload: int = MAX_PAYLOAD_BYTES
    ) -> None:
        self._segment = segment
        self._series = series
        self._owner = owner
        self._max_payload = max_payload
        self.layout_bytes = 0
        """Roughly what a decoder keeps of the layouts so far."""
        self._local = np.full(1024, UNDEFINED, dtype=np.uint32)
        self._series_count = 0
        self._layout_count = 0

    def encode(self, batch: Batch, sequence: int) -> list[bytes | memoryview]:
        """Return the pieces of all frames that a batch needs, to be written in order.

        Raises:
            LimitExceeded: larger than a frame may be.
        """
        if batch.origin is None:
            return self._frames(batch, sequence)
        origin = pack_origins({batch.origin.producer: batch.origin.position})
        return [*pack_frame(Kind.ORIGINS, sequence, origin), *self._frames(batch, sequence)]

    def _frames(self, batch: Batch, sequence: int) -> list[bytes | memoryview]:
        layout = batch.layout
        if batch.events:
            return list(pack_frame(Kind.EVENTS, sequence, _events(batch, self._max_payload)))
        if layout.stream is None and not layout.metadata:
            pieces, local = self._define_series(layout.ids, sequence)
            payload = _samples(batch, 0, local, self._max_payload)
            return [*pieces, *pack_frame(Kind.SAMPLES_INLINE, sequence, payload)]
        pieces = []
        written: Written = layout.derive(self._owner, never_written)
        if written.segment != self._segment:
            pieces = self._define_layout(layout, sequence)
            written.segment, written.number = self._segment, self._layout_count
            self._layout_count += 1
        payload = _samples(batch, written.number, None, self._max_payload)
        return [*pieces, *pack_frame(Kind.SAMPLES, sequence, payload)]

    def _define_series(self, ids: U32, sequence: int) -> tuple[list[bytes | memoryview], U32]:
        # Frames for the series that the segment does not have yet, and the segment's numbers of all of them.
        self._grow()
        local = self._local[ids]
        new = np.unique(ids[local == UNDEFINED])
        if not len(new):
            return [], local
        pieces: list[bytes | memoryview] = []
        for at in range(0, len(new), SERIES_PER_FRAME):
            part = new[at : at + SERIES_PER_FRAME]
            keys = [self._series.key(i) for i in part.tolist()]
            lengths = np.fromiter(map(len, keys), dtype=np.uint32, count=len(keys))
            payload = b"".join([SERIES_HEAD.pack(self._series_count, len(keys)), lengths.tobytes(), *keys])
            _check_size(len(payload), self._max_payload)
            self._local[part] = np.arange(self._series_count, self._series_count + len(part), dtype=np.uint32)
            self._series_count += len(part)
            pieces += pack_frame(Kind.SERIES, sequence, payload)
        return pieces, self._local[ids]

    def _define_layout(self, layout: Layout, sequence: int) -> list[bytes | memoryview]:
        pieces, local = self._define_series(layout.ids, sequence)
        stream = b"" if layout.stream is None else layout.stream.encode()
        metadata = orjson.dumps({n: [m.type, m.unit, m.help] for n, m in layout.metadata.items()})
        stream_bytes = NO_STREAM if layout.stream is None else len(stream)
        head = LAYOUT_HEAD.pack(self._layout_count, len(local), stream_bytes, len(metadata))
        numbers = np.empty(4 * len(local), dtype=np.uint8)
        put_planes(numbers, np.diff(local, prepend=np.uint32(0)))
        payload = b"".join([head, numbers.data, stream, metadata])
        _check_size(len(payload), self._max_payload)
        self.layout_bytes += len(numbers) + len(metadata)
        return [*pieces, *pack_frame(Kind.LAYOUT, sequence, payload)]

    def _grow(self) -> None:
        have, want = len(self._local), len(self._series)
        if want > have:
            more = np.full(max(want, 2 * have) - have, UNDEFINED, dtype=np.uint32)
            self._local = np.concatenate([self._local, more])


def _events(batch: Batch, max_payload: int) -> bytes:
    """Return the payload of an events frame: JSON, one list for each event."""
    payload = orjson.dumps([[e.time_ms, e.summary, e.category, e.attributes] for e in batch.events])
    _check_size(len(payload), max_payload)
    return payload


def _samples(batch: Batch, layout_number: int, inline: U32 | None, max_payload: int) -> memoryview:
    """Return the payload of a samples frame: head, values, then times, stale bits and ids where needed."""
    count = len(batch)
    scalar = isinstance(batch.time_ms, int)
    flags = (0 if scalar else HAS_TIMES) | (0 if batch.stale is None else HAS_STALE)
    size = samples_bytes(count, flags, inline is not None)
    _check_size(size, max_payload)
    out = np.empty(size, dtype=np.uint8)
    times = None if isinstance(batch.time_ms, int) else batch.time_ms
    base = batch.time_ms if isinstance(batch.time_ms, int) else (int(batch.time_ms[0]) if count else 0)
    SAMPLES_HEAD.pack_into(out.data, 0, layout_number, count, base, flags)
    at = SAMPLES_HEAD.size
    put_planes(out[at : at + 8 * count], batch.value)
    at += 8 * count
    if times is not None:
        put_planes(out[at : at + 8 * count], np.diff(times, prepend=np.int64(base)))
        at += 8 * count
    if batch.stale is not None:
        bits = np.packbits(batch.stale)
        out[at : at + len(bits)] = bits
        at += len(bits)
    if inline is not None:
        put_planes(out[at:], np.diff(inline, prepend=np.uint32(0)))
    return out.data


def samples_bytes(count: int, flags: int, inline: bool) -> int:
    """Return the payload size of a samples frame."""
    stale = (count + 7) // 8 if flags & HAS_STALE else 0
    return SAMPLES_HEAD.size + count * (8 + 8 * bool(flags & HAS_TIMES) + 4 * inline) + stale


def put_planes(out: U8, values: NDArray[Any]) -> None:
    """Write numbers as byte planes: all first bytes, all second bytes… LZ4 finds repeats only so.

    Shapes:
        out: (P × itemsize,) written. values: (P,)
    """
    width = values.dtype.itemsize
    little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    out.reshape(width, len(values))[:] = little.view(np.uint8).reshape(len(values), width).T


def _check_size(payload_bytes: int, most: int) -> None:
    if payload_bytes > most:
        raise LimitExceeded(
            f"got a batch of {payload_bytes} bytes, wanted at most {most} (send smaller batches)"
        )
