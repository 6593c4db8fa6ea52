"""Raw record batches: what they hold, whole or cut off, and that no bytes whatever do harm."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import cramjam
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.errors import InputError
from metricsmith.sources.kafka import codecs
from metricsmith.sources.kafka.record_walk import SIDE_BY_SIDE
from metricsmith.sources.kafka.records import BatchCounts, Piece, count_batches, until
from metricsmith.wire.crc32c import crc32c

CONTROL, TRANSACTIONAL = 0x20, 0x10


def varint(value: int) -> bytes:
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def sized(data: bytes | None) -> bytes:
    return varint(-1) if data is None else varint(len(data)) + data


@dataclass(frozen=True)
class Record:
    value: bytes | None
    key: bytes | None = b"k"
    headers: Sequence[tuple[bytes, bytes | None]] = ()
    time_delta: int = 0

    def encode(self, offset_delta: int) -> bytes:
        headers = b"".join(sized(name) + sized(value) for name, value in self.headers)
        body = b"\0" + varint(self.time_delta) + varint(offset_delta) + sized(self.key) + sized(self.value)
        body += varint(len(self.headers)) + headers
        return varint(len(body)) + body


@dataclass(frozen=True)
class Batch:
    """A record batch, made from the specification and not from what reads it."""

    records: Sequence[Record]
    base: int = 0
    attributes: int = 0
    deltas: Sequence[int] | None = None
    producer: int = -1
    magic: int = 2
    count: int | None = None
    payload: bytes | None = field(default=None, repr=False)

    @property
    def all_deltas(self) -> Sequence[int]:
        return range(len(self.records)) if self.deltas is None else self.deltas

    def encode(self) -> bytes:
        payload = b"".join(r.encode(d) for r, d in zip(self.records, self.all_deltas, strict=True))
        payload = pack(self.attributes & 7, payload) if self.payload is None else self.payload
        count = len(self.records) if self.count is None else self.count
        last = max(self.all_deltas, default=0)
        head = (self.attributes, last, 5, 9, self.producer, 0, 0, count)
        tail = struct.pack(">Hiqqqhii", *head) + payload
        crc = int(crc32c(tail, np.array([0, len(tail)]))[0])
        return struct.pack(">qiibI", self.base, 9 + len(tail), 0, self.magic, crc) + tail


def pack(codec: int, data: bytes) -> bytes:
    match codec:
        case codecs.GZIP:
            return gzip.compress(data)
        case codecs.SNAPPY:
            return bytes(cramjam.snappy.compress_raw(data))
        case codecs.LZ4:
            return bytes(cramjam.lz4.compress(data))
        case codecs.ZSTD:
            return bytes(cramjam.zstd.compress(data))
    return data


def count(*batches: Batch, **options: object) -> BatchCounts:
    data = b"".join(batch.encode() for batch in batches)
    return count_batches([replace(Piece(data), **options)])  # type: ignore[arg-type]


def sums(counts: BatchCounts) -> tuple[int, int, int, int]:
    columns = (counts.records, counts.tombstones, counts.empty_values, counts.null_keys)
    return tuple(int(column.sum()) for column in columns)  # type: ignore[return-value]


KINDS = [Record(None), Record(b""), Record(b"v"), Record(b"v" * 70, None), Record(b"v" * 20_000, b"k" * 9000)]


@pytest.mark.parametrize("codec", range(5))
def test_values_are_told_apart_in_every_compression(codec: int) -> None:
    counts = count(Batch(KINDS, 10, codec), Batch([Record(None, None)], 15, codec))
    assert sums(counts) == (6, 2, 1, 2) and counts.refused == {}
    assert counts.first_offset.tolist() == [10, 15] and counts.last_offset.tolist() == [14, 15]
    assert counts.max_time_ms.tolist() == [9, 9]


def test_snappy_in_blocks_as_java_clients_write_it() -> None:
    payload = b"".join(r.encode(d) for d, r in enumerate(KINDS))
    blocks = b"\x82SNAPPY\0" + struct.pack(">ii", 1, 1)
    for part in (payload[:100], payload[100:]):
        packed = pack(codecs.SNAPPY, part)
        blocks += struct.pack(">i", len(packed)) + packed
    assert sums(count(Batch(KINDS, 0, codecs.SNAPPY, payload=blocks))) == (5, 1, 1, 1)


records = st.builds(
    Record,
    st.none() | st.binary(max_size=100) | st.just(b"x" * 9000),
    st.none() | st.binary(max_size=100) | st.just(b"\xff" * 200),
    st.lists(st.tuples(st.binary(max_size=5), st.none() | st.binary(max_size=5)), max_size=3),
    st.integers(-(1 << 62), 1 << 62),
)


@given(st.lists(st.lists(records, max_size=6), min_size=1, max_size=5), st.sampled_from([1, 3, 100]))
def test_any_records_are_counted_few_batches_or_many(lists: list[list[Record]], times: int) -> None:
    one = b"".join(Batch(each).encode() for each in lists)
    counts = count_batches([Piece(one)] * times)
    every = [record for each in lists for record in each]
    assert sums(counts) == tuple(
        times * n
        for n in (
            len(every),
            sum(r.value is None for r in every),
            sum(r.value == b"" for r in every),
            sum(r.key is None for r in every),
        )
    )
    assert counts.refused == {} and len(counts.piece) == len(lists) * times


def test_many_batches_at_once_give_what_each_gives() -> None:
    rng = np.random.default_rng(0)
    pieces = [
        Piece(Batch([KINDS[k] for k in rng.choice([0, 0, 1, 1, 2, 3, 4], rng.integers(0, 20))]).encode())
        for _ in range(SIDE_BY_SIDE * 2)
    ]
    together = count_batches(pieces)
    alone = [count_batches([piece]) for piece in pieces]
    for name in ("records", "tombstones", "empty_values", "null_keys"):
        assert getattr(together, name).tolist() == [int(getattr(each, name)[0]) for each in alone]


def test_gaps_of_compaction_and_records_before_the_start_are_none() -> None:
    batch = Batch([Record(None)] * 4, 100, deltas=[0, 3, 40, 70])
    assert sums(count(batch)) == (4, 4, 0, 0)
    assert count(batch).last_offset.tolist() == [170]
    assert sums(count(batch, from_offset=103)) == (3, 3, 0, 0)
    assert sums(count(batch, from_offset=104)) == (2, 2, 0, 0)
    assert sums(count(batch, from_offset=171)) == (0, 0, 0, 0)


def test_control_batches_and_aborted_transactions_are_no_records() -> None:
    marker = Record(b"\0\0\0\0\0\0", b"\0\0\0\0")
    t = TRANSACTIONAL
    log = [
        Batch([Record(None)], 0, t, producer=1),
        Batch([Record(None)] * 2, 1, t, producer=2),
        Batch([Record(b"plain")], 3),
        Batch([marker], 4, t | CONTROL, producer=1),
        Batch([Record(None)] * 3, 5, t, producer=1),
        Batch([marker], 8, t | CONTROL, producer=2),
    ]
    assert sums(count(*log))[:2] == (7, 6)
    counts = count(*log, aborted=[(1, 0)])
    assert counts.records.tolist() == [0, 2, 1, 0, 3, 0]
    assert count(*log, aborted=[(1, 0), (2, 1)]).records.tolist() == [0, 0, 1, 0, 3, 0]
    assert count(*log, aborted=[(1, 5)]).records.tolist() == [1, 2, 1, 0, 0, 0]


def test_a_batch_that_is_cut_off_waits_for_the_next_answer() -> None:
    whole, cut = Batch(KINDS[:3], 10).encode(), Batch(KINDS[:3], 15).encode()
    for length in range(len(cut)):
        data = whole + cut[:length]
        assert sums(count_batches([Piece(data)]))[0] == 3
        assert until(data, 1 << 62) == (len(whole), 13)
    assert until(cut[:-1], 1 << 62) == (0, None) == until(b"", 0)


def test_batches_are_taken_up_to_an_offset() -> None:
    first, second = Batch(KINDS, 10).encode(), Batch(KINDS, 20).encode()
    assert until(first + second, 20) == (len(first), 15)
    assert until(first + second, 21) == (len(first + second), 25)
    assert until(first + second, 10) == (0, None)


REFUSED = {
    "old_format": [Batch(KINDS, magic=1), Batch(KINDS, magic=0)],
    "malformed": [
        Batch(KINDS, magic=3),
        Batch(KINDS, count=4),
        Batch(KINDS, count=6),
        Batch(KINDS, count=-1),
        Batch(KINDS, count=(1 << 31) - 1),
        Batch([Record(b"v")], payload=varint(-3)),
        Batch([Record(b"v")], payload=varint(8) + b"\0\0\0" + varint(-2) + b"\0" * 5),
        Batch([Record(b"v")], payload=varint(8) + b"\0\0\0" + varint(5) + b"\0" * 5),
        Batch([Record(b"v")], payload=varint(8) + b"\0\0\0\1" + varint(9) + b"\0" * 4),
        Batch([Record(b"v")], payload=b"\xff" * 20),
        Batch(KINDS, attributes=codecs.GZIP, payload=gzip.compress(b"\0" * 40)),
    ],
    "codec": [
        Batch(KINDS, attributes=7),
        *(Batch(KINDS, attributes=codec, payload=b"\x01\x02nonsense") for codec in range(1, 5)),
        *(Batch(KINDS, attributes=codec, payload=b"") for codec in (1, 3, 4)),
        Batch(KINDS, attributes=codecs.SNAPPY, payload=b"\x82SNAPPY\0" + b"\0" * 8 + b"\x7f\xff\xff\xff"),
    ],
    "too_large": [
        Batch(KINDS, attributes=codec, payload=pack(codec, bytes(codecs.MAX_BATCH_BYTES + 1)))
        for codec in (codecs.GZIP, codecs.LZ4, codecs.ZSTD)
    ]
    + [Batch(KINDS, attributes=codecs.SNAPPY, payload=b"\xff\xff\xff\xff\x0f" + b"\0" * 10)],
}


@pytest.mark.parametrize(
    ("reason", "batch"),
    [(reason, batch) for reason, batches in REFUSED.items() for batch in batches],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_batch_that_cannot_be_read_is_refused_with_a_reason_and_the_others_count(
    reason: str, batch: Batch
) -> None:
    counts = count(Batch(KINDS, 0), replace(batch, base=5), Batch(KINDS, 10))
    assert counts.refused == {reason: 1}
    assert counts.records.tolist() == [5, 0, 5] and counts.readable.tolist() == [True, False, True]
    assert counts.tombstones.tolist() == [1, 0, 1]


def test_a_changed_byte_is_seen_by_the_checksum() -> None:
    data = bytearray(Batch(KINDS).encode())
    data[100] ^= 1
    assert count_batches([Piece(bytes(data))]).refused == {"crc": 1}


def test_an_impossible_length_is_an_error() -> None:
    data = bytearray(Batch(KINDS).encode())
    for length in (-1, 0, 48):
        data[8:12] = struct.pack(">i", length)
        with pytest.raises(InputError, match="is this partition's log damaged"):
            count_batches([Piece(bytes(data))])


@given(
    st.lists(records, min_size=1, max_size=5),
    st.sampled_from(range(5)),
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), max_size=8),
    st.booleans(),
)
def test_no_bytes_do_harm(
    made: list[Record], codec: int, changes: list[tuple[int, int]], check_crc: bool
) -> None:
    data = bytearray(Batch(made, 0, codec).encode() * 2)
    for place, byte in changes:
        data[place % len(data)] = byte
    try:
        counts = count_batches([Piece(bytes(data), aborted=[(0, 0)])], check_crc)
    except InputError:
        return
    most = len(data) if codec == 0 else codecs.MAX_BATCH_BYTES
    assert 0 <= counts.tombstones.sum() + counts.empty_values.sum() <= counts.records.sum() <= most
    assert (counts.records[~counts.readable] == 0).all()


@given(st.binary(max_size=400))
def test_no_noise_does_harm(noise: bytes) -> None:
    for data in (noise, Batch(KINDS, payload=noise, count=3).encode()):
        with suppress(InputError):
            count_batches([Piece(data)], check_crc=False)
