"""Remote write 2.0: what another encoder says is what comes out; what is wrong costs only its own series."""

from __future__ import annotations

import contextlib
import math
import random
import struct

import cramjam
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.errors import InputError, LimitExceeded, WireError
from metricsmith.model.labels import encode_labels
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.model.series import SeriesTable
from metricsmith.testing.remote_write_2 import Symbols, body, request, request_class
from metricsmith.wire import remote_write_2
from metricsmith.wire.protobuf import bytes_field, varint
from metricsmith.wire.remote_write_2 import RemoteWrite2Decoder

LIMIT = 1 << 24
NOW_MS = 1_700_000_000_000
STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]


def decoded(decoder: RemoteWrite2Decoder, table: SeriesTable, data: bytes) -> list[tuple]:
    """(key, time, value or "stale") of each sample."""
    batch = decoder.decode(data, max_decompressed=LIMIT).batch
    columns = (
        batch.layout.ids.tolist(),
        batch.times().tolist(),
        batch.value.tolist(),
        batch.stales().tolist(),
    )
    return [(table.key(i), t, "stale" if s else repr(v)) for i, t, v, s in zip(*columns, strict=True)]


def random_request(rnd: random.Random) -> tuple:
    """A request, and its samples, exemplars and histograms."""
    message, symbols, expected = request_class()(), Symbols(), []
    exemplars = histograms = 0
    plain = rnd.choice([0.0, 0.9, 1.0])
    for _ in range(rnd.randrange(100) if rnd.random() < 0.2 else rnd.randrange(20)):
        labels = {"__name__": f"m{rnd.randrange(5)}"}
        labels |= {
            f"l{i}": rnd.choice(["", "v", "ü" * 70, f"{rnd.random()}"]) for i in range(rnd.randrange(4))
        }
        series = message.timeseries.add(labels_refs=symbols.refs(labels))
        for _ in range(rnd.choice([0, 1, 1, 1, 2, 20, 70])):
            value = rnd.choice([0.0, rnd.random(), -math.inf, math.nan, "stale"])
            at = rnd.choice([NOW_MS + rnd.randrange(10**6), NOW_MS, 0, -5, 2**63 - 1, -(2**63)])
            series.samples.add(timestamp=at, value=STALE if value == "stale" else value)
            expected.append((encode_labels(labels), at, value if value == "stale" else repr(value)))
        if rnd.random() < 0.8:
            series.metadata.type = rnd.randrange(9)
            series.metadata.help_ref = symbols.ref(rnd.choice(["", "Help.", "ü"]))
        if rnd.random() < 0.2:
            series.created_timestamp = rnd.randrange(2**40)
        if rnd.random() >= plain:
            for _ in range(rnd.randrange(3)):
                series.exemplars.add(labels_refs=[0, 0], value=1)
                exemplars += 1
            for _ in range(rnd.randrange(2)):
                series.histograms.add(count_int=3)
                histograms += 1
    message.symbols.extend(symbols.texts)
    return message, expected, exemplars, histograms


@given(st.lists(st.integers(0, 2**32), min_size=1, max_size=3))
def test_what_another_encoder_says_comes_out(seeds):
    """One decoder for all, each twice: what it remembers changes nothing."""
    table = SeriesTable()
    decoder = RemoteWrite2Decoder(table, cache_bytes=40_000)
    for seed in seeds * 2:
        message, expected, exemplars, histograms = random_request(random.Random(seed))
        data = body(message)
        assert decoded(decoder, table, data) == expected
        taken = decoder.decode(data, max_decompressed=LIMIT)
        assert (taken.skipped_exemplars, taken.skipped_histograms) == (exemplars, histograms)
        assert (taken.refused, taken.why) == (0, "")


