"""Chunks and checksums: what is encoded is read back bit by bit by a plain reader of the format."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.testing.remote_read import crc32c_slowly, decode_chunk
from metricsmith.wire.crc32c import crc32c
from metricsmith.wire.xor_chunk import MAX_SAMPLES, chunk_bounds, encode_chunks

STEPS = st.sampled_from(
    [0, 1, 15_000, 15_001, 15_000 + 2**13, 15_000 - 2**13 + 1, 2**16, 2**19, 2**20, 2**40]
)
BITS = st.one_of(
    st.integers(0, 2**64 - 1),
    st.sampled_from([0, 1, 2**63, 0x7FF8000000000001, 0x7FF0000000000002, 0x3FF0000000000000]),
    st.integers(0, 63).map(lambda shift: 1 << shift),
)
SERIES = st.lists(st.tuples(STEPS, BITS), min_size=1, max_size=130)


@given(st.lists(SERIES, min_size=1, max_size=5), st.sampled_from([0, 1_700_000_000_000, -(2**40), 2**53]))
def test_every_bit_comes_back(series: list[list[tuple[int, int]]], start: int) -> None:
    times = [start + np.cumsum([step for step, _ in one]) for one in series]
    bits = [np.array([b for _, b in one], dtype=np.uint64) for one in series]
    bounds = chunk_bounds(np.array([len(one) for one in series]))
    chunks = encode_chunks(np.concatenate(times), np.concatenate(bits), bounds)
    assert max(map(len, (decode_chunk(c) for c in chunks))) <= MAX_SAMPLES
    samples = [sample for chunk in chunks for sample in decode_chunk(chunk)]
    wanted = np.concatenate(times).tolist(), np.concatenate(bits).tolist()
    assert samples == list(zip(*wanted, strict=True))


@pytest.mark.parametrize(
    ("lengths", "bounds"),
    [
        ([1], [0, 1]),
        ([120], [0, 120]),
        ([121], [0, 120, 121]),
        ([3, 240, 1], [0, 3, 123, 243, 244]),
    ],
)
def test_chunks_end_with_their_series(lengths: list[int], bounds: list[int]) -> None:
    assert chunk_bounds(np.array(lengths)).tolist() == bounds


def test_more_chunks_than_are_encoded_at_once() -> None:
    times = np.tile(np.arange(3) * 15_000, 2000)
    bits = np.arange(6000, dtype=np.uint64)
    chunks = encode_chunks(times, bits, np.arange(2001) * 3)
    assert [decode_chunk(c) for c in chunks[::500]] == [
        [(0, 3 * i), (15_000, 3 * i + 1), (30_000, 3 * i + 2)] for i in range(0, 2000, 500)
    ]


@given(st.lists(st.binary(min_size=4, max_size=300), max_size=6), st.binary(max_size=9))
def test_checksums_of_many_pieces(pieces: list[bytes], before: bytes) -> None:
    data = before + b"".join(pieces) + b"behind"
    bounds = len(before) + np.cumsum([0, *map(len, pieces)])
    assert crc32c(data, bounds).tolist() == [crc32c_slowly(piece) for piece in pieces]


def test_checksum_of_a_long_piece() -> None:
    data = bytes(range(256)) * 300
    assert crc32c(data, np.array([1, len(data)])).tolist() == [crc32c_slowly(data[1:])]
