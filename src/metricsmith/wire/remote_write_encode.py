"""Batches to remote-write 1.0 request bodies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat

import cramjam
import numpy as np
from numpy.typing import NDArray

from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.model.labels import split_key
from metricsmith.model.metadata import Metadata
from metricsmith.wire.protobuf import bytes_field, varint
from metricsmith.wire.remote_write_message import STALE_BITS, type_number

U64 = NDArray[np.uint64]
NO_METADATA: Mapping[str, Metadata] = {}
SERIES_TAG = b"\x0a"
_HEAD = bytes([0x12, 0, 0x09])
_TIME_AT = 11


def encode_series_labels(key: bytes) -> bytes:
    """Return the label fields of a series, sorted by name, for `encode_write_request`; worth caching."""
    name, pairs = split_key(key)
    labels = sorted([(b"__name__", name), *pairs])
    fields: list[bytes] = []
    for label, value in labels:
        name_length, value_length = varint(len(label)), varint(len(value))
        size = 2 + len(name_length) + len(label) + len(value_length) + len(value)
        fields += (b"\x0a", varint(size), b"\x0a", name_length, label, b"\x12", value_length, value)
    return b"".join(fields)


def encode_write_request(
    labels: Sequence[bytes],
    counts: Sequence[int],
    times: I64,
    values: F64,
    stale: Bool | None = None,
    metadata: Mapping[str, Metadata] = NO_METADATA,
) -> bytes:
    """Return a request body (protobuf, snappy block format) of samples that stand series by series.

    Shapes:
        labels, counts: S, from `encode_series_labels`, and samples of each.
        times, values, stale: (P,), P the sum of `counts`.
    """
    parts = encode_time_series(labels, counts, times, value_bits(values, stale))
    parts += (encode_metadata(n, m) for n, m in metadata.items())
    return bytes(cramjam.snappy.compress_raw(b"".join(parts)))


def encode_time_series(
    labels: Sequence[bytes],
    counts: Sequence[int],
    times: I64,
    bits: U64,
    tag: bytes = SERIES_TAG,
    tails: Iterable[bytes] = (),
) -> list[bytes]:
    """Return TimeSeries as fields of a message, in parts: field 1 in a WriteRequest and a QueryResult.

    `tails` are what series have after their samples, if anything.

    Shapes:
        as in `encode_write_request`; bits: (P,) from `value_bits`. tails: S or none.
    """
    offsets, samples = _encode_samples(times, bits)
    parts: list[bytes] = []
    first = 0
    for label_bytes, count, tail in zip(labels, counts, tails or repeat(b""), strict=False):
        begin, end = offsets[first], offsets[first + count]
        length = varint(len(label_bytes) + end - begin + len(tail))
        parts += (tag, length, label_bytes, samples[begin:end], tail)
        first += count
    return parts


def value_bits(values: F64, stale: Bool | None) -> U64:
    """Return values as the bits that travel: a staleness marker is a NaN with a payload of its own."""
    bits = np.asarray(values, dtype=np.float64).view(np.uint64)
    return bits if stale is None else np.where(stale, np.uint64(STALE_BITS), bits)


def _encode_samples(times: I64, bits: U64) -> tuple[list[int], bytes]:
    # Where each sample begins (and the last ends), and all sample fields one after another.
    width = _varint_bytes(times)
    rows = np.zeros((len(times), _TIME_AT + 1 + 10), dtype=np.uint8)
    rows[:, 0], rows[:, 1], rows[:, 2], rows[:, _TIME_AT] = _HEAD[0], 10 + width, _HEAD[2], 0x10
    rows[:, 3:_TIME_AT] = bits.astype("<u8").view(np.uint8).reshape(-1, 8)
    rest = times.astype(np.int64).view(np.uint64)
    for i in range(int(width.max(initial=0))):
        more = np.where(i + 1 < width, 0x80, 0).astype(np.uint8)
        rows[:, _TIME_AT + 1 + i] = (rest & np.uint64(0x7F)).astype(np.uint8) | more
        rest = rest >> np.uint64(7)
    size = _TIME_AT + 1 + width
    offsets = [0, *np.cumsum(size).tolist()]
    used = np.arange(rows.shape[1]) < size[:, None]
    return offsets, rows[used].tobytes()


def _varint_bytes(times: I64) -> NDArray[np.int64]:
    unsigned = times.astype(np.int64).view(np.uint64)
    width = np.ones(len(times), dtype=np.int64)
    for shift in range(7, 64, 7):
        width += unsigned >> np.uint64(shift) > 0
    return width


def encode_metadata(name: str, metadata: Metadata) -> bytes:
    """Return what is known of a family as field 3 of a request."""
    kind = type_number(metadata.type)
    parts = [b"\x08" + varint(kind)] if kind else []
    parts += [bytes_field(n, t.encode()) for n, t in ((2, name), (4, metadata.help), (5, metadata.unit)) if t]
    return bytes_field(3, b"".join(parts))
