"""A selection holds the samples of its pieces, later pieces winning, and shares timestamps where it can."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.model.selection import Selection
from metricsmith.model.series import SeriesTable
from metricsmith.store.key_lists import KeyLists
from metricsmith.store.merge import merge
from metricsmith.store.pieces import MatrixPiece, Piece, RaggedPiece
from metricsmith.store.ragged import group_equal, offsets_of, sort_samples

Samples = dict[bytes, dict[int, float | None]]
"""key → time → value, None for a staleness marker."""

TABLE = SeriesTable()
KEYS = KeyLists(TABLE)
TABLE.intern_many([b"m9", b"m3", b"m", b"m\xffa\xfeb", b"n", b"a"])
ids = st.lists(st.integers(0, 5), unique=True, min_size=1, max_size=6)
times = st.lists(st.integers(0, 12), unique=True, min_size=1, max_size=6).map(sorted)


def as_dict(selection: Selection) -> Samples:
    out: Samples = {}

    def put(row: int, row_times, values, stale) -> None:
        assert selection.keys[row] not in out, "a series stands in exactly one group"
        marks = np.zeros(len(row_times), bool) if stale is None else stale
        out[selection.keys[row]] = {
            int(t): None if s else float(v) for t, v, s in zip(row_times, values, marks, strict=True)
        }

    for matrix in selection.matrices:
        assert matrix.values.flags.c_contiguous
        assert matrix.stale is None or matrix.stale.any()
        for row, values in zip(matrix.rows.tolist(), matrix.values, strict=True):
            put(row, matrix.times, values, matrix.stale)
    if selection.ragged is not None:
        group = selection.ragged
        for i, row in enumerate(group.rows.tolist()):
            at = slice(int(group.offsets[i]), int(group.offsets[i + 1]))
            put(row, group.times[at], group.values[at], None if group.stale is None else group.stale[at])
    return out


def expected(pieces: list[Piece], start: int, end: int) -> Samples:
    out: Samples = {}
    for piece in pieces:
        for i, series in enumerate(piece.series.tolist()):
            if isinstance(piece, MatrixPiece):
                row = zip(
                    piece.times,
                    piece.values[i],
                    piece.stale if piece.stale is not None else piece.times < 0,
                    strict=True,
                )
            else:
                at = slice(piece.offsets[i], piece.offsets[i + 1])
                marks = piece.stale if piece.stale is not None else piece.times < 0
                row = zip(piece.times[at], piece.values[at], marks[at], strict=True)
            for t, v, s in row:
                if start <= t <= end:
                    out.setdefault(TABLE.key(series), {})[int(t)] = None if s else float(v)
    return out


@st.composite
def matrix(draw) -> MatrixPiece:
    series, at = draw(ids), draw(times)
    stale = draw(st.none() | st.lists(st.booleans(), min_size=len(at), max_size=len(at)))
    base = draw(st.integers(0, 1000)) * 100.0
    return MatrixPiece(
        np.array(series, np.uint32),
        np.array(at, np.int64),
        base + np.arange(len(series) * len(at), dtype=float).reshape(len(series), len(at)),
        None if stale is None else np.array(stale),
    )


@st.composite
def ragged(draw) -> RaggedPiece:
    samples = draw(
        st.lists(st.tuples(st.integers(0, 5), st.integers(0, 12), st.booleans()), min_size=1, max_size=20)
    )
    series, at, stale = (np.array(column) for column in zip(*samples, strict=True))
    values = draw(st.integers(0, 1000)) * 100.0 + np.arange(len(samples))
    return sort_samples(
        series.astype(np.uint32), at.astype(np.int64), values, stale if draw(st.booleans()) else None
    )


@given(st.lists(matrix() | ragged(), max_size=5), st.integers(-1, 13), st.integers(-1, 13))
def test_holds_the_samples_of_its_pieces_in_the_range(pieces, start, end):
    selection = merge(pieces, start, end, KEYS)
    assert as_dict(selection) == expected(pieces, start, end)
    assert selection.keys == sorted(selection.keys)
    assert selection.sample_count() == sum(len(row) for row in as_dict(selection).values())


@given(st.lists(matrix() | ragged(), max_size=5))
def test_series_with_equal_timestamps_share_a_matrix(pieces):
    selection = merge(pieces, 0, 12, KEYS)
    samples = as_dict(selection)
    stamps = {key: tuple((t, v is None) for t, v in row.items()) for key, row in samples.items()}
    of_groups = [{stamps[selection.keys[row]] for row in m.rows.tolist()} for m in selection.matrices]
    if selection.ragged is not None:
        of_groups += [{stamps[selection.keys[row]]} for row in selection.ragged.rows.tolist()]
    assert all(len(group) == 1 for group in of_groups)
    assert len(set.union(set(), *of_groups)) == len(of_groups)


def test_blocks_one_after_another_give_one_matrix_and_newcomers_another():
    def block(series, start):
        at = np.arange(start, start + 10, dtype=np.int64)
        return MatrixPiece(np.array(series, np.uint32), at, np.ones((len(series), 10)) * start)

    selection = merge([block([2, 0, 1], 0), block([0, 1, 2, 4, 3], 10)], 5, 14, KEYS)
    assert [(m.values.shape, m.times[0], m.times[-1]) for m in selection.matrices] == [
        ((3, 10), 5, 14),
        ((2, 5), 10, 14),
    ]
    assert selection.ragged is None


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=4), max_size=12))
def test_rows_have_one_number_exactly_when_equal(rows):
    flat = np.array([v for row in rows for v in row], np.int64)
    numbers = group_equal(flat, offsets_of(np.array([len(row) for row in rows], np.int64)))
    assert len(numbers) == len(rows)
    for i, a in enumerate(rows):
        for j, b in enumerate(rows):
            assert (numbers[i] == numbers[j]) == (a == b)


def test_rows_whose_hashes_collide_are_told_apart(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("metricsmith.store.ragged._weights", lambda count: np.ones(count, np.uint64))
    flat = np.array([1, 3, 2, 2, 3, 1, 1, 3], np.int64)
    assert group_equal(flat, np.array([0, 2, 4, 6, 8])).tolist() == [0, 1, 2, 0]


def test_times_too_far_apart_for_a_packed_key_are_sorted_too():
    piece = sort_samples(
        np.array([4_000_000_000, 0, 4_000_000_000], np.uint32),
        np.array([1 << 60, 5, 3], np.int64),
        np.array([1.0, 2.0, 3.0]),
        None,
    )
    assert (piece.series.tolist(), piece.times.tolist()) == ([0, 4_000_000_000], [5, 3, 1 << 60])
    assert piece.values.tolist() == [2.0, 3.0, 1.0]
