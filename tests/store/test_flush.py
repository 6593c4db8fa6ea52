"""Samples move from memory to disk unnoticed, in bounded memory, also when the disk is full."""

from __future__ import annotations

import errno
import gc
import threading
import weakref
from pathlib import Path

import pytest

from metricsmith.errors import DiskFull

HOUR = 3_600_000
NOW = 1_700_000_000_000
RETENTION = 48 * HOUR


def test_the_cursor_moves_only_when_blocks_are_written(lab, process):
    for sequence in range(5):
        process.store.apply(process.batch(lab.scrape(NOW + sequence, 1.0)), sequence)
    assert process.store.cursor() == 0
    process.flush()
    assert process.store.cursor() == 5
    process.store.apply(process.batch(lab.scrape(NOW + 9, 1.0)), 5)
    assert process.store.cursor() == 5


def test_a_head_above_its_budget_is_flushed(lab, tmp_path: Path):
    process = lab.Process(tmp_path, head_bytes=2000)
    sequence = 0
    while process.store.cursor() == 0:
        process.store.apply(process.batch(lab.scrape(NOW + sequence, sequence)), sequence)
        process.store.tick(NOW)
        process.store._heads.wait_for_write(NOW)
        sequence += 1
    assert 2000 / 60 < sequence < 2000 / 24
    assert process.store.status().head_samples == 0
    assert len(process.everything()[lab.KEYS[0]]) == sequence
    process.store.close()


def block_writes(process, monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Return events: a write has begun; it may go on."""
    begun, may_go_on = threading.Event(), threading.Event()
    write = process.store._blocks.write

    def slow(*args: object) -> None:
        begun.set()
        assert may_go_on.wait(30)
        write(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(process.store._blocks, "write", slow)
    return begun, may_go_on


def test_everything_can_be_read_during_a_flush_and_later_values_win(lab, process, monkeypatch):
    begun, may_go_on = block_writes(process, monkeypatch)
    process.store.apply(process.batch(lab.scrape(NOW, 1.0)), 0)
    process.clock.advance(1800)
    process.store.tick(process.clock.now_ms())
    assert begun.wait(30)
    assert process.everything() == {lab.KEYS[i]: {NOW: 1.0} for i in (0, 1, 2)}
    process.store.apply(process.batch(lab.scrape(NOW, 2.0, (0,))), 1)
    expected = {lab.KEYS[0]: {NOW: 2.0}, lab.KEYS[1]: {NOW: 1.0}, lab.KEYS[2]: {NOW: 1.0}}
    assert process.everything() == expected
    may_go_on.set()
    process.store._heads.wait_for_write(NOW)
    assert process.everything() == expected
    assert process.store.cursor() == 1


def test_a_full_disk_keeps_samples_readable_refuses_new_ones_and_heals(lab, tmp_path: Path, monkeypatch):
    process = lab.Process(tmp_path, head_bytes=2000)
    store, real_write = process.store, process.store._blocks.write

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store._blocks, "write", full)
    sequence = 0
    while store.accepting:
        store.apply(process.batch(lab.scrape(NOW + sequence, sequence)), sequence)
        store.tick(NOW)
        store._heads.wait_for_write(NOW)
        sequence += 1
        assert sequence < 4000 / 24, "memory is bounded"
    with pytest.raises(DiskFull, match="No space left on device"):
        store.check_space()
    status = store.status()
    assert (status.status, status.head_samples) == ("full", 3 * sequence)
    assert len(process.everything()[lab.KEYS[0]]) == sequence
    assert process.telemetry.value("metricsmith_store_flushes_total", result="failed") == 1, "backs off"

    monkeypatch.setattr(store._blocks, "write", real_write)
    store.tick(NOW + 1000)
    assert not store.accepting, "too early for the next try"
    store.tick(NOW + 5000)
    store._heads.wait_for_write(NOW)
    assert store.accepting
    assert store.status().status == "connected"
    assert len(process.everything()[lab.KEYS[0]]) == sequence
    store.close()
    again = lab.Process(tmp_path)
    assert again.store.cursor() == sequence
    assert len(again.everything()[lab.KEYS[0]]) == sequence
    again.store.close()


def test_a_failure_that_is_no_full_disk_is_an_error(lab, process, monkeypatch):
    def broken(*args: object) -> None:
        raise ValueError("defect")

    monkeypatch.setattr(process.store._blocks, "write", broken)
    process.store.apply(process.batch(lab.scrape(NOW, 1.0)), 0)
    process.flush()
    status = process.store.status()
    assert (status.status, status.detail) == ("error", "defect")
    assert process.everything() == {lab.KEYS[i]: {NOW: 1.0} for i in (0, 1, 2)}


def test_a_replay_that_nobody_ticks_keeps_memory_bounded(lab, tmp_path: Path):
    process = lab.Process(tmp_path, head_bytes=2000)
    for sequence in range(1000):
        process.store.apply(process.batch(lab.scrape(NOW + sequence, sequence)), sequence)
        assert process.store._heads.bytes < 3 * 2000 + 100
    assert len(process.everything()[lab.KEYS[0]]) == 1000
    process.store.close()


def test_a_flushed_head_is_forgotten_while_its_layouts_live_on(lab, process):
    for sequence in range(3):
        process.store.apply(process.batch(lab.scrape(NOW + sequence, 1.0)), sequence)
    head = weakref.ref(process.store._heads.present[0])
    slab_values = weakref.ref(process.store._heads.present[0]._slabs[0]._chunks[0])
    process.flush()
    gc.collect()
    assert process.layouts
    assert head() is None
    assert slab_values() is None


def test_the_disk_limit_refuses_samples(lab, tmp_path: Path):
    process = lab.Process(tmp_path, max_disk=100)
    process.store.check_space()
    process.store.apply(process.batch(lab.scrape(NOW, 1.0)), 0)
    process.store.close()
    again = lab.Process(tmp_path, max_disk=100)
    with pytest.raises(DiskFull, match=r"storage\.max_disk"):
        again.store.check_space()
    assert again.store.status().status == "full"
    again.store.close()


def test_batches_without_samples_move_the_cursor(lab, tmp_path: Path):
    process = lab.Process(tmp_path)
    process.store.apply(process.batch(((), "x", NOW, (), None)), 0)
    process.store.apply(process.batch(((), None, (), (), None)), 1)
    process.store.close()
    again = lab.Process(tmp_path)
    assert again.store.cursor() == 2
    again.store.close()
