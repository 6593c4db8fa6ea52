"""Remote-write requests: every valid encoding gives the samples it says, everything else an input error."""

from __future__ import annotations

import contextlib
import json
import random
import struct
import time
import urllib.parse
import urllib.request

import cramjam
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.errors import InputError, LimitExceeded, WireError
from metricsmith.model.labels import encode_labels
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.model.series import SeriesTable
from metricsmith.wire.protobuf import read_fields
from metricsmith.wire.remote_write import LabelCache, RemoteWriteDecoder
from metricsmith.wire.remote_write_encode import encode_series_labels, encode_write_request
from metricsmith.wire.remote_write_message import read_series

LIMIT = 1 << 24
STALE = struct.pack("<Q", 0x7FF0000000000002)


# An encoder that can do everything that the format allows, for the tests only.
def varint(value: int, overlong: int = 0) -> bytes:
    value &= 2**64 - 1
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F)
    groups += [0] * min(overlong, 10 - len(groups))
    return bytes([g | 0x80 for g in groups[:-1]] + groups[-1:])


def block(number: int, content: bytes, overlong: int = 0) -> bytes:
    return varint(number << 3 | 2, overlong) + varint(len(content), overlong) + content


def label(name: str | bytes, value: str | bytes) -> bytes:
    name, value = (x.encode() if isinstance(x, str) else x for x in (name, value))
    return block(1, block(1, name) + block(2, value))


def sample(value: bytes | None, time_ms: int | None, overlong: int = 0) -> bytes:
    value_field = b"" if value is None else b"\x09" + value
    time_field = b"" if time_ms is None else b"\x10" + varint(time_ms, overlong)
    return block(2, time_field + value_field if overlong else value_field + time_field)


def body(*series: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(b"".join(block(1, s) for s in series)))


def bits(values: np.ndarray) -> list[int]:
    return values.view(np.uint64).tolist()


def decoded(decoder: RemoteWriteDecoder, table: SeriesTable, data: bytes, limit: int = LIMIT) -> list[tuple]:
    """(key, time, bits or stale) of each sample."""
    batch = decoder.decode(data, max_decompressed=limit).batch
    shown = ["stale" if s else b for s, b in zip(batch.stales().tolist(), bits(batch.value), strict=True)]
    keys = [table.key(i) for i in batch.layout.ids.tolist()]
    return list(zip(keys, batch.times().tolist(), shown, strict=True))


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, list[tuple], int, int]:
    """A message in some valid encoding, the samples that it says, its exemplars and histograms."""
    rnd = random.Random(draw(st.integers(0, 2**32)))
    plain = draw(st.sampled_from([0.0, 0.5, 0.95, 1.0]))
    kept, message, expected, exemplars, histograms = [], [], [], 0, 0
    for _ in range(draw(st.integers(0, 40))):
        labels = {"__name__": f"m{rnd.randrange(5)}"}
        labels |= {
            f"l{i}": rnd.choice(["", "v", "ü" * 70, f"{rnd.random()}"]) for i in range(rnd.randrange(4))
        }
        key = encode_labels(labels)
        odd = rnd.random() >= plain
        overlong = rnd.randrange(4) if odd else 0
        label_fields = [label(n, v) for n, v in sorted(labels.items())]
        sample_fields = []
        for _ in range(rnd.choice([0, 1, 1, 1, 2, 20, 70])):
            value = rnd.choice(
                [struct.pack("<d", rnd.random()), STALE, bytes(8), None, struct.pack("<d", -np.inf)]
            )
            at = rnd.choice(
                [1_700_000_000_000 + rnd.randrange(10**6)] * 5 + [0, None, -5, 2**63 - 1, -(2**63)]
            )
            sample_fields.append(sample(value, at, overlong if rnd.random() < 0.1 else 0))
            number = int.from_bytes(value or bytes(8), "little")
            expected.append((key, at or 0, "stale" if value == STALE else number))
        extra = []
        if odd:
            extra = rnd.choices(
                [block(3, b"x" * 9), block(4, b""), block(15, b"?"), b"\x48\x07", b"\x7d1234"], k=2
            )
            extra.append(b"\x53" + b"\x08\x01" + b"\x54")  # a group
            exemplars += sum(e.startswith(b"\x1a") for e in extra)
            histograms += sum(e.startswith(b"\x22") for e in extra)
            rnd.shuffle(label_fields)
        fields = [*label_fields, *sample_fields, *extra]
        if odd:  # any interleaving; samples keep their order
            order = [0] * len(label_fields) + [1] * len(sample_fields) + [2] * len(extra)
            rnd.shuffle(order)
            queues = [iter(label_fields), iter(sample_fields), iter(extra)]
            fields = [next(queues[i]) for i in order]
        kept.append(b"".join(fields))
        message.append(block(1, kept[-1], overlong))
        if odd:
            message.append(rnd.choice([b"", block(2, b"source"), block(9, b"")]))
    return bytes(cramjam.snappy.compress_raw(b"".join(message))), expected, exemplars, histograms


