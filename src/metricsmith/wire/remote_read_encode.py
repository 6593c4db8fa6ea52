"""Remote read 1.0 answers: samples as one snappy message, or frames of compressed chunks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise

import cramjam
import numpy as np

from metricsmith.model.arrays import I64
from metricsmith.model.matchers import Matcher
from metricsmith.wire.crc32c import crc32c
from metricsmith.wire.protobuf import bytes_field, varint
from metricsmith.wire.remote_read import OPS
from metricsmith.wire.remote_write_encode import U64, encode_series_labels, encode_time_series
from metricsmith.wire.xor_chunk import chunk_bounds, encode_chunks

SAMPLES_TYPE = "application/x-protobuf"
STREAMED_TYPE = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"
MAX_FRAME_BYTES = 1 << 20
_XOR = b"\x18\x01"  # field 3 of a Chunk, its encoding: XOR


@dataclass(frozen=True, slots=True)
class SeriesPiece:
    """Whole series one after another; none is empty. Series come in the order of their labels.

    Shapes:
        keys, counts: S canonical label keys and samples of each, P in sum.
        times, bits: (P,) milliseconds, and float64 values as their bits.
    """

    keys: Sequence[bytes]
    counts: Sequence[int]
    times: I64
    bits: U64


def encode_read_request(matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> bytes:
    """Return the body of a request for the samples of a selector in a closed range, as samples."""
    parts = [b"\x08" + varint(start_ms), b"\x10" + varint(end_ms)]
    for each in matchers:
        texts = bytes_field(2, each.name.encode()) + bytes_field(3, each.value.encode())
        parts.append(bytes_field(3, b"\x08" + varint(OPS.index(each.op)) + texts))
    return bytes(cramjam.snappy.compress_raw(bytes_field(1, b"".join(parts))))


def encode_query_result(pieces: Iterator[SeriesPiece]) -> bytes:
    """Return the QueryResult of a query's series, for `encode_read_response`."""
    return b"".join(
        part
        for piece in pieces
        for part in encode_time_series(
            [encode_series_labels(key) for key in piece.keys], piece.counts, piece.times, piece.bits
        )
    )


def encode_read_response(results: Sequence[bytes]) -> bytes:
    """Return the body of a ReadResponse (protobuf, snappy block format)."""
    return bytes(cramjam.snappy.compress_raw(b"".join(bytes_field(1, result) for result in results)))


def encode_frames(piece: SeriesPiece, query: int) -> list[bytes]:
    """Return the frames of a piece's series: length, CRC-32C and a ChunkedReadResponse each.

    A frame has chunks of one series, for readers look at no other, and is at
    most MAX_FRAME_BYTES long.

    Source:
        Prometheus `storage/remote/chunked.go` and `prompb/remote.proto`.
    """
    bounds = chunk_bounds(np.array(piece.counts, dtype=np.int64))
    data = encode_chunks(piece.times, piece.bits, bounds)
    first, last = piece.times[bounds[:-1]].tolist(), piece.times[bounds[1:] - 1].tolist()
    chunks = [
        bytes_field(2, b"\x08" + _time(a) + b"\x10" + _time(b) + _XOR + bytes_field(4, d))
        for a, b, d in zip(first, last, data, strict=True)
    ]
    index = b"\x10" + varint(query) if query else b""
    ends = np.searchsorted(bounds, np.cumsum(piece.counts)).tolist()
    bodies = [
        bytes_field(1, labels + b"".join(part)) + index
        for key, (begin, end) in zip(piece.keys, pairwise([0, *ends]), strict=True)
        for labels in (encode_series_labels(key),)
        for part in _within_frame(chunks[begin:end], len(labels))
    ]
    offsets = np.array([0, *accumulate(map(len, bodies))], dtype=np.int64)
    sums = crc32c(b"".join(bodies), offsets).astype(">u4").tobytes()
    return [varint(len(body)) + sums[4 * i : 4 * i + 4] + body for i, body in enumerate(bodies)]


@lru_cache(maxsize=8192)
def _time(time_ms: int) -> bytes:
    # Series that are scraped together have chunks of the same times.
    return varint(time_ms)


def _within_frame(chunks: Sequence[bytes], label_bytes: int) -> Iterator[list[bytes]]:
    """Yield chunks that fit into one frame together; at least one, however long the labels are."""
    room = MAX_FRAME_BYTES - label_bytes - 20  # what lengths and the query's index take
    part: list[bytes] = []
    size = 0
    for chunk in chunks:
        if part and size + len(chunk) > room:
            yield part
            part, size = [], 0
        part.append(chunk)
        size += len(chunk)
    if part:
        yield part
