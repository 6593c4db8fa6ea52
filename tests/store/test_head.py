"""The head answers with what was appended, whatever the order; the last value of a sample wins."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.model.batch import Batch, Layout
from metricsmith.model.series import SeriesTable
from metricsmith.store.head import Head
from metricsmith.store.head_pieces import HeadPieces
from metricsmith.store.key_lists import KeyLists
from metricsmith.store.loose import LooseSamples
from metricsmith.store.merge import merge
from metricsmith.store.pieces import MatrixPiece, RaggedPiece
from metricsmith.store.slab import MAX_PATTERNS

SERIES = 8
TABLE = SeriesTable()
TABLE.intern_many(b"m\xffi\xfe%03d" % (999 - i) for i in range(200))

layouts = st.lists(st.integers(0, SERIES - 1), unique=True, max_size=SERIES)


@st.composite
def appends(draw) -> list[Batch]:
    """Batches of streams with changing layouts, and of no stream; times go forward, mostly."""
    pool = [
        Layout(np.array(draw(layouts), np.uint32), draw(st.sampled_from(["x", "y", None]))) for _ in range(4)
    ]
    batches, now = [], 0
    for number in range(draw(st.integers(0, 14))):
        layout = draw(st.sampled_from(pool))
        now += draw(st.integers(-2, 3))
        at: int | np.ndarray = now
        if draw(st.booleans()):
            spread = draw(st.lists(st.integers(-3, 3), min_size=len(layout), max_size=len(layout)))
            at = now + np.array(spread, np.int64)
        stale = draw(st.none() | st.lists(st.booleans(), min_size=len(layout), max_size=len(layout)))
        batches.append(
            Batch(
                layout,
                at,
                number * 100.0 + np.arange(len(layout)),
                None if stale is None else np.array(stale, bool),
            )
        )
    return batches


def model_of(batches: list[Batch]) -> dict[tuple[int, int], float | None]:
    samples: dict[tuple[int, int], float | None] = {}
    for batch in batches:
        for s, t, v, stale in zip(batch.layout.ids, batch.times(), batch.value, batch.stales(), strict=True):
            samples[int(s), int(t)] = None if stale else float(v)
    return samples


def content(pieces) -> dict[tuple[int, int], float | None]:
    samples: dict[tuple[int, int], float | None] = {}
    for piece in pieces:
        for i, series in enumerate(piece.series.tolist()):
            if isinstance(piece, MatrixPiece):
                times, values, marks = piece.times, piece.values[i], piece.stale
            else:
                at = slice(piece.offsets[i], piece.offsets[i + 1])
                times, values = piece.times[at], piece.values[at]
                marks = None if piece.stale is None else piece.stale[at]
            assert (np.diff(times) > 0).all()
            marks = np.zeros(len(times), bool) if marks is None else marks
            for t, v, stale in zip(times.tolist(), values.tolist(), marks.tolist(), strict=True):
                assert not stale or np.isnan(v)
                samples[series, t] = None if stale else v
    return samples


@given(appends(), st.sets(st.integers(0, SERIES - 1)), st.integers(-6, 30), st.integers(-6, 30))
def test_answers_with_what_was_appended(batches, wanted, start, end):
    head = Head()
    for batch in batches:
        head.append(batch)
    pieces = head.pieces(np.array(sorted(wanted), np.uint32), start, end)
    expected = {at: v for at, v in model_of(batches).items() if at[0] in wanted and start <= at[1] <= end}
    assert {at: v for at, v in content(pieces).items() if start <= at[1] <= end} == expected
    assert {s for s, _ in expected} <= set(head.series_in(start, end).tolist())


@given(appends())
def test_a_flush_writes_each_series_once_in_key_order(batches):
    head = Head()
    for batch in batches:
        head.append(batch)
    pieces = list(HeadPieces(head, TABLE))
    assert content(pieces) == model_of(batches)
    keys = [TABLE.key(i) for piece in pieces for i in piece.series.tolist()]
    assert keys == sorted(set(keys))


def test_a_flush_of_many_samples_is_made_in_parts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("metricsmith.store.head_pieces.PART_SAMPLES", 100)
    head = Head()
    layout = Layout(np.arange(50, dtype=np.uint32), "x")
    for t in range(10):
        head.append(Batch(layout, t, np.arange(50.0) * t))
    pieces = HeadPieces(head, TABLE)
    assert len(pieces) == 5
    assert [len(p.times) for p in pieces] == [100] * 5
    assert [p.series.tolist() for p in pieces[3:]] == [list(range(19, 9, -1)), list(range(9, -1, -1))]


def test_an_unchanged_layout_gives_one_matrix_over_all_chunks():
    head = Head()
    layout = Layout(np.arange(100, dtype=np.uint32), "x")
    for t in range(300):
        head.append(Batch(layout, t, np.full(100, float(t))))
    (piece,) = head.pieces(np.arange(20, 40, dtype=np.uint32), 10, 289)
    assert isinstance(piece, MatrixPiece)
    assert piece.values.shape == (20, 280)
    assert (piece.values == piece.times).all()
    assert head.samples == 30_000


def test_a_series_set_that_changes_each_time_gives_one_ragged_piece():
    head = Head()
    for t in range(3 * MAX_PATTERNS):
        ids = np.array([0, t + 1, t + 2], np.uint32)
        head.append(Batch(Layout(ids, "x"), t, ids * 1000.0 + t))
    (piece,) = head.pieces(np.arange(150, dtype=np.uint32), 0, 1000)
    assert isinstance(piece, RaggedPiece)
    assert content([piece]) == {
        (i, t): i * 1000.0 + t for t in range(3 * MAX_PATTERNS) for i in (0, t + 1, t + 2)
    }


def test_memory_counted_follows_the_samples():
    head = Head()
    layout = Layout(np.arange(100, dtype=np.uint32), "x")
    sizes = []
    for t in range(200):
        head.append(Batch(layout, t, np.zeros(100)))
        sizes.append(head.bytes)
    assert 8 <= (sizes[-1] - sizes[0]) / (199 * 100) < 9
    head.append(Batch(Layout(np.arange(100, dtype=np.uint32)), 7, np.zeros(100)))
    assert 16 <= (head.bytes - sizes[-1]) / 100 <= 24


def test_a_view_does_not_change_while_the_slab_grows():
    head = Head()
    for t in range(20):
        head.append(
            Batch(Layout(np.arange(t % 3, 4 + t, dtype=np.uint32), "x"), t, np.full(4 + t - t % 3, t * 1.0))
        )
    ((_, view),) = head._views([2], 0, 100)
    rows = np.arange(len(view.series))
    before = content(view.pieces(rows, 0, 100))
    for t in range(20, 200):
        head.append(Batch(Layout(np.arange(150, dtype=np.uint32), "x"), t, np.full(150, -1.0)))
    assert content(view.pieces(rows, 0, 100)) == before


def test_a_layout_outlives_the_head_that_it_was_appended_to():
    layout = Layout(np.array([5, 3], np.uint32), "x")
    for head in (Head(), Head(), Head()):
        head.append(Batch(Layout(np.array([3], np.uint32), "x"), 1, np.array([0.0])))
        head.append(Batch(layout, 2, np.array([1.0, 2.0])))
        assert content(head.pieces(np.array([3, 5], np.uint32), 0, 9)) == {
            (3, 1): 0.0,
            (5, 2): 1.0,
            (3, 2): 2.0,
        }


def test_series_of_two_streams_keep_all_samples():
    head = Head()
    first, second = (Layout(np.array(ids, np.uint32), name) for ids, name in (([0, 1], "x"), ([1, 2], "y")))
    for t in range(4):
        head.append(Batch(first, 10 * t, np.array([1.0, 2.0])))
        head.append(Batch(second, 10 * t + t % 2, np.array([3.0, 4.0])))
    selection = merge(head.pieces(np.array([1], np.uint32), 0, 99), 0, 99, KeyLists(TABLE))
    assert selection.ragged is not None
    assert selection.ragged.times.tolist() == [0, 10, 11, 20, 30, 31]
    assert selection.ragged.values.tolist() == [3.0, 2.0, 3.0, 3.0, 2.0, 3.0]


def test_runs_of_loose_samples_stay_few():
    loose = LooseSamples()
    rng = np.random.default_rng(1)
    for i in range(200):
        loose.append(
            rng.integers(0, 50, 10).astype(np.uint32), rng.integers(0, 10**6, 10), np.full(10, i * 1.0), None
        )
        loose.settle()
    assert len(loose.settle()) <= 12
    assert 1900 < loose.samples <= 2000


def test_loose_samples_sent_again_take_no_room():
    loose = LooseSamples()
    for _ in range(50):
        loose.append(np.arange(100, dtype=np.uint32), np.zeros(100, np.int64), np.zeros(100), None)
        loose.settle()
    assert loose.samples <= 200


def test_series_that_the_head_has_never_seen_have_no_samples():
    head = Head()
    head.append(Batch(Layout(np.array([3], np.uint32), "x"), 1, np.array([5.0])))
    assert content(head.pieces(np.arange(5000, dtype=np.uint32), 0, 9)) == {(3, 1): 5.0}
    head.append(Batch(Layout(np.array([4000], np.uint32)), 1, np.array([6.0])))
    assert content(head.pieces(np.arange(5000, dtype=np.uint32), 0, 9)) == {(3, 1): 5.0, (4000, 1): 6.0}
    assert head.active_series().tolist() == [3, 4000]


def test_a_layout_with_a_series_twice_keeps_the_last_value():
    head = Head()
    layout = Layout(np.array([1, 2, 1], np.uint32), "x")
    for t in (1, 2):
        head.append(Batch(layout, t, np.array([10.0, 20.0, 30.0]) * t))
    assert content(head.pieces(np.array([1, 2], np.uint32), 0, 9)) == {
        (1, 1): 30.0, (2, 1): 20.0, (1, 2): 60.0, (2, 2): 40.0,
    }  # fmt: skip


def test_series_may_come_while_another_thread_asks_which_there_are():
    head, known = Head(), 400_000
    head.append(Batch(Layout(np.array([known], np.uint32)), 0, np.zeros(1)))
    coming = [Batch(Layout(np.array([number], np.uint32)), 0, np.zeros(1)) for number in range(5_000)]

    def append() -> None:
        for batch in coming:
            head.append(batch)

    with ThreadPoolExecutor(1) as other:
        appended = other.submit(append)
        seen = [len(head.active_series())]
        while not appended.done():
            seen.append(len(head.active_series()))
        appended.result()
    assert seen == sorted(seen)
    assert head.active_series().tolist() == [*range(len(coming)), known]
