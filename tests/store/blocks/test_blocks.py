"""What was written can be read, whatever order, windows and overlaps; merges and retention keep the rest."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.store.pieces import MatrixPiece

NAN = float("nan")
values = st.one_of(
    st.just("stale"), st.sampled_from([NAN, float("inf"), -0.0, 1e300]), st.integers(-5, 5).map(float)
)
times = st.integers(-1000, 1500)  # three windows; times before 1970 are times
samples = st.dictionaries(
    st.integers(0, 11), st.dictionaries(times, values, min_size=1, max_size=12), max_size=8
)


@given(writes=st.lists(st.lists(samples, max_size=3), max_size=5), start=times, length=st.integers(0, 2000))
def test_a_store_holds_the_last_value_written_of_each_sample(tools, memory, writes, start, length):
    keyed = [[{tools.key(n): s for n, s in piece.items()} for piece in pieces] for pieces in writes]
    wanted = tools.expected(*(piece for pieces in keyed for piece in pieces))
    part = {(k, t): s for (k, t), s in wanted.items() if start <= t <= start + length}
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        one = tools.Opened(Path(folder))
        for pieces in keyed:
            one.write(*pieces)
        assert tools.same(one.contents(), wanted)
        assert tools.same(one.contents(start, start + length), part)
        one.store.close()
        two = tools.Opened(Path(folder))  # a new process: other ids
        assert tools.same(two.contents(), wanted)
        two.store.close()


def test_only_the_series_asked_for_are_read(open_store, tools):
    one = open_store()
    one.write({tools.key(n): {t: n + t for t in range(0, 500, 50)} for n in range(9)})
    wanted = np.sort(one.table.intern_many([tools.key(2), tools.key(5), b"unknown"]))
    got = tools.contents_of(one.store.pieces(wanted, 100, 200), one.table)
    assert got == {(tools.key(n), t): n + t for n in (2, 5) for t in (100, 150, 200)}


def test_series_scraped_together_come_as_one_matrix_across_row_groups(open_store, tools):
    one = open_store()
    together = dict.fromkeys((0, 10, 20), 1.0)
    one.write({tools.key(n): together for n in range(9)})
    pieces = one.store.pieces(one.store.series_in(0, 999), 0, 999)
    assert [(type(p), p.values.shape) for p in pieces] == [(MatrixPiece, (9, 3))]


def test_targets_with_times_of_their_own_come_as_a_matrix_each(open_store, tools):
    one = open_store(dataclasses.replace(tools.SMALL, row_group_rows=1000))
    one.write({tools.key(n): {t * 10 + n % 3: float(n) for t in range(30)} for n in range(30)})
    pieces = one.store.pieces(one.store.series_in(0, 999), 0, 999)
    assert sorted(p.values.shape for p in pieces if isinstance(p, MatrixPiece)) == [(10, 30)] * 3


def test_equal_times_with_different_markers_are_not_one_matrix(open_store, tools):
    one = open_store(dataclasses.replace(tools.SMALL, row_group_rows=1000))
    wanted = {tools.key(n): {0: 1.0, 5: "stale" if n % 2 else 2.0} for n in range(8)}
    one.write(wanted)
    assert one.contents() == tools.expected(wanted)


def test_a_series_longer_than_a_row_group_is_read_whole(open_store, tools):
    one = open_store()
    wanted = {tools.key(0): {t: float(t) for t in range(100)}, tools.key(1): {3: 1.0}}
    one.write(wanted)
    assert one.contents() == tools.expected(wanted)
    assert one.contents(50, 52) == {(tools.key(0), t): float(t) for t in (50, 51, 52)}


def test_too_many_blocks_of_a_window_are_merged_and_keep_every_sample(open_store, tools):
    one = open_store()
    written = [{tools.key(n): {i: float(i), 500: float(100 + i)} for n in range(i, i + 4)} for i in range(12)]
    for piece in written:
        one.write(piece)
        assert one.store.block_count <= tools.SMALL.max_blocks_per_window
    assert one.contents() == tools.expected(*written)
    assert one.telemetry.value("metricsmith_store_merges_total", result="done") > 0
    assert len(list((one.folder / "blocks").iterdir())) == one.store.block_count
    assert list((one.folder / "tmp").iterdir()) == []


def test_a_large_block_is_not_rewritten_for_small_ones(open_store, tools):
    one = open_store()
    one.write({tools.key(n): dict.fromkeys(range(200), 1.0) for n in range(9)})
    large = {p.name for p in (one.folder / "blocks").iterdir()}
    for i in range(6):
        one.write({tools.key(0): {300 + i: 1.0}})
    assert large < {p.name for p in (one.folder / "blocks").iterdir()}


def test_a_window_that_has_closed_becomes_one_block(open_store, tools):
    one = open_store()
    written = [{tools.key(n): {i: float(i)} for n in range(4)} for i in range(3)]
    for piece in written:
        one.write(piece)
    assert one.store.block_count == 3, "more may come"
    written.append({tools.key(0): {1000: 1.0}})
    one.write(written[-1])
    assert one.store.block_count == 2
    assert one.contents() == tools.expected(*written)
    written += [{tools.key(0): {5 + i: 1.0}} for i in range(2)]
    for piece in written[-2:]:
        one.write(piece)
    assert one.store.block_count == 3, "what comes late is merged among itself"
    assert one.contents() == tools.expected(*written)


def test_pieces_are_taken_one_at_a_time_when_they_follow_one_another(open_store, tools):
    one = open_store()
    keys = sorted(tools.key(n) for n in range(12))
    alive = []

    def lazily():
        for key in keys:
            alive.append(len(list((one.folder / "tmp").rglob("samples.parquet"))))
            yield one.piece({key: {1: 1.0}})

    one.store.write(lazily(), {}, 1)
    assert alive[-1] == 1  # the block was being written while pieces still came
    assert one.store.block_count == 1
    assert one.contents() == {(key, 1): 1.0 for key in keys}


def test_backfill_over_more_windows_than_files_may_be_open(open_store, tools, monkeypatch):
    monkeypatch.setattr("metricsmith.store.block_output.MAX_OPEN_WRITERS", 20)
    one = open_store()
    wanted = {tools.key(n): {t * 1000: float(t) for t in range(80)} for n in range(2)}
    one.store.write([one.piece({k: s}) for k, s in sorted(wanted.items())], {}, 1)
    assert one.contents() == tools.expected(wanted)


def test_windows_very_far_apart(open_store, tools):
    one = open_store()
    wanted = {tools.key(n): {n: 1.0, 10**9 + n: 2.0, 10**12: 3.0} for n in range(4)}
    one.write(wanted)
    assert one.contents() == tools.expected(wanted)


def test_the_cursor_moves_with_the_samples(open_store, tools):
    one = open_store()
    assert one.store.cursor == 0
    one.write({tools.key(0): {1: 1.0}}, cursor=7)
    one.write(cursor=9)  # nothing to keep, still progress
    one.store.close()
    assert open_store().store.cursor == 9


def test_retention_deletes_whole_blocks_past_it(open_store, tools):
    one = open_store()
    one.write({tools.key(0): {500: 1.0, 1500: 2.0, 9000: 3.0}})
    one.store.apply_retention(10**6 + 1500)
    assert one.contents() == {(tools.key(0), 1500): 2.0, (tools.key(0), 9000): 3.0}
    assert len(list((one.folder / "blocks").iterdir())) == 2
    assert one.telemetry.value("metricsmith_store_blocks_deleted_total", reason="retention") == 1
    one.store.apply_retention(10**7)
    assert (one.contents(), one.store.last_sample_ms(), one.store.disk_usage()) == ({}, None, 0)


def test_metadata_survives_a_restart_the_newest_wins(open_store, tools):
    one = open_store()
    piece = one.piece(
        {b"lag_seconds\xffjob\xfea": {1: 1.0}, b"h_bucket\xffle\xfe1": {1: 1.0}, b"x": {1: 1.0}}
    )
    old = {"lag_seconds": Metadata(MetricType.COUNTER, "", "wrong")}
    new = {
        "lag_seconds": Metadata(MetricType.GAUGE, "seconds", "Ünit"),
        "h": Metadata(MetricType.HISTOGRAM, "", "a histogram"),
    }
    one.store.write([piece], old, 1)
    one.store.write([piece], new, 2)
    assert one.store.metadata() == new
    one.store.close()
    two = open_store()
    assert two.store.metadata() == new
    for i in range(4):  # and a merge
        two.store.write([two.piece({b"lag_seconds\xffjob\xfea": {i + 2: 1.0}})], {}, 3)
    two.store.close()
    assert open_store().store.metadata() == new


def test_blocks_with_the_same_series_share_one_catalogue(open_store, tools):
    one = open_store()
    for start in (0, 1000, 2000):
        one.write({tools.key(n): {start: 1.0} for n in range(5)})
    one.store.close()
    two = open_store()
    catalogues = {id(block.catalogue) for block in two.store._live.all()}
    assert (two.store.block_count, len(catalogues)) == (3, 1)


@pytest.mark.parametrize(("start", "end", "wanted"), [(0, 0, [0]), (0, 5000, [0, 1]), (1500, 1500, [])])
def test_series_in_blocks_that_overlap_a_range(open_store, tools, start, end, wanted):
    one = open_store()
    one.write({tools.key(0): {0: 1.0}, tools.key(1): {1400: 1.0}})
    got = one.store.series_in(start, end)
    assert sorted(one.table.key(i) for i in got.tolist()) == sorted(tools.key(n) for n in wanted)


def test_status_figures(open_store, tools):
    one = open_store()
    one.write({tools.key(0): {5: 1.0, 1400: 1.0}})
    files = (one.folder / "blocks").rglob("*.parquet")
    assert one.store.disk_usage() == sum(p.stat().st_size for p in files)
    assert (one.store.block_count, one.store.last_sample_ms()) == (2, 1400)
    assert one.telemetry.registry.get_sample_value("metricsmith_store_blocks") == 2
