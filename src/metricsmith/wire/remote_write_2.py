"""Remote-write 2.0 requests to batches, without a Python object per sample."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from metricsmith.errors import LimitExceeded, WireError
from metricsmith.model.series import SeriesTable
from metricsmith.wire.protobuf import BYTES, VARINT, expect, read_fields, read_length, read_varint
from metricsmith.wire.remote_write import (
    MAX_SAMPLES,
    Scan,
    WriteRequest,
    as_int64,
    batch_of,
    decompress,
    in_series,
)
from metricsmith.wire.remote_write_message import SeriesMessage, check_count, read_sample
from metricsmith.wire.remote_write_samples import PAD_BYTES, read_samples
from metricsmith.wire.remote_write_symbols import NO_SERIES, Symbols

CACHE_BYTES = 128 << 20
MOST_SYMBOLS = 2_000_000
_SYMBOL, _TIMESERIES, _REFS, _SAMPLE = 0x22, 0x2A, 0x0A, 0x12


class RemoteWrite2Decoder:
    """Decodes requests of any senders; remembers their symbols. For one thread at a time."""

    def __init__(self, series: SeriesTable, cache_bytes: int = CACHE_BYTES) -> None:
        self._series = series
        self._room = cache_bytes
        self._known: OrderedDict[bytes, Symbols] = OrderedDict()
        self._sizes: dict[bytes, int] = {}
        self._last_symbols = 0

    def decode(self, body: bytes, *, max_decompressed: int, max_samples: int = MAX_SAMPLES) -> WriteRequest:
        """Return the samples and metadata of a request body (snappy block format, protobuf).

        The batch has a layout without stream, whose ids repeat per sample.
        Native histograms and exemplars are skipped and counted, as are series
        whose labels name none.

        Raises:
            LimitExceeded: more than `max_decompressed` bytes or `max_samples` samples.
            WireError: malformed; the message says which series.
        Source:
            Prometheus remote-write 2.0, `io/prometheus/write/v2/types.proto`.
        """
        data = decompress(body, max_decompressed) + bytes(PAD_BYTES)
        end = len(data) - PAD_BYTES
        begin = self._symbols_end(data, end)
        section = data[:begin]
        symbols = self._known.get(section) or Symbols(_symbols(data, 0, begin))
        try:
            return self._decode(data, begin, end, symbols, max_samples)
        finally:
            self._remember(section, symbols)

    def _decode(self, data: bytes, begin: int, end: int, symbols: Symbols, max_samples: int) -> WriteRequest:
        symbols.begin()
        scan = Scan()
        if not self._scan(data, begin, end, symbols, scan):
            symbols, scan = Symbols(_symbols(data, 0, end)), Scan()
            symbols.begin()
            self._scan_any_order(data, end, symbols, scan)
        check_count(len(scan.series), max_samples)  # each has a sample, or should have
        block = read_samples(data, as_int64(scan.start), as_int64(scan.end), max_samples)
        odd = self._read_odd(
            data, scan, sorted({*block.odd.tolist(), *scan.odd}), symbols, max_samples, len(block.times)
        )
        block = block.with_odd({i: (m.times, m.value_bits) for i, m in odd.items()})
        ids = np.repeat(np.array(scan.series, dtype=np.uint32), block.counts)
        kept = ids != NO_SERIES
        refused = len(ids) - int(kept.sum())
        times, bits = block.times, block.value_bits
        if refused:
            ids, times, bits = ids[kept], times[kept], bits[kept]
        return WriteRequest(
            batch_of(ids, times, bits, symbols.metadata),
            len(scan.series),
            sum(message.histograms for message in odd.values()),
            sum(message.exemplars for message in odd.values()),
            refused,
            symbols.why if NO_SERIES in scan.series else "",
        )

    def _symbols_end(self, data: bytes, end: int) -> int:
        # Where the symbols at the begin of a message end: as in the last one, if its bytes are known.
        guess = self._last_symbols
        if guess <= end and data[guess] != _SYMBOL and data[:guess] in self._known:
            return guess
        at = 0
        while at < end and data[at] == _SYMBOL:
            length = data[at + 1]
            at = at + 2 + length if length < 0x80 else read_length(data, at + 1, end)[1]
        if at > end:
            raise WireError(f"got a symbol that ends at byte {at}, where the request ends at {end}")
        self._last_symbols = at
        return at

    def _scan(self, data: bytes, at: int, end: int, symbols: Symbols, scan: Scan) -> bool:
        # One turn per series, nothing per sample; whether there were only series. What follows the
        # samples of a series (metadata) is guessed to be as long as in the last series: that is
        # known by its bytes, and that samples fill what is before it is seen when they are read.
        ids, tails, described = symbols.series, symbols.tails, symbols.described
        add_series, add_start, add_end = scan.series.append, scan.start.append, scan.end.append
        add_body, add_stop = scan.body.append, scan.stop.append
        last = 0
        while at < end:
            if data[at] != _TIMESERIES:
                return False
            body = at + 2
            length = data[at + 1]
            if length >= 0x80:
                length, body = read_varint(data, at + 1, end)
            at = body + length
            if at > end:
                raise WireError(f"series {len(scan.series)}: got {length} bytes, where {end - body} are left")
            start = body + 2 + data[body + 1]
            if data[body] != _REFS or data[body + 1] >= 0x80 or start > at:
                scan.add_odd(NO_SERIES, body, at)
                continue
            refs = data[body + 2 : start]
            series = ids.get(refs)
            if series is None:
                try:
                    series = symbols.find(refs, self._series)
                except WireError as error:
                    raise in_series(len(scan.series), error) from None
            tail = data[at - last : at]
            if at - last < start or tail not in tails:
                stop = _samples_end(data, start, at)
                tail = data[stop:at]
                if tail not in tails and not _is_tail(symbols, tail):
                    scan.add_odd(NO_SERIES, body, at)
                    continue
                last = len(tail)
            if (series, tail) not in described:
                symbols.describe(series, tail, self._series)
            add_series(series)
            add_start(start)
            add_end(at - last)
            add_body(body)
            add_stop(at)
        return True

    def _scan_any_order(self, data: bytes, end: int, symbols: Symbols, scan: Scan) -> None:
        for number, kind, start, stop in read_fields(data, 0, end):
            if number == 5:
                expect(kind, BYTES, "Request", number)
                scan.add_odd(NO_SERIES, start, stop)

    def _read_odd(
        self, data: bytes, scan: Scan, odd: list[int], symbols: Symbols, max_samples: int, before: int
    ) -> dict[int, SeriesMessage]:
        messages = {}
        for index in odd:
            message = SeriesMessage(b"")
            try:
                scan.series[index] = self._read_series(
                    data, scan.body[index], scan.stop[index], symbols, message, max_samples - before
                )
            except WireError as error:
                raise in_series(index, error) from None
            before += len(message.times)
            messages[index] = message
        return messages

    def _read_series(
        self, data: bytes, at: int, end: int, symbols: Symbols, message: SeriesMessage, max_samples: int
    ) -> int:
        # Field by field: correct for every encoding.
        refs = tail = b""
        for number, kind, start, stop in read_fields(data, at, end):
            if 2 <= number <= 5:
                expect(kind, BYTES, "TimeSeries", number)
            match number:
                case 1 if kind in (BYTES, VARINT):
                    refs += data[start:stop]  # packed, or one number: the same bytes
                case 1:
                    expect(kind, BYTES, "TimeSeries", number)
                case 2:
                    time, bits = read_sample(data, start, stop)
                    message.times.append(time)
                    message.value_bits.append(bits)
                    check_count(len(message.times), max_samples)
                case 3:
                    message.histograms += 1
                case 4:
                    message.exemplars += 1
                case 5:
                    tail = data[start:stop]
        series = symbols.find(refs, self._series)
        if tail:
            symbols.tails[tail] = symbols.read_metadata(tail, 0, len(tail))
            symbols.describe(series, tail, self._series)
        return series

    def _remember(self, section: bytes, symbols: Symbols) -> None:
        # The room is what is left for symbols: those not used for the longest time go first.
        size = len(section) + symbols.size()
        self._room -= size - self._sizes.get(section, 0)
        self._known[section], self._sizes[section] = symbols, size
        self._known.move_to_end(section)
        while self._room < 0 and self._known:
            gone, _ = self._known.popitem(last=False)
            self._room += self._sizes.pop(gone)


def _symbols(data: bytes, at: int, end: int) -> list[bytes]:
    texts = []
    for number, kind, start, stop in read_fields(data, at, end):
        if number == 4:
            expect(kind, BYTES, "Request", number)
            texts.append(data[start:stop])
            if len(texts) > MOST_SYMBOLS:
                raise LimitExceeded(
                    f"got more symbols in a request than {MOST_SYMBOLS:,} (send fewer samples)"
                )
    joined = b"".join(texts)
    if not joined.isascii():
        for text in texts:
            try:
                text.decode()
            except UnicodeDecodeError:
                shown = text[:80].decode(errors="backslashreplace")
                raise WireError(f"got the symbol {shown!r}, wanted UTF-8") from None
    return texts


def _samples_end(data: bytes, at: int, end: int) -> int:
    while at < end and data[at] == _SAMPLE:
        at += 2 + data[at + 1]
    return min(at, end)


def _is_tail(symbols: Symbols, tail: bytes) -> bool:
    try:
        return symbols.read_tail(tail)
    except WireError:
        return False
