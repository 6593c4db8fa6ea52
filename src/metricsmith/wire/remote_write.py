"""Remote-write 1.0 requests to batches, without a Python object per sample."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field

import cramjam
import numpy as np

from metricsmith.errors import LimitExceeded, WireError
from metricsmith.model.arrays import I64, U32
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.metadata import Metadata
from metricsmith.model.series import SeriesTable
from metricsmith.wire.protobuf import BYTES, read_fields, read_length, read_varint
from metricsmith.wire.remote_write_message import (
    STALE_BITS,
    SeriesMessage,
    read_labels,
    read_metadata,
    read_series,
    series_key,
)
from metricsmith.wire.remote_write_samples import PAD_BYTES, U64, read_samples

CACHE_BYTES = 128 << 20
MAX_SAMPLES = 2_000_000
MOST_ODD = 200_000
_ENTRY_BYTES = 150  # dict slot, bytes object and int beside the label bytes
_TIMESERIES, _LABEL, _SAMPLE = 0x0A, 0x0A, 0x12
_METADATA_FIELD = 3


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """A decoded request: its samples in the order sent, and what of it was not kept.

    `refused` counts samples of series whose labels name none, `why` is about the first of these.
    """

    batch: Batch
    series: int
    skipped_histograms: int
    skipped_exemplars: int
    refused: int = 0
    why: str = ""


class LabelCache:
    """Label bytes as sent → series id, within a memory budget.

    Two generations: when the young one has filled half the budget it becomes
    the old one, and what is asked for again moves back. So what is in use stays.
    """

    def __init__(self, budget_bytes: int = CACHE_BYTES) -> None:
        self.young: dict[bytes, int] = {}
        self._old: dict[bytes, int] = {}
        self._room = self._half = budget_bytes // 2

    def find_old(self, labels: bytes) -> int | None:
        """Return the id of label bytes that are not in `young`."""
        found = self._old.get(labels)
        if found is not None:
            self.put(labels, found)
        return found

    def put(self, labels: bytes, series: int) -> None:
        """Remember an id."""
        self._room -= len(labels) + _ENTRY_BYTES
        if self._room < 0:
            self._old = self.young.copy()
            self.young.clear()  # in place: the decoder holds its `get`
            self._room = self._half
        self.young[labels] = series


@dataclass(slots=True)
class Scan:
    """What a walk over the series of a message found: for each, its id, bounds, and where its samples lie."""

    series: array[int] = field(default_factory=lambda: array("I"))
    start: array[int] = field(default_factory=lambda: array("q"))
    end: array[int] = field(default_factory=lambda: array("q"))
    body: array[int] = field(default_factory=lambda: array("q"))
    stop: array[int] = field(default_factory=lambda: array("q"))
    odd: list[int] = field(default_factory=list)
    """Series that are known not to be of the usual form."""
    metadata: dict[str, Metadata] = field(default_factory=dict)

    def add_odd(self, series: int, body: int, stop: int) -> None:
        """Add a series that is to be read field by field.

        Raises:
            LimitExceeded: they are too many: one takes two bytes to send and hundreds to read.
        """
        if len(self.odd) >= MOST_ODD:
            raise LimitExceeded(f"got more than {MOST_ODD:,} series with histograms, exemplars or odd forms")
        self.odd.append(len(self.series))
        self.series.append(series)
        for column, offset in ((self.start, body), (self.end, body), (self.body, body), (self.stop, stop)):
            column.append(offset)


class RemoteWriteDecoder:
    """Decodes requests of any senders; remembers the series that it has seen. For one thread at a time."""

    def __init__(self, series: SeriesTable, cache_bytes: int = CACHE_BYTES) -> None:
        self._series = series
        self._cache = LabelCache(cache_bytes)

    def decode(self, body: bytes, *, max_decompressed: int, max_samples: int = MAX_SAMPLES) -> WriteRequest:
        """Return the samples and metadata of a request body (snappy block format, protobuf).

        The batch has a layout without stream, whose ids repeat per sample.
        Native histograms and exemplars are skipped and counted. Time and memory
        grow with the decompressed size, at worst about a microsecond a byte.

        Raises:
            LimitExceeded: more than `max_decompressed` bytes or `max_samples` samples.
            WireError: malformed, or labels that name no series; the message says which series.
        Source:
            Prometheus remote-write 1.0, `prompb/remote.proto` and `types.proto`.
        """
        return self.decode_plain(decompress(body, max_decompressed), max_samples)

    def decode_plain(self, message: bytes, max_samples: int = MAX_SAMPLES) -> WriteRequest:
        """Return what a message holds that is not compressed, and raise as `decode`."""
        data = message + bytes(PAD_BYTES)
        end = len(data) - PAD_BYTES
        scan = Scan()
        self._scan(data, end, scan)
        block = read_samples(data, as_int64(scan.start), as_int64(scan.end), max_samples)
        odd = self._read_odd(data, scan, block.odd.tolist(), max_samples, len(block.times))
        histograms = sum(message.histograms for message in odd.values())
        exemplars = sum(message.exemplars for message in odd.values())
        block = block.with_odd({i: (m.times, m.value_bits) for i, m in odd.items()})
        ids = np.array(scan.series, dtype=np.uint32)
        batch = batch_of(np.repeat(ids, block.counts), block.times, block.value_bits, scan.metadata)
        return WriteRequest(batch, len(ids), histograms, exemplars)

    def _scan(self, data: bytes, end: int, scan: Scan) -> None:
        # One turn per series, nothing per sample. Label bytes are found by guessing where samples begin:
        # as far from the series' end as in the last series, or one sample (with a value: 18 bytes,
        # without, for it is zero: 9) before it. That a guess is right is known by the cache, which
        # holds only label bytes that were parsed: a message is read from front to back, so equal
        # bytes at a series' begin are the same labels.
        get = self._cache.young.get
        add_series, add_start = scan.series.append, scan.start.append
        add_end, add_body, add_stop = scan.end.append, scan.body.append, scan.stop.append
        at, last = 0, 18
        while at < end:
            if data[at] != _TIMESERIES:
                at = self._other_field(data, at, end, scan)
                continue
            body = at + 2
            length = data[at + 1]
            if length >= 0x80:
                if data[body] < 0x80:
                    length = length & 0x7F | data[body] << 7
                    body += 1
                else:
                    length, body = read_varint(data, at + 1, end)
            at = body + length
            if at > end:
                raise WireError(f"series {len(scan.series)}: got {length} bytes, where {end - body} are left")
            series = None
            if length > last and data[at - last] == _SAMPLE:
                start = at - last
                series = get(data[body:start])
            if series is None and length > 18 and data[at - 18] == _SAMPLE:
                start = at - 18
                series = get(data[body:start])
            if series is None and length > 9 and data[at - 9] == _SAMPLE:
                start = at - 9
                series = get(data[body:start])
            if series is None:
                series, start = self._find_series(data, body, at, len(scan.series))
            last = at - start
            add_series(series)
            add_start(start)
            add_end(at)
            add_body(body)
            add_stop(at)

    def _find_series(self, data: bytes, body: int, end: int, index: int) -> tuple[int, int]:
        # Id of the labels at the begin of a series, and where they end.
        try:
            start = body
            while start < end and data[start] == _LABEL:
                start = read_length(data, start + 1, end)[1]
            labels = data[body:start]
            series = self._cache.young.get(labels)
            if series is None:
                series = self._cache.find_old(labels)
            if series is None:
                series = self._new_series(labels)
            if series is None:  # labels may go on behind other fields
                return self._series.intern(read_series(data, body, end, MAX_SAMPLES).key), body
        except WireError as error:
            raise in_series(index, error) from None
        return series, start

    def _new_series(self, labels: bytes) -> int | None:
        try:
            key = series_key(read_labels(labels))
        except WireError:
            return None
        series = self._series.intern(key)
        self._cache.put(labels, series)
        return series

    def _read_odd(
        self, data: bytes, scan: Scan, odd: list[int], max_samples: int, before: int
    ) -> dict[int, SeriesMessage]:
        # Series that are not labels and then plain samples: read field by field, labels too.
        messages = {}
        for index in odd:
            try:
                message = read_series(data, scan.body[index], scan.stop[index], max_samples, before)
            except WireError as error:
                raise in_series(index, error) from None
            before += len(message.times)
            scan.series[index] = self._series.intern(message.key)
            messages[index] = message
        return messages

    def _other_field(self, data: bytes, at: int, end: int, scan: Scan) -> int:
        # A field of the request that does not begin as a series usually does; return where it ends.
        for number, kind, start, stop in read_fields(data, at, end):
            if number == 1 and kind == BYTES:
                scan.series.append(self._find_series(data, start, stop, len(scan.series))[0])
                scan.start.append(start)
                scan.end.append(stop)
                scan.body.append(start)
                scan.stop.append(stop)
            elif number == _METADATA_FIELD and kind == BYTES:
                name, metadata = read_metadata(data, start, stop)
                scan.metadata[name] = metadata
            elif number in (1, _METADATA_FIELD):
                raise WireError(f"got wire type {kind} for field {number} of WriteRequest, wanted {BYTES}")
            return stop
        return end


def decompress(body: bytes, max_decompressed: int) -> bytes:
    """Return the content of a snappy block, whose announced length is checked first.

    Raises:
        LimitExceeded: longer than `max_decompressed` bytes.
        WireError: not a snappy block.
    """
    announced, _ = read_varint(body, 0, min(len(body), 5))
    if announced > max_decompressed:
        raise LimitExceeded(
            f"got a request of {announced} bytes decompressed, wanted at most {max_decompressed}"
            " (send fewer samples per request)"
        )
    try:
        return bytes(cramjam.snappy.decompress_raw(body))
    except cramjam.DecompressionError as error:
        raise WireError(f"got a body that is not a snappy block: {error}") from None


def batch_of(ids: U32, times: I64, bits: U64, metadata: Mapping[str, Metadata]) -> Batch:
    """Return samples of the wire as a batch without stream."""
    stale = bits == STALE_BITS
    values = bits.view(np.float64)
    if not stale.any():
        return Batch(Layout(ids, None, metadata), times, values)
    return Batch(Layout(ids, None, metadata), times, np.where(stale, np.nan, values), stale)


def as_int64(numbers: array[int]) -> I64:
    """Return a column of a scan."""
    return np.frombuffer(numbers, np.int64) if numbers else np.empty(0, np.int64)


def in_series(index: int, error: WireError) -> WireError:
    """Return an error that says in which series of the request it is."""
    return WireError(f"series {index}: {error}")
