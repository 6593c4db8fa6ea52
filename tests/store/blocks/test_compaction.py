"""Blocks grow with age; what comes late, is deleted or is too much is seen to."""

from __future__ import annotations

import dataclasses
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.store import compaction
from metricsmith.store.pieces import RaggedPiece

EVERYTHING = ((Matcher("__name__", MatchOp.NE, ""),),)


def windows(one) -> list[tuple[int, int]]:
    """Return start and length of all windows, in seconds."""
    metas = sorted((b.meta for b in one.store.live.all()), key=lambda m: (m.window_start_ms, m.number))
    return [(m.window_start_ms // 1000, (m.window_end_ms - m.window_start_ms) // 1000) for m in metas]


def in_order(one, tools, seconds: int, samples: int = 8):
    """Write samples second by second; return them."""
    written = []
    for second in range(seconds):
        times = range(second * 1000, second * 1000 + 1000, 1000 // samples)
        written.append({tools.key(n): {t: float(t) for t in times} for n in range(5)})
        one.write(written[-1])
    return written


def test_windows_that_are_over_become_larger_ones(open_store, tools):
    one = open_store(tools.GROWING)
    written = in_order(one, tools, 3)
    assert windows(one) == [(0, 1), (1, 1), (2, 1)], "the third is not over"
    written += [{tools.key(0): {3000: 1.0}}]
    one.write(written[-1])
    assert windows(one) == [(0, 3), (3, 1)]
    written += [{tools.key(n): dict.fromkeys(range(3000, 19000, 100), 1.0) for n in range(4)}]
    one.write(written[-1])
    assert windows(one) == [(0, 9), (9, 9), (18, 1)]
    assert one.contents() == tools.expected(*written)
    one.store.close()
    assert open_store(tools.GROWING).contents() == tools.expected(*written)


def test_a_gap_leaves_small_blocks_only_where_they_are_alone(open_store, tools):
    one = open_store(tools.GROWING)
    for second in (0, 4, 30):
        one.write({tools.key(0): {second * 1000: 1.0}})
    assert windows(one) == [(0, 9), (30, 1)]


def test_large_blocks_stay_as_they_are(open_store, tools):
    one = open_store(dataclasses.replace(tools.GROWING, most_merged_samples=100))
    written = in_order(one, tools, 5, samples=10)  # 50 samples a second
    written += [{tools.key(n): dict.fromkeys(range(0, 5000, 500), 7.0) for n in range(2)}]
    one.write(written[-1])
    assert max(length for _, length in windows(one)) == 1
    assert one.contents() == tools.expected(*written)


def test_samples_in_any_order_make_few_blocks(open_store, tools, memory):
    one = open_store(tools.GROWING, Path(memory) / "in any order")
    rng = np.random.default_rng(5)
    wanted = {}
    for value in range(40):
        sent = {tools.key(n): {int(t): float(value) for t in rng.integers(0, 60_000, 20)} for n in range(4)}
        one.write(sent)
        wanted.update(tools.expected(sent))
    assert one.contents() == wanted
    assert one.store.block_count < 30
    assert max(length for _, length in windows(one)) == 9


def test_a_late_sample_wins_before_and_after_blocks_are_merged(open_store, tools):
    one = open_store(tools.GROWING)
    for second in (7, 30):
        one.store.write([one.piece({tools.key(0): {second * 1000: 1.0}})], {}, 1)
    one.store.write([one.piece({tools.key(0): {7000: 2.0}})], {}, 1)
    assert windows(one) == [(0, 9), (7, 1), (30, 1)], "the late one begins before the one that it corrects"
    for _ in range(2):
        assert one.contents() == {(tools.key(0), 7000): 2.0, (tools.key(0), 30_000): 1.0}
        one.store.compact()


def test_a_block_written_anew_does_not_win_over_later_ones(open_store, tools):
    one = open_store(tools.GROWING)
    large = {tools.key(n): dict.fromkeys(range(0, 900, 10), 1.0) for n in range(5)}
    late = {tools.key(0): {500: 2.0}}
    one.write({tools.key(0): {30_000: 1.0}})
    one.write(large)
    one.write(late)
    assert windows(one) == [(0, 9), (0, 9), (30, 1)]
    gone = np.sort(one.table.intern_many([tools.key(3)]))
    assert one.store.delete(EVERYTHING, gone, 0, 999)
    wanted = tools.expected(large, {tools.key(0): {30_000: 1.0}}, late)
    wanted = {(key, t): v for (key, t), v in wanted.items() if key != tools.key(3)}
    assert one.contents() == wanted
    one.store.compact()
    assert one.contents() == wanted
    assert one.store.tombstones == ()
    assert one.telemetry.value("metricsmith_store_samples_deleted_total", reason="request") == 90


@pytest.mark.parametrize("range_", [(0, 10**6), (200, 600), (600, 600)])
def test_deleted_samples_are_gone_at_once_for_good_and_from_disk(open_store, tools, range_):
    one = open_store(tools.GROWING)
    sent = {
        tools.key(n): {t: "stale" if t == 600 else float(t) for t in range(0, 999, 100)} for n in range(5)
    }
    one.store.write([one.piece(sent)], {}, 1)
    series = np.sort(one.table.intern_many([tools.key(1), tools.key(4)]))
    selectors = ((Matcher("job", MatchOp.RE, "j-[14]"),),)
    assert one.store.delete(selectors, series, *range_)
    one.store.write([one.piece({tools.key(1): {600: 5.0}})], {}, 1)  # what comes after a delete stays
    wanted = {
        (key, t): v
        for (key, t), v in tools.expected(sent).items()
        if key not in (tools.key(1), tools.key(4)) or not range_[0] <= t <= range_[1]
    } | {(tools.key(1), 600): 5.0}
    assert one.contents() == wanted
    one.store.close()

    again = open_store(tools.GROWING)
    again.store.find_deleted(lambda found: np.sort(again.table.intern_many([tools.key(1), tools.key(4)])))
    assert [t.selectors for t in again.store.tombstones] == [selectors]
    assert again.contents() == wanted
    again.store.compact()
    assert again.contents() == wanted
    assert again.store.tombstones == ()
    again.store.close()
    assert open_store(tools.GROWING).contents() == wanted


def test_series_that_are_deleted_whole_are_listed_no_more(open_store, tools):
    one = open_store(tools.GROWING)
    one.store.write([one.piece({tools.key(n): {5: 1.0} for n in range(3)})], {}, 1)
    one.store.delete(EVERYTHING, np.sort(one.table.intern_many([tools.key(1)])), 0, 10)
    listed = {one.table.key(i) for i in one.store.series_in(0, 10).tolist()}
    assert listed == {tools.key(0), tools.key(2)}


def test_a_block_of_which_nothing_is_left_goes(open_store, tools):
    one = open_store(tools.GROWING)
    one.write({tools.key(0): {5: 1.0}})
    one.store.delete(EVERYTHING, np.sort(one.table.intern_many([tools.key(0)])), 0, 10)
    one.store.compact()
    assert (one.store.block_count, one.contents()) == (0, {})
    assert list((one.folder / "blocks").iterdir()) == []


def test_the_oldest_windows_go_when_blocks_take_too_much(open_store, tools):
    one = open_store(tools.SMALL)
    sent = in_order(one, tools, 10)
    one.write({tools.key(0): {500: 9.0}})  # late, and of the oldest window
    size = one.store.disk_usage()
    one.store.close()
    limit = size * 55 // 100
    two = open_store(dataclasses.replace(tools.SMALL, retention_bytes=limit))
    two.store.apply_retention(1000)
    assert limit * 8 // 10 < two.store.disk_usage() <= limit
    kept = [start for start, _ in windows(two)]
    assert kept == list(range(10 - len(kept), 10))
    assert two.contents() == tools.expected(*sent[-len(kept) :])
    assert two.telemetry.value("metricsmith_store_blocks_deleted_total", reason="size") == 11 - len(kept)
    gone = two.telemetry.value("metricsmith_store_samples_deleted_total", reason="size")
    assert gone == 5 * 8 * (10 - len(kept)) + 1
    two.store.close()
    three = open_store(dataclasses.replace(tools.SMALL, retention_bytes=1))
    three.store.apply_retention(1000)
    assert windows(three) == [(9, 1)], "the newest window stays"


def test_a_merge_that_is_to_stop_leaves_everything_as_it_was(open_store, tools, monkeypatch):
    monkeypatch.setattr(compaction, "PART_SERIES", 2)
    one = open_store(tools.GROWING)
    sent = [{tools.key(n): {second * 1000: 1.0} for n in range(9)} for second in (0, 1, 2, 30)]
    for each in sent:
        one.store.write([one.piece(each)], {}, 1)
    answers = iter([True, True, True, False])
    one.store.compact(lambda: next(answers, False))
    assert windows(one) == [(0, 1), (1, 1), (2, 1), (30, 1)]
    assert list((one.folder / "tmp").iterdir()) == []
    one.store.compact()
    assert windows(one) == [(0, 9), (30, 1)]
    assert one.contents() == tools.expected(*sent)


def test_blocks_are_read_in_parts_of_few_series_and_samples(open_store, tools, monkeypatch):
    monkeypatch.setattr(compaction, "PART_SAMPLES", 100)
    parts = []
    join = compaction.join
    monkeypatch.setattr(
        compaction,
        "join",
        lambda pieces: parts.append(sum(len(p.piece.times) for p in pieces)) or join(pieces),
    )
    one = open_store(tools.GROWING)
    sent = [
        {
            tools.key(n): dict.fromkeys(range(second * 1000, second * 1000 + 30 * (n % 3) + 1), 1.0)
            for n in some
        }
        for second, some in ((0, range(20)), (1, range(0, 40, 3)), (2, range(15, 60)))
    ]
    for each in [*sent, {tools.key(0): {30_000: 1.0}}]:
        one.write(each)
    assert windows(one) == [(0, 9), (30, 1)]
    assert one.contents(0, 9000) == tools.expected(*sent)
    assert len(parts) > 10
    assert max(parts) <= 183, "one series of three blocks, at most"


def test_memory_of_a_merge_does_not_grow_with_its_blocks(open_store, tools, monkeypatch):
    monkeypatch.setattr(compaction, "PART_SAMPLES", 20_000)
    one = open_store(
        dataclasses.replace(tools.GROWING, window_ms=10**6, retention_ms=10**9, row_group_rows=4096)
    )
    series, samples = 60, 5000
    for window in range(2):
        times = np.tile(window * 10**6 + np.arange(samples) * 100, series)
        keys = sorted(tools.key(n) for n in range(series))
        offsets = np.arange(series + 1) * samples
        piece = RaggedPiece(
            one.table.intern_many(keys), offsets, times, np.random.default_rng(1).random(len(times))
        )
        one.store.write([piece], {}, 1)
    one.store.write([one.piece({tools.key(0): {10**8: 1.0}})], {}, 1)
    decoded = 2 * series * samples * 16
    del piece, times
    arrow = [pa.total_allocated_bytes()]
    join = compaction.join
    monkeypatch.setattr(
        compaction, "join", lambda pieces: arrow.append(pa.total_allocated_bytes()) or join(pieces)
    )
    tracemalloc.start()
    try:
        one.store.compact()
        peak = tracemalloc.get_traced_memory()[1] + max(arrow) - arrow[0]
    finally:
        tracemalloc.stop()
    assert windows(one)[0] == (0, 9000)
    assert peak < decoded / 3, f"{peak / 1e6:.1f} MB for {decoded / 1e6:.1f} MB of samples"


def test_a_delete_hides_what_is_being_merged_and_nothing_that_comes_later(open_store, tools):
    one = open_store(tools.GROWING)
    for second in range(4):
        one.store.write([one.piece({tools.key(n): {second * 1000: float(n)} for n in range(3)})], {}, 1)
    gone = np.sort(one.table.intern_many([tools.key(1)]))
    asked = []

    def go_on() -> bool:
        asked.append(one.store.block_count)
        if len(asked) == 2:  # the first blocks are being read
            assert one.store.delete(EVERYTHING, gone, 0, 1500)
            one.store.write([one.piece({tools.key(1): {1000: 7.0}})], {}, 1)
        return len(asked) < 3

    one.store.compact(go_on)
    merges = one.telemetry.value("metricsmith_store_merges_total", result="done")
    wanted = {(tools.key(n), s * 1000): float(n) for s in range(4) for n in range(3) if n != 1 or s > 1}
    wanted |= {(tools.key(1), 1000): 7.0}
    assert merges == 1
    assert one.contents() == wanted
    one.store.compact()
    assert one.contents() == wanted
    assert one.store.tombstones == ()
