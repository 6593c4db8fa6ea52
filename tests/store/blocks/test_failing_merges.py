"""A merge that fails does not keep the others from being done; of very many blocks few are read at once."""

from __future__ import annotations

import errno

import numpy as np
import pytest

from metricsmith.errors import DiskFull, StoreError
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.store import compaction, compactor

ALL = ((Matcher("__name__", MatchOp.NE, ""),),)


def two_each(one, tools, sizes):
    """Write two blocks into windows that follow one another, with so many samples each; return all."""
    written = [
        {tools.key(0): {window * 1000 + 2 * i + half: float(half) for i in range(size)}}
        for window, size in enumerate(sizes)
        for half in range(2)
    ]
    for each in [*written, {tools.key(0): {900_000: 1.0}}]:
        one.store.write([one.piece(each)], {}, 1)
    return tools.expected(*written, {tools.key(0): {900_000: 1.0}})


def blocks_per_window(one) -> list[int]:
    starts = [block.meta.window_start_ms for block in one.store.live.all()]
    return [starts.count(start) for start in sorted(set(starts))][:-1]


def failing(monkeypatch, error: Exception, fails) -> list[int]:
    """Have merges of some windows fail; return the list of windows that are tried."""
    tried: list[int] = []
    copy_blocks = compactor.copy_blocks

    def copy(blocks, *args):
        tried.append(blocks[0].meta.window_start_ms // 1000)
        if fails(tried[-1]):
            raise error
        return copy_blocks(blocks, *args)

    monkeypatch.setattr(compactor, "copy_blocks", copy)
    return tried


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize(
    "error", [StoreError("Input/output error"), OSError(errno.EIO, "Input/output error")]
)
def test_the_other_windows_are_merged_and_the_one_that_failed_is_tried_again(
    open_store, tools, monkeypatch, forced, error
):
    one = open_store()
    wanted = two_each(one, tools, [5, 5, 5])
    if forced:
        assert one.store.delete(ALL, np.sort(one.table.intern_many([tools.key(0)])), 0, 0)
        del wanted[tools.key(0), 0]
    with monkeypatch.context() as patch:
        tried = failing(patch, error, lambda window: window == 0)
        one.store.compact()
        assert (tried, blocks_per_window(one)) == ([0, 1, 2], [2, 1, 1])
        one.store.compact()
        assert tried == [0, 1, 2, 0], "once in a round"
    assert one.telemetry.value("metricsmith_store_merges_total", result="failed") == 2
    one.store.compact()
    assert blocks_per_window(one) == [1, 1, 1]
    assert one.contents() == wanted


def test_without_space_for_one_only_smaller_ones_are_tried(open_store, tools, monkeypatch):
    """Each try fills the disk, on which others write."""
    one = open_store()
    wanted = two_each(one, tools, [200, 450, 5])
    tried = failing(monkeypatch, DiskFull("no space"), lambda window: window < 2)
    one.store.compact()
    assert (tried, blocks_per_window(one)) == ([0, 2], [2, 2, 1])
    assert one.contents() == wanted


@pytest.mark.parametrize("oldest_only", [False, True])
def test_what_is_deleted_from_very_many_blocks_leaves_them_a_few_at_a_time(
    open_store, tools, monkeypatch, oldest_only
):
    monkeypatch.setattr(compaction, "MOST_BLOCKS", 3)
    counts: list[int] = []
    copy_blocks = compactor.copy_blocks
    monkeypatch.setattr(
        compactor,
        "copy_blocks",
        lambda blocks, *args: counts.append(len(blocks)) or copy_blocks(blocks, *args),
    )
    one = open_store()
    written = [{tools.key(0): {0: float(n), n: 1.0}, tools.key(1): {n: 2.0}} for n in range(1, 9)]
    for each in written:
        one.store.write([one.piece(each)], {}, 1)
    gone = np.sort(one.table.intern_many([tools.key(1)]))
    assert one.store.delete(ALL, gone, 0, 1 if oldest_only else 99)
    wanted = {
        (key, t): v
        for (key, t), v in tools.expected(*written).items()
        if key != tools.key(1) or (oldest_only and t > 1)
    }
    one.store.compact()
    assert one.contents() == wanted
    assert max(counts) == 3
    assert one.store.tombstones == ()
    one.store.close()
    assert open_store().contents() == wanted