@given(st.integers(0, 2**32), st.integers(0, 2**32))
def test_fields_may_come_in_any_order_and_refs_unpacked(seed, order):
    rnd = random.Random(order)
    message, expected, *_ = random_request(random.Random(seed))
    symbols = [bytes_field(4, text.encode()) for text in message.symbols]
    series = []
    for one in message.timeseries:
        refs = [varint(8) + varint(ref) for ref in one.labels_refs]
        samples = [bytes_field(2, sample.SerializeToString()) for sample in one.samples]
        places = [0] * len(refs) + [1] * len(samples)
        rnd.shuffle(places)
        queues = [iter(refs), iter(samples)]
        series.append(bytes_field(5, b"".join(next(queues[i]) for i in places)))
    places = [0] * len(symbols) + [1] * len(series)
    rnd.shuffle(places)
    queues = [iter(symbols), iter(series)]
    mixed = b"".join(next(queues[i]) + rnd.choice([b"", b"\x48\x07"]) for i in places)
    table = SeriesTable()
    decoder = RemoteWrite2Decoder(table)
    for data in (body(message), bytes(cramjam.snappy.compress_raw(mixed)), body(message)):
        assert decoded(decoder, table, data) == expected


@given(st.integers(0, 2**32), st.integers(0, 2**32), st.binary(max_size=100))
def test_damaged_requests_are_input_errors_and_change_nothing_for_others(seed, damage, noise):
    rnd = random.Random(damage)
    message, expected, *_ = random_request(random.Random(seed))
    whole = message.SerializeToString()
    table = SeriesTable()
    decoder = RemoteWrite2Decoder(table)
    decoded(decoder, table, body(message))
    for _ in range(8):
        wrong = bytearray(whole)
        for _ in range(rnd.randrange(1, 4)):
            if wrong:
                at = rnd.randrange(len(wrong))
                match rnd.randrange(4):
                    case 0:
                        wrong[at] ^= 1 << rnd.randrange(8)
                    case 1:
                        del wrong[at : at + rnd.randrange(30)]
                    case 2:
                        wrong[at:at] = wrong[at : at + rnd.randrange(30)]
                    case 3:
                        del wrong[at:]
        for candidate in (bytes(wrong), noise):
            compressed = bytes(cramjam.snappy.compress_raw(candidate))
            found: object = InputError
            with contextlib.suppress(InputError):
                found = decoded(decoder, table, compressed)
            fresh = SeriesTable()
            again: object = InputError
            with contextlib.suppress(InputError):
                again = decoded(RemoteWrite2Decoder(fresh), fresh, compressed)
            assert found == again
    assert decoded(decoder, table, body(message)) == expected


def test_metadata_is_that_of_families():
    table = SeriesTable()
    decoder = RemoteWrite2Decoder(table)
    histogram = [({"__name__": f"wait_{end}"}, [(NOW_MS, 1.0)]) for end in ("bucket", "count", "sum")]
    counter = [({"__name__": "hits_total", "i": str(i)}, [(NOW_MS, 1.0)]) for i in range(30)]
    first = decoder.decode(body(request(histogram, 3, "Waits.")), max_decompressed=LIMIT)
    second = decoder.decode(body(request(counter, 1, "Hits.")), max_decompressed=LIMIT)
    again = decoder.decode(body(request(histogram, 3, "Waits.")), max_decompressed=LIMIT)
    waits = {"wait": Metadata(MetricType.HISTOGRAM, "", "Waits.")}
    assert first.batch.layout.metadata == again.batch.layout.metadata == waits
    assert second.batch.layout.metadata == {"hits_total": Metadata(MetricType.COUNTER, "", "Hits.")}


def with_refs(*refs: list[int]) -> bytes:
    message = request([({"__name__": "up"}, [(NOW_MS, 1.0)])])
    message.symbols.extend(["a", "1", "a", ""])  # 3 to 6
    for one in refs:
        message.timeseries.add(labels_refs=one).samples.add(timestamp=NOW_MS, value=2.0)
    return body(message)


