"""Windows hold the samples that a loop over all samples would put there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.model.sample_groups import gather_small, without_markers
from metricsmith.model.selection import MatrixGroup, RaggedGroup
from metricsmith.promql import windows
from metricsmith.promql.values import Grid, RangeVector
from metricsmith.promql.windows import bounds, pieces

times_of_series = st.lists(st.integers(-50, 50), max_size=20, unique=True).map(sorted)
grids = st.builds(Grid, st.integers(-60, 60), st.sampled_from([0, 1, 3, 10]), st.integers(0, 12))


def expected(times: list[int], ends: Grid, range_ms: int, closed: bool) -> list[list[int]]:
    """Return the sample indices inside each window, by looking at each."""
    return [
        [
            i
            for i, t in enumerate(times)
            if (end - range_ms <= t if closed else end - range_ms < t) and t <= end
        ]
        for end in ends.times().tolist()
    ]


def inside(first: np.ndarray, last: np.ndarray) -> list[list[int]]:
    return [list(range(a, b + 1)) for a, b in zip(first.tolist(), last.tolist(), strict=True)]


@given(times=times_of_series, ends=grids, range_ms=st.integers(1, 40), closed=st.booleans())
def test_bounds_of_shared_timestamps(times: list[int], ends: Grid, range_ms: int, closed: bool) -> None:
    first, last = bounds(np.array(times, np.int64), ends, range_ms, closed)
    assert inside(first, last) == expected(times, ends, range_ms, closed)
    assert all(f == 0 for f, b in zip(first.tolist(), last.tolist(), strict=True) if b < 0)


@given(
    series=st.lists(times_of_series, min_size=1, max_size=5),
    ends=grids,
    range_ms=st.sampled_from([1, 3, 9, 10, 20, 40]),
    closed=st.booleans(),
    size=st.sampled_from([1, 20, 32_768]),
)
def test_windows_of_series_one_after_another(
    series: list[list[int]], ends: Grid, range_ms: int, closed: bool, size: int
) -> None:
    offsets = np.cumsum([0, *map(len, series)])
    flat = np.array([t for times in series for t in times], np.int64)
    group = RaggedGroup(np.arange(len(series)), offsets, flat, np.arange(len(flat)).astype(float))
    vector = RangeVector([b""] * len(series), [], group, ends, range_ms, closed)
    found: dict[tuple[int, int], list[float]] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "CHUNK_VALUES", size)
        for piece in pieces(vector):
            work = piece.windows
            assert work.steps is not None
            rows = np.repeat(piece.rows, ends.count) if piece.every_step else piece.rows
            for window, (row, step) in enumerate(zip(rows.tolist(), work.steps.tolist(), strict=True)):
                samples = work.values[work.first[window] : work.last[window] + 1].tolist()
                assert (row, step) not in found
                assert work.ends[window] == ends.times()[step]
                assert samples or (work.first[window], work.last[window]) == (0, -1)
                found[row, step] = samples
    wanted = {
        (row, step): [float(begin + i) for i in window]
        for row, (times, begin) in enumerate(zip(series, offsets.tolist(), strict=False))
        for step, window in enumerate(expected(times, ends, range_ms, closed))
    }
    assert {cell: samples for cell, samples in found.items() if samples} == {
        c: s for c, s in wanted.items() if s
    }


@pytest.mark.parametrize(("closed", "wanted"), [(False, [[-9, 0], []]), (True, [[-10, -9, 0], []])])
@pytest.mark.parametrize("count", [1, 2])
def test_samples_at_the_edges_of_a_window(count: int, closed: bool, wanted: list[list[int]]) -> None:
    times = np.array([-11, -10, -9, 0, 1, -30, 30])
    group = RaggedGroup(np.arange(2), np.array([0, 5, 7]), times, times.astype(float))
    vector = RangeVector([b""] * 2, [], group, Grid(0, 40, count), 10, closed)
    [piece] = pieces(vector)
    first, last = piece.windows.first[::count], piece.windows.last[::count]
    assert [times[window].tolist() for window in inside(first, last)] == wanted


def test_pieces_cover_every_series_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "CHUNK_VALUES", 10)
    matrix = MatrixGroup(np.array([1, 3, 5]), np.arange(4), np.zeros((3, 4)))
    lengths = [3, 0, 25, 1, 1]
    ragged = RaggedGroup(
        np.array([0, 2, 4, 6, 7]),
        np.cumsum([0, *lengths]),
        np.concatenate([np.arange(n) for n in lengths]),
        np.zeros(30),
    )
    vector = RangeVector([b""] * 8, [matrix], ragged, Grid(0, 1, 3), 2, False)
    found = [row for piece in pieces(vector) for row in set(piece.rows.tolist())]
    assert sorted(found) == list(range(8))
    assert len(list(pieces(vector))) > 3


def test_many_small_matrices_become_one_group() -> None:
    matrices = [MatrixGroup(np.array([i]), np.array([i, i + 1]), np.array([[1.0, i]])) for i in range(6)]
    large, ragged = gather_small(matrices, None, 3)
    assert not large
    assert ragged is not None
    assert ragged.rows.tolist() == list(range(6))
    assert ragged.values.tolist() == [v for i in range(6) for v in (1, i)]
    assert ragged.times.tolist() == [v for i in range(6) for v in (i, i + 1)]
    assert gather_small(matrices[:2], None, 3) == (matrices[:2], None)


def test_markers_are_taken_out() -> None:
    stale = np.array([False, True, False])
    matrix = MatrixGroup(np.array([0]), np.array([1, 2, 3]), np.array([[1.0, 9.0, 3.0]]), stale)
    ragged = RaggedGroup(
        np.array([1, 2]), np.array([0, 1, 3]), np.array([1, 1, 2]), np.array([1.0, 9.0, 3.0]), stale
    )
    matrices, kept = without_markers([matrix], ragged)
    assert matrices[0].values.tolist() == [[1, 3]]
    assert matrices[0].times.tolist() == [1, 3]
    assert kept is not None
    assert (kept.offsets.tolist(), kept.values.tolist(), kept.times.tolist()) == ([0, 1, 2], [1, 3], [1, 2])