@given(messages=st.lists(requests(), min_size=1, max_size=4))
def test_every_encoding_gives_what_it_says(messages):
    """One decoder for all messages, each twice: what it remembers changes nothing."""
    table = SeriesTable()
    decoder = RemoteWriteDecoder(table, cache_bytes=4000)
    for data, expected, exemplars, histograms in messages * 2:
        assert decoded(decoder, table, data) == expected
        request = decoder.decode(data, max_decompressed=LIMIT)
        assert (request.skipped_exemplars, request.skipped_histograms) == (exemplars, histograms)


def slowly(table: SeriesTable, message: bytes) -> list[tuple]:
    """What a message says, read field by field."""
    out = []
    for number, kind, start, end in read_fields(message, 0, len(message)):
        if number == 1:
            assert kind == 2
            series = read_series(message, start, end, LIMIT)
            for time_ms, number_bits in zip(series.times, series.value_bits, strict=True):
                out.append(
                    (series.key, time_ms, "stale" if number_bits == 0x7FF0000000000002 else number_bits)
                )
    return out


@given(data=requests(), seed=st.integers(0, 2**32))
def test_damaged_messages_are_read_as_the_field_by_field_reader_does(data, seed):
    rnd = random.Random(seed)
    message = bytes(cramjam.snappy.decompress_raw(data[0]))
    table = SeriesTable()
    decoder = RemoteWriteDecoder(table)
    decoded(decoder, table, data[0])
    for _ in range(8):
        wrong = bytearray(message)
        for _ in range(rnd.randrange(1, 4)):
            if wrong:
                at = rnd.randrange(len(wrong))
                change = rnd.choice(["flip", "drop", "double", "cut"])
                if change == "flip":
                    wrong[at] ^= 1 << rnd.randrange(8)
                elif change == "drop":
                    del wrong[at : at + rnd.randrange(30)]
                elif change == "double":
                    wrong[at:at] = wrong[at : at + rnd.randrange(30)]
                else:
                    del wrong[at:]
        try:
            expected: object = slowly(table, bytes(wrong))
        except (WireError, AssertionError):
            expected = WireError
        try:
            found: object = decoded(decoder, table, bytes(cramjam.snappy.compress_raw(bytes(wrong))))
        except WireError:
            found = WireError
        if expected is not found:
            assert found == expected or metadata_is_wrong(bytes(wrong))


def metadata_is_wrong(message: bytes) -> bool:
    """Whether a message holds a field 3, which the slow reader above does not look at."""
    return any(number == 3 for number, *_ in read_fields(message, 0, len(message)))


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_input_errors(data):
    decoder = RemoteWriteDecoder(SeriesTable())
    for candidate in (data, bytes(cramjam.snappy.compress_raw(data))):
        with contextlib.suppress(InputError):
            decoder.decode(candidate, max_decompressed=LIMIT)


UP = label("__name__", "up")
ONE = sample(struct.pack("<d", 1.0), 1000)


