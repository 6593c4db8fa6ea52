"""A reader of remote-read answers for tests: plain, one step per field and bit, apart from the encoder."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import cramjam

from metricsmith.model.labels import encode_labels
from metricsmith.wire.protobuf import BYTES, FIXED64, bytes_field, read_fields, read_varint, signed, varint

OPS = {"=": 0, "!=": 1, "=~": 2, "!~": 3}
_DOD_BITS = (0, 14, 17, 20, 64)


@dataclass(slots=True)
class Chunk:
    """A chunk as it travelled."""

    first_ms: int
    last_ms: int
    data: bytes


@dataclass(slots=True)
class Series:
    """A series: samples as (time, bits of the value), and the chunks that they came in."""

    key: bytes
    query: int
    samples: list[tuple[int, int]] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)


def read_request(
    matchers: Sequence[tuple[str, str, str]], start_ms: int, end_ms: int, accepted: Sequence[int] = ()
) -> bytes:
    """Return a request body with one query; matchers are (name, operator, value)."""
    return join_queries([read_query(matchers, start_ms, end_ms)], accepted)


def read_query(matchers: Sequence[tuple[str, str, str]], start_ms: int, end_ms: int) -> bytes:
    """Return one query, for `join_queries`."""
    parts = [b"\x08" + varint(start_ms), b"\x10" + varint(end_ms)]
    for name, op, value in matchers:
        texts = bytes_field(2, name.encode()) + bytes_field(3, value.encode())
        parts.append(bytes_field(3, b"\x08" + varint(OPS[op]) + texts))
    return b"".join(parts)


def join_queries(queries: Sequence[bytes], accepted: Sequence[int] = ()) -> bytes:
    """Return the request body of several queries."""
    body = b"".join(bytes_field(1, query) for query in queries)
    body += b"".join(b"\x10" + varint(number) for number in accepted)
    return bytes(cramjam.snappy.compress_raw(body))


def read_samples(body: bytes) -> list[Series]:
    """Return the series of a ReadResponse, those of all queries one after another."""
    data = bytes(cramjam.snappy.decompress_raw(body))
    found = []
    results = [span for span in read_fields(data, 0, len(data)) if span[0] == 1]
    for index, (_, _, at, end) in enumerate(results):
        for _, _, start, stop in read_fields(data, at, end):
            series = Series(_key(data, start, stop), index)
            for number, _, first, last in read_fields(data, start, stop):
                if number == 2:
                    series.samples.append(_sample(data, first, last))
            found.append(series)
    return found


def read_frames(body: bytes) -> list[Series]:
    """Return the series of streamed frames, each checked against its sum; one entry per frame."""
    found, at = [], 0
    while at < len(body):
        length, at = read_varint(body, at, len(body))
        assert length <= 1 << 20, f"a frame of {length} bytes"
        expected, data = body[at : at + 4], body[at + 4 : at + 4 + length]
        assert struct.pack(">I", crc32c_slowly(data)) == expected
        at += 4 + length
        fields = list(read_fields(data, 0, length))
        index = sum(read_varint(data, start, stop)[0] for n, _, start, stop in fields if n == 2)
        (span,) = [(start, stop) for n, _, start, stop in fields if n == 1]
        series = Series(_key(data, *span), index)
        series.chunks = [
            _chunk(data, start, stop) for n, _, start, stop in read_fields(data, *span) if n == 2
        ]
        series.samples = [sample for chunk in series.chunks for sample in decode_chunk(chunk.data)]
        found.append(series)
    return found


def decode_chunk(data: bytes) -> list[tuple[int, int]]:
    """Return times and value bits of the samples of an XOR chunk."""
    bits = _Bits(data)
    count = bits.take(16)
    zigzag = bits.varint()
    time, value = (zigzag >> 1) ^ -(zigzag & 1), bits.take(64)
    samples = [(time, value)]
    delta = leading = trailing = 0
    for index in range(1, count):
        delta = bits.varint() if index == 1 else delta + bits.second_difference()
        time += delta
        if bits.take(1):
            if bits.take(1):
                leading, significant = bits.take(5), bits.take(6) or 64
                trailing = 64 - leading - significant
            value ^= bits.take(64 - leading - trailing) << trailing
        samples.append((time, value))
    # Prometheus' writer leaves an empty byte behind a value that ends with a byte.
    assert bits.left < 16, f"{bits.left} bits after the last sample"
    return samples


def crc32c_slowly(data: bytes) -> int:
    """Return the CRC-32C of some bytes."""
    value = 0xFFFFFFFF
    for byte in data:
        value = _TABLE[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


def _table_entry(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
    return byte


_TABLE = [_table_entry(byte) for byte in range(256)]


class _Bits:
    def __init__(self, data: bytes) -> None:
        self._number, self.left = int.from_bytes(data, "big"), len(data) * 8

    def take(self, count: int) -> int:
        self.left -= count
        return self._number >> self.left & ((1 << count) - 1)

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(8)
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def second_difference(self) -> int:
        form = 0
        while form < 4 and self.take(1):
            form += 1
        width = _DOD_BITS[form]
        value = self.take(width)
        # Of the short forms the largest positive value takes the pattern of the lowest negative one.
        most = (1 << (width - 1)) - (width == 64) if width else 0
        return value - (1 << width) if value > most else value


def _key(data: bytes, at: int, end: int) -> bytes:
    labels = []
    for number, kind, start, stop in read_fields(data, at, end):
        if number == 1:
            assert kind == BYTES
            texts = {n: data[a:b].decode() for n, _, a, b in read_fields(data, start, stop)}
            labels.append((texts[1], texts[2]))
    assert labels == sorted(labels), "labels are not sorted by name"
    return encode_labels(dict(labels))


def _sample(data: bytes, at: int, end: int) -> tuple[int, int]:
    time = bits = 0
    for number, kind, start, stop in read_fields(data, at, end):
        if number == 1:
            assert kind == FIXED64
            bits = int.from_bytes(data[start:stop], "little")
        else:
            time = signed(read_varint(data, start, stop)[0])
    return time, bits


def _chunk(data: bytes, at: int, end: int) -> Chunk:
    chunk = Chunk(0, 0, b"")
    for number, _, start, stop in read_fields(data, at, end):
        match number:
            case 1:
                chunk.first_ms = signed(read_varint(data, start, stop)[0])
            case 2:
                chunk.last_ms = signed(read_varint(data, start, stop)[0])
            case 3:
                assert read_varint(data, start, stop)[0] == 1, "not an XOR chunk"
            case 4:
                chunk.data = data[start:stop]
    return chunk
