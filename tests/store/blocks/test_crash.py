"""A crash at any step leaves the old state or the new one, and the next start goes on from there."""

from __future__ import annotations

import dataclasses
import errno
import shutil
from pathlib import Path

import pytest

from metricsmith.errors import DiskFull
from metricsmith.model import durable_files
from metricsmith.store import fsutil
from metricsmith.store.manifest import Manifest

FULL_DISK = Path("/dev/full")
STEPS = ["sync_file", "sync_folder", "write_synced", "rename", "remove_tree"]


class Crash(BaseException):
    """Not an Exception: nothing may handle it but the test."""


class Power:
    """Goes out before the step with this number; nothing reaches the disk after that."""

    def __init__(self, monkeypatch, fails_at: int) -> None:
        self.steps, self.fails_at = 0, fails_at
        for name in STEPS:
            guarded_step = self._guard(getattr(fsutil, name))
            for module in (fsutil, durable_files):
                if hasattr(module, name):
                    monkeypatch.setattr(module, name, guarded_step)
        commit = Manifest.commit

        def guarded(manifest, *args, **kwargs):
            self._step()
            commit(manifest, *args, **kwargs)
            self._step()

        monkeypatch.setattr(Manifest, "commit", guarded)

    def _step(self) -> None:
        self.steps += 1
        if self.steps >= self.fails_at:
            raise Crash

    def _guard(self, function):
        def guarded(*args):
            if self.steps >= self.fails_at:
                return None  # cleaning up is no longer possible, and no reason for a second crash
            self._step()
            return function(*args)

        return guarded


def history(tools):
    """Writes that begin windows, overlap, and exceed the blocks of a window, so that merges run."""
    return [
        {tools.key(n): {i: float(i), 900: float(100 + i), 1000 + i: 1.0} for n in range(i, i + 3)}
        for i in range(3)
    ]


def run(one, writes, first: int = 0) -> None:
    for number, samples in enumerate(writes[first:], first):
        one.write(samples, cursor=number + 1)


def test_every_crash_point_leaves_a_state_that_was_committed(tools, tmp_path, monkeypatch, memory):
    config = dataclasses.replace(tools.SMALL, max_blocks_per_window=1)
    writes = history(tools)
    fails_at, seen = 1, set()
    while True:
        folder, copy = Path(memory) / f"a{fails_at}", Path(memory) / f"b{fails_at}"
        one = tools.Opened(folder, config)
        with monkeypatch.context() as patch:
            power = Power(patch, fails_at)
            try:
                run(one, writes)
                finished = True
            except Crash:
                finished = False
            acknowledged = one.store.cursor
            shutil.copytree(folder, copy)  # as the disk is now
        one.store.close()
        if finished:
            break
        two = tools.Opened(copy, config)
        cursor = two.store.cursor
        seen.add(cursor)
        assert cursor in (acknowledged, acknowledged + 1), f"step {fails_at}"
        assert tools.same(two.contents(), tools.expected(*writes[:cursor])), f"step {fails_at}"
        assert list((copy / "tmp").iterdir()) == []
        assert len(list((copy / "blocks").iterdir())) == two.store.block_count
        run(two, writes, cursor)
        assert tools.same(two.contents(), tools.expected(*writes)), f"step {fails_at}"
        two.store.close()
        fails_at += 1
    assert seen == set(range(len(writes) + 1))
    assert power.steps > 50


def test_a_crash_while_a_directory_is_made_does_no_harm(tools, memory, monkeypatch):
    for fails_at in range(1, 8):
        folder = Path(memory) / f"new{fails_at}"
        with monkeypatch.context() as patch:
            Power(patch, fails_at)
            with pytest.raises(Crash):
                tools.Opened(folder)
        one = tools.Opened(folder)
        one.write({tools.key(0): {1: 1.0}})
        assert one.contents() == {(tools.key(0), 1): 1.0}
        one.store.close()


@pytest.mark.parametrize("step", [*STEPS[:4], "sink"])
def test_a_full_disk_changes_nothing_and_leaves_nothing_behind(open_store, tools, monkeypatch, step):
    one = open_store()
    one.write({tools.key(0): {1: 1.0}}, cursor=3)
    before = sorted(p.name for p in one.folder.rglob("*") if p.is_dir())

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        if step == "sink":
            patch.setattr(
                "metricsmith.store.block_writer._open", lambda path: FULL_DISK.open("wb", buffering=0)
            )
        else:
            patch.setattr(fsutil, step, full)
        with pytest.raises(DiskFull, match="No space left"):
            one.write({tools.key(0): {2: 2.0, 1002: 2.0}}, cursor=4)
    assert sorted(p.name for p in one.folder.rglob("*") if p.is_dir()) == before
    assert (one.store.cursor, one.contents()) == (3, {(tools.key(0), 1): 1.0})
    one.write({tools.key(0): {2: 2.0}}, cursor=4)  # space again
    assert (one.store.cursor, len(one.contents())) == (4, 2)


def test_a_merge_that_finds_no_space_is_counted_and_done_later(open_store, tools, monkeypatch):
    one = open_store()
    limit = tools.SMALL.max_blocks_per_window
    with monkeypatch.context() as patch:
        patch.setattr("metricsmith.store.compactor.copy_blocks", _no_space)
        for i in range(limit + 1):
            one.write({tools.key(0): {i: 1.0}})
    assert one.store.block_count == limit + 1
    assert one.telemetry.value("metricsmith_store_merges_total", result="failed") == 1
    one.write({tools.key(0): {100: 1.0}})
    assert one.store.block_count <= limit
    assert len(one.contents()) == limit + 2


def _no_space(*args):
    raise DiskFull("no space")