@pytest.mark.parametrize(
    ("series", "message"),
    [
        (ONE, "no __name__"),
        (label("job", "x") + ONE, "no __name__"),
        (label("__name__", "") + ONE, "no __name__"),
        (UP + label("a", "1") + label("a", "2") + ONE, "'a' twice"),
        (UP + ONE + label("__name__", "up"), "'__name__' twice"),
        (UP + label("", "1") + ONE, "empty label name"),
        (UP + label("a", b"\xff") + ONE, "UTF-8"),
        (UP + label(b"\xc3", "x") + ONE, "UTF-8"),
        (UP + block(2, b"\x09123"), "cut off"),
        (UP + block(2, b"\x10" + b"\xff" * 10), "varint"),
        (UP + block(2, b"\x08\x01"), "wire type 0 for field 1 of Sample"),
        (UP + b"\x10\x01", "wire type 0 for field 2 of TimeSeries"),
        (UP + b"\x12\x7f", "127 bytes"),
        (UP + b"\x07", "tag 7"),
        (UP + b"\x0e", "wire type 6"),
        (UP + b"\x5b" * 40, "group"),
    ],
)
def test_a_refusal_says_which_series_and_why(series, message):
    decoder = RemoteWriteDecoder(SeriesTable())
    for good in (0, 1, 20):
        with pytest.raises(WireError, match=f"series {good}: .*{message}"):
            decoder.decode(body(*[UP + ONE] * good, series), max_decompressed=LIMIT)


def test_series_that_share_their_first_labels_are_not_confused():
    table = SeriesTable()
    decoder = RemoteWriteDecoder(table)
    short, longer = UP + label("a", "1"), UP + label("a", "1") + label("b", "2")
    late = UP + label("a", "1") + ONE + label("b", "2")
    for _ in range(3):
        found = decoded(decoder, table, body(short + ONE, longer + ONE, late, UP + ONE * 2, short + ONE * 2))
        assert [k for k, _, _ in found] == [
            encode_labels({"__name__": "up", "a": "1"}),
            encode_labels({"__name__": "up", "a": "1", "b": "2"}),
            encode_labels({"__name__": "up", "a": "1", "b": "2"}),
            *[b"up"] * 2,
            *[encode_labels({"__name__": "up", "a": "1"})] * 2,
        ]


VALUE, TIME = b"\x09" + struct.pack("<d", 2.0), b"\x10" + varint(1000)


@pytest.mark.parametrize("copies", [1, 20])
@pytest.mark.parametrize(
    ("fields", "times"),
    [
        (block(2, VALUE + TIME + b"\x18\x01"), [1000]),  # an unknown field behind the time
        (block(2, VALUE + b"\x18\x01" + TIME), [1000]),
        (block(2, b"\x10\x05" + TIME), [1000]),  # the last one of a repeated field counts
        (block(2, VALUE + b"\x10\x05" + TIME), [1000]),
        (block(2, VALUE + b"\x10\x85\x80\x00"), [5]),
        (block(2, VALUE + TIME) + block(3, VALUE + TIME) + block(2, VALUE + TIME), [1000, 1000]),
        (block(2, b"") + block(2, VALUE), [0, 0]),
        (b"", []),
    ],
)
def test_samples_of_unusual_form(fields, times, copies):
    table = SeriesTable()
    decoder = RemoteWriteDecoder(table)
    for _ in range(2):
        assert [t for _, t, _ in decoded(decoder, table, body(*[UP + fields] * copies))] == times * copies


def test_a_sample_does_not_reach_into_what_follows_its_series():
    cut = block(1, UP + b"\x12\x0c" + VALUE) + TIME  # the time is a field of the request
    for copies in (1, 20):
        with pytest.raises(WireError, match=r"series 0: .*12 bytes"):
            RemoteWriteDecoder(SeriesTable()).decode(
                bytes(cramjam.snappy.compress_raw(cut * copies)), max_decompressed=LIMIT
            )


def test_the_label_cache_stays_within_its_budget_and_keeps_what_is_used():
    cache = LabelCache(100_000)
    for i in range(10_000):
        cache.put(b"%0100d" % i, i)
        assert cache.young.get(b"%0100d" % 0, cache.find_old(b"%0100d" % 0)) == 0
    assert len(cache.young) * 250 < 100_000
    assert cache.young.get(b"%0100d" % 5000, cache.find_old(b"%0100d" % 5000)) is None


