"""Gorilla-compressed chunks of samples (Prometheus' XOR encoding), many chunks at a time.

What one sample takes depends on the one before only through the window of significant bits, so a loop
over the places in a chunk, all chunks at once, finds the windows; the rest is arithmetic on whole arrays.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from metricsmith.model.arrays import I64, Bool

U8 = NDArray[np.uint8]
U64 = NDArray[np.uint64]
MAX_SAMPLES = 120
"""Samples of a full chunk, as in Prometheus."""

_AT_ONCE = 512  # chunks whose arrays stay in the cache of a core
_ONE = np.uint64(1)
_DOD_FORMS = ((14, 0b10, 2), (17, 0b110, 3), (20, 0b1110, 4))
"""Bits of a difference of intervals, its prefix, and bits of the prefix."""


def chunk_bounds(lengths: I64) -> I64:
    """Return where chunks begin and the last ends, when series of these lengths stand one after another.

    Shapes:
        lengths: (S,) above zero; returns: (C + 1,).
    """
    chunks = -(-lengths // MAX_SAMPLES)
    before = np.cumsum(lengths) - lengths
    place = np.arange(int(chunks.sum())) - np.repeat(np.cumsum(chunks) - chunks, chunks)
    return np.append(np.repeat(before, chunks) + place * MAX_SAMPLES, lengths.sum())


def encode_chunks(times: I64, bits: U64, bounds: I64) -> list[bytes]:
    """Return the data of each chunk: 1 to MAX_SAMPLES samples between two bounds.

    Shapes:
        times, bits: (P,) milliseconds, and float64 as their bits, so that NaN payloads stay.
        bounds: (C + 1,)
    Source:
        Prometheus, "Gorilla" in `tsdb/docs/format/chunks.md`, XOR chunk data; compared bit by bit with
        what the real server writes.
    """
    found: list[bytes] = []
    for first in range(0, len(bounds) - 1, _AT_ONCE):
        found += _encode(times, bits, bounds[first : first + _AT_ONCE + 1])
    return found


def _encode(times: I64, bits: U64, bounds: I64) -> list[bytes]:
    counts = np.diff(bounds)
    places = np.arange(int(counts.max()))
    at = np.minimum(bounds[:-1, None] + places, bounds[1:, None] - 1)
    # Bit strings, four of each sample, that follow each other. Of the first: count, time, value.
    values = np.zeros((len(counts), 4 * len(places)), np.uint64)
    sizes = np.zeros(values.shape, np.uint8)
    values[:, 0], sizes[:, 0] = counts, 16
    values[:, 1:3], sizes[:, 1:3] = _varints(_zigzag(times[at[:, 0]]))
    values[:, 3], sizes[:, 3] = bits[at[:, 0]], 64
    if len(places) > 1:
        deltas = np.diff(times[at], axis=1)
        values[:, 4:6], sizes[:, 4:6] = _varints(deltas[:, 0].view(np.uint64))
        values[:, 8::4], sizes[:, 8::4], sizes[:, 9::4] = _second_differences(np.diff(deltas, axis=1))
        values[:, 9::4] = np.diff(deltas, axis=1).view(np.uint64)
        _put_changes(bits[at], values, sizes)
        sizes.reshape(len(counts), -1, 4)[places >= counts[:, None]] = 0
    return _packed(values, sizes)


def _zigzag(numbers: I64) -> U64:
    return ((numbers << 1) ^ (numbers >> 63)).view(np.uint64)


def _varints(numbers: U64) -> tuple[U64, U8]:
    """Return numbers as varints: of at most ten bytes, two bit strings, and their sizes.

    Shapes:
        numbers: (C,); returns: (C, 2) each.
    """
    used = np.ones(len(numbers), np.int64)
    for shift in range(7, 64, 7):
        used += numbers >> np.uint64(shift) > 0
    strings = np.zeros((len(numbers), 2), np.uint64)
    for i in range(10):
        byte = numbers >> np.uint64(7 * i) & np.uint64(0x7F)
        byte |= np.where(i + 1 < used, np.uint64(0x80), np.uint64(0))
        half = strings[:, i // 8]
        half[:] = np.where(i < used, half << np.uint64(8) | byte, half)
    sizes = 8 * np.stack([np.minimum(used, 8), np.maximum(used - 8, 0)], axis=1)
    return strings, sizes.astype(np.uint8)


def _second_differences(dod: I64) -> tuple[U64, U8, U8]:
    """Return prefix with short payload, its size, and the size of the long payload, of each difference.

    Shapes:
        dod: (C, K); returns: (C, K) each.
    """
    value, size = np.full(dod.shape, 0b1111, np.uint64), np.full(dod.shape, 4, np.uint8)
    long = np.full(dod.shape, 64, np.uint8)
    for width, prefix, prefix_size in reversed(_DOD_FORMS):
        fits = (dod >= 1 - (1 << (width - 1))) & (dod <= 1 << (width - 1))
        payload = dod.view(np.uint64) & np.uint64((1 << width) - 1)
        value = np.where(fits, payload | np.uint64(prefix << width), value)
        size[fits], long[fits] = prefix_size + width, 0
    same = dod == 0
    value[same], size[same] = 0, 1
    return value, size, long


def _put_changes(bits: U64, values: U64, sizes: U8) -> None:
    """Put control bits and significant bits of each value but the first into the strings of its sample."""
    xor = bits[:, 1:] ^ bits[:, :-1]
    leading, trailing, fresh = _windows(xor)
    significant = 64 - leading - trailing
    changed = xor != 0
    window = np.uint64(0b11 << 11) | leading.astype(np.uint64) << np.uint64(6) | significant & np.uint64(63)
    values[:, 6::4] = np.where(fresh, window, changed * np.uint64(0b10))
    sizes[:, 6::4] = np.where(fresh, 13, 1 + changed)
    values[:, 7::4], sizes[:, 7::4] = xor >> trailing, significant * changed


def _windows(xor: U64) -> tuple[U8, U8, Bool]:
    """Return leading and trailing zeros of the window of each value, and where a window is a new one.

    A window stays as long as the bits that change lie in it.

    Shapes:
        xor: (C, K); returns: (C, K) each.
    """
    own_leading, own_trailing = _zeros(xor.T)
    changed = xor.T != 0
    leading, trailing = np.empty_like(own_leading), np.empty_like(own_trailing)
    fresh = np.empty(changed.shape, np.bool_)
    now_leading, now_trailing = np.full(len(xor), 255, np.uint8), np.zeros(len(xor), np.uint8)
    for k in range(xor.shape[1]):
        fits = (own_leading[k] >= now_leading) & (own_trailing[k] >= now_trailing)
        np.logical_and(changed[k], ~fits, out=fresh[k])
        now_leading = np.where(fresh[k], own_leading[k], now_leading)
        now_trailing = np.where(fresh[k], own_trailing[k], now_trailing)
        leading[k], trailing[k] = now_leading, now_trailing
    # Before the first change there is no window, and its bits are not asked for.
    leading[leading == 255] = 0
    return leading.T, trailing.T, fresh.T


def _zeros(numbers: U64) -> tuple[U8, U8]:
    """Return leading (at most 31, as five bits hold them) and trailing zeros of each number."""
    filled = numbers.copy()
    for shift in (1, 2, 4, 8, 16, 32):
        filled |= filled >> np.uint64(shift)
    leading = np.minimum(64 - np.bitwise_count(filled), 31).astype(np.uint8)
    lowest = numbers & (~numbers + _ONE)
    return leading, np.bitwise_count(lowest - _ONE).astype(np.uint8)


def _packed(values: U64, sizes: U8) -> list[bytes]:
    """Return the bytes of each chunk, the last one filled with zero bits.

    Shapes:
        values, sizes: (C, N) bit strings and their bits, 0 to 64; no value has bits beyond its size.
    """
    ends = np.cumsum(sizes, axis=1, dtype=np.int64)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(-(-ends[:, -1] // 8))])
    ends += 8 * offsets[:-1, None]
    used = np.flatnonzero(sizes)
    data = _joined(values.ravel()[used], sizes.ravel()[used], ends.ravel()[used], int(offsets[-1]))
    bounds = offsets.tolist()
    return [data[a:b] for a, b in pairwise(bounds)]


def _joined(values: U64, sizes: U8, ends: I64, length: int) -> bytes:
    """Return bytes in which each bit string ends where it is told; ends ascend and nothing overlaps.

    Shapes:
        values, sizes, ends: (N,) sizes 1 to 64, in bits.
    """
    word = (ends - sizes) >> 6
    past = ends - 64 * (word + 1)  # bits that go into the next word
    over = past > 0
    upper = values << (-past).clip(0).astype(np.uint64) >> past.clip(0).astype(np.uint64)
    words = np.zeros((length >> 3) + 2, np.uint64)
    first = np.flatnonzero(np.diff(word, prepend=-1))
    words[word[first]] = np.bitwise_or.reduceat(upper, first)
    words[word[over] + 1] |= values[over] << (64 - past[over]).astype(np.uint64)
    return words.astype(">u8").tobytes()[:length]
