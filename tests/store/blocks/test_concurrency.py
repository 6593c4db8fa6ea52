"""Readers get what they started with while blocks are written, merged and deleted around them."""

from __future__ import annotations

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.store import fsutil
from metricsmith.store.block_reader import Block


def test_readers_never_miss_a_sample_during_writes_merges_and_retention(open_store, tools):
    one = open_store(dataclasses.replace(tools.SMALL, cache_bytes=2000))  # so small that files are read
    keys = [tools.key(n) for n in range(6)]
    kept = {key: {5000 + t: 1.0 for t in range(20)} for key in keys}
    one.write(kept)
    done, read_once, failures = threading.Event(), threading.Semaphore(0), []

    def read() -> int:
        rounds = 0
        while not done.is_set() or rounds == 0:
            got = one.contents(5000, 5019)
            if got != tools.expected(kept):
                failures.append(got)
            rounds += 1
            read_once.release()
        return rounds

    with ThreadPoolExecutor(3) as threads:
        readers = [threads.submit(read) for _ in range(3)]
        for i in range(20):
            one.write({key: {5100 + i: float(i), i: 0.0} for key in keys})
            one.store.apply_retention(10**6 + 1000 + i)  # deletes the blocks at the epoch
            if i % 4 == 0:  # a machine may have no time for readers meanwhile
                assert read_once.acquire(timeout=60)
        done.set()
    assert sum(r.result() for r in readers) > 3
    assert failures == []
    assert len(list((one.folder / "blocks").iterdir())) == one.store.block_count


def test_files_of_a_deleted_block_stay_until_its_last_reader_is_done(open_store, tools):
    one = open_store()
    one.write({tools.key(0): {1: 1.0}})
    [block] = one.store._live.all()
    with one.store._live.lease(lambda b: True) as mine:
        with one.store._live.lease(lambda b: True):
            one.store.apply_retention(10**8)
            assert one.contents() == {}
        assert block.folder.is_dir()
        pieces = mine[0].pieces(np.array([1], np.uint32), 0, 9, one.store._cache)
        assert tools.contents_of(pieces, one.table) == {(tools.key(0), 1): 1.0}
    assert not block.folder.exists()


def test_a_merge_gives_up_when_retention_deletes_what_it_merges(open_store, tools, monkeypatch):
    one = open_store()
    for i in range(tools.SMALL.max_blocks_per_window):
        one.write({tools.key(0): {i: 1.0}})
    rename = fsutil.rename

    def rename_after_retention(source, target):
        if any(block.meta.max_time_ms == 100 for block in one.store._live.all()):  # the merge's own rename
            one.store.apply_retention(10**8)
        rename(source, target)

    monkeypatch.setattr(fsutil, "rename", rename_after_retention)
    one.write({tools.key(0): {100: 1.0}})
    assert one.contents() == {}  # what was deleted does not come back
    assert list((one.folder / "blocks").iterdir()) == []
    assert one.telemetry.value("metricsmith_store_merges_total", result="failed") == 1


@pytest.mark.parametrize("moment", ["blocks are read", "series are listed"])
def test_deleted_samples_stay_away_from_queries_during_which_they_leave_the_disk(
    open_store, tools, monkeypatch, moment
):
    one = open_store(tools.GROWING)
    one.store.write([one.piece({tools.key(n): {5: float(n)} for n in range(3)})], {}, 1)
    gone = np.sort(one.table.intern_many([tools.key(1)]))
    assert one.store.delete(((Matcher("__name__", MatchOp.NE, ""),),), gone, 0, 10)

    def then_compact(owner, name):
        ask = getattr(owner, name)

        def asked(*args, **kwargs):
            answer = ask(*args, **kwargs)
            monkeypatch.setattr(owner, name, ask)
            one.store.compact()
            assert one.store.tombstones == ()
            return answer

        monkeypatch.setattr(owner, name, asked)

    if moment == "blocks are read":
        series = one.store.series_in(0, 10)
        then_compact(Block, "pieces")
        found = tools.contents_of(one.store.pieces(np.union1d(series, gone), 0, 10), one.table)
        assert found == {(tools.key(0), 5): 0.0, (tools.key(2), 5): 2.0}
    else:
        then_compact(one.store.live, "all")
        assert not set(gone.tolist()) & set(one.store.series_in(0, 10).tolist())