@pytest.mark.parametrize(
    ("refs", "why"),
    [
        ([], "no __name__"),
        ([1], "1 references to labels, wanted pairs"),
        ([3, 4], "no __name__"),
        ([1, 0], "no __name__"),
        ([1, 2, 3, 4, 3, 4], "'a' twice"),
        ([1, 2, 3, 4, 5, 4], "'a' twice"),
        ([1, 2, 0, 4], "empty label name"),
        ([1, 2, 3, 700], "symbol 700 of 7"),
        ([1, 2, 3, 2**32 - 1], "symbol 4294967295 of 7"),
    ],
)
@pytest.mark.parametrize("copies", [1, 20])
def test_series_that_cannot_be_named_are_left_out_and_told(refs, why, copies):
    table = SeriesTable()
    decoder = RemoteWrite2Decoder(table)
    for _ in range(2):
        taken = decoder.decode(with_refs(*[refs] * copies), max_decompressed=LIMIT)
        assert [table.key(i) for i in taken.batch.layout.ids] == [b"up"]
        assert taken.refused == copies
        assert why in taken.why


def test_an_empty_value_is_an_absent_label():
    table = SeriesTable()
    taken = RemoteWrite2Decoder(table).decode(with_refs([1, 2, 3, 6]), max_decompressed=LIMIT)
    assert taken.batch.layout.ids.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (bytes_field(4, b"\xff"), "UTF-8"),
        (b"\x22\x7f", "ends at"),
        (b"\x2a\x7f", "127 bytes"),
        (bytes_field(5, b"\x0d1234"), "wire type 5 for field 1 of TimeSeries"),
        (bytes_field(5, b"\x0a\x02\x01\x02\x10\x01"), "wire type 0 for field 2 of TimeSeries"),
        (bytes_field(5, b"\x0a\x02\xff\xff"), "varint"),
        (b"\x28\x01", "wire type 0 for field 5 of Request"),
    ],
)
def test_a_malformed_request_says_where(message, why):
    with pytest.raises(WireError, match=why):
        RemoteWrite2Decoder(SeriesTable()).decode(
            bytes(cramjam.snappy.compress_raw(message)), max_decompressed=LIMIT
        )


def test_limits_hold_before_memory_is_used():
    decoder = RemoteWrite2Decoder(SeriesTable())
    with pytest.raises(LimitExceeded, match="2147483648 bytes"):
        decoder.decode(varint(1 << 31) + b"\x00", max_decompressed=LIMIT)
    data = body(request([({"__name__": "up", "i": str(i)}, [(NOW_MS, 1.0)] * 5) for i in range(20)]))
    assert len(decoder.decode(data, max_decompressed=LIMIT, max_samples=100).batch) == 100
    with pytest.raises(LimitExceeded, match="more samples in a request than 99"):
        decoder.decode(data, max_decompressed=LIMIT, max_samples=99)
    long = body(request([({"__name__": "up", "i": str(i), "x": "x" * 100_000}, []) for i in range(2000)]))
    with pytest.raises(LimitExceeded, match="bytes of labels"):
        decoder.decode(long, max_decompressed=LIMIT)


@pytest.mark.parametrize(
    ("message", "what"),
    [
        (b"\x22\x00" * 101, "more symbols in a request than 100"),
        (b"\x22\x00" + b"\x2a\x00" * 200_001, "200,000 series"),
        (b"\x22\x00" + b"\x2a\x04\x0a\x02\x00\x00" * 101, "more samples in a request than 100"),
    ],
)
def test_what_is_short_to_send_and_long_to_read_is_bounded(monkeypatch, message, what):
    monkeypatch.setattr(remote_write_2, "MOST_SYMBOLS", 100)
    decoder = RemoteWrite2Decoder(SeriesTable())
    with pytest.raises(LimitExceeded, match=what):
        decoder.decode(bytes(cramjam.snappy.compress_raw(message)), max_decompressed=LIMIT, max_samples=100)


def test_symbols_are_remembered_within_a_budget():
    table = SeriesTable()
    decoder = RemoteWrite2Decoder(table, cache_bytes=50_000)
    for i in range(200):
        series = [({"__name__": "up", "i": str(i), "k": str(k)}, [(NOW_MS, float(k))]) for k in range(20)]
        keys = [key for key, _, _ in decoded(decoder, table, body(request(series)))]
        assert keys == [encode_labels(labels) for labels, _ in series]
    assert 0 < len(decoder._known) < 20
    assert np.array(list(decoder._sizes.values())).sum() + decoder._room == 50_000