def test_limits_hold_before_memory_is_used():
    decoder = RemoteWriteDecoder(SeriesTable())
    huge = varint(1 << 31) + b"\x00"
    with pytest.raises(LimitExceeded, match="2147483648 bytes"):
        decoder.decode(huge, max_decompressed=LIMIT)
    for shape in (
        [UP + ONE * 2] * 50,
        [UP + ONE * 100],
        [UP + block(3, b"") + ONE * 100],
        [UP + ONE * 5 + block(3, b"") + ONE * 5] * 10,
    ):
        assert len(decoder.decode(body(*shape), max_decompressed=LIMIT, max_samples=100).batch) == 100
        with pytest.raises(LimitExceeded, match="more samples in a request than 99"):
            decoder.decode(body(*shape), max_decompressed=LIMIT, max_samples=99)


METADATA = {
    "requests_total": Metadata(MetricType.COUNTER, "", "Requests."),
    "latency_seconds": Metadata(MetricType.HISTOGRAM, "seconds", "Läténcy."),
    "odd": Metadata(),
}


@given(
    counts=st.lists(st.integers(0, 30), max_size=20),
    times=st.sampled_from([[1_700_000_000_000], [0, 1, 127, 128, -1, 2**63 - 1, -(2**63)]]),
    seed=st.integers(0, 2**32),
)
def test_what_is_encoded_is_decoded(counts, times, seed):
    rng = np.random.default_rng(seed)
    total = sum(counts)
    keys = [
        encode_labels({"__name__": "m", "i": str(i), "Z": "first in byte order"}) for i in range(len(counts))
    ]
    time_ms = rng.choice(np.array(times, dtype=np.int64), total)
    value = rng.choice(np.array([0.0, -0.0, np.nan, np.inf, 1.5]), total)
    stale = rng.random(total) < 0.2
    data = encode_write_request(
        [encode_series_labels(k) for k in keys], counts, time_ms, value, stale, METADATA
    )
    table = SeriesTable()
    request = RemoteWriteDecoder(table).decode(data, max_decompressed=LIMIT)
    assert request.series == len(counts)
    assert request.batch.layout.metadata == METADATA
    assert [table.key(i) for i in request.batch.layout.ids] == [
        k for k, n in zip(keys, counts, strict=True) for _ in range(n)
    ]
    assert request.batch.times().tolist() == time_ms.tolist()
    assert request.batch.stales().tolist() == stale.tolist()
    assert bits(request.batch.value[~stale]) == bits(value[~stale])


def test_prometheus_accepts_what_is_encoded(prometheus):
    now = time.time_ns() // 1_000_000
    keys = [encode_labels({"__name__": "rw_test", "i": str(i)}) for i in range(3)]
    times = np.array([now - 2000, now - 1000, now - 2000, now - 1000, now - 1000], dtype=np.int64)
    values = np.array([1.0, 2.5, 0.0, -3.0, np.inf])
    data = encode_write_request(
        [encode_series_labels(k) for k in keys], [2, 2, 1], times, values, None, METADATA
    )
    headers = {
        "Content-Encoding": "snappy",
        "Content-Type": "application/x-protobuf",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    }
    request = urllib.request.Request(f"{prometheus.url}/api/v1/write", data, headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 204
    query = urllib.parse.urlencode({"query": "rw_test[1m]", "time": now / 1000})
    with urllib.request.urlopen(f"{prometheus.url}/api/v1/query?{query}", timeout=60) as answer:
        result = json.load(answer)["data"]["result"]
    found = {r["metric"]["i"]: [(round(t * 1000), v) for t, v in r["values"]] for r in result}
    assert found == {
        "0": [(now - 2000, "1"), (now - 1000, "2.5")],
        "1": [(now - 2000, "0"), (now - 1000, "-3")],
        "2": [(now - 1000, "+Inf")],
    }
