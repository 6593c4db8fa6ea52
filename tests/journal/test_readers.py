"""Readers: cursors outlive restarts, the tail is followed without polling, trimming waits for the slowest."""

from __future__ import annotations

import asyncio
import errno
import os

import numpy as np
import pytest

from metricsmith.errors import DiskFull
from metricsmith.model.batch import Batch


async def fill(bench, journal, count: int) -> None:
    layout = bench.layout(range(200))
    for i in range(count):
        await journal.append(Batch(layout, i, np.random.default_rng(i).random(200)))


async def test_a_reader_resumes_behind_what_it_committed(bench):
    journal = bench.open(segment_size=4096)
    reader = journal.reader("oci")
    await fill(bench, journal, 20)
    assert [s for s, _ in await reader.read(max_samples=1000)] == list(range(5))
    await reader.commit(5)
    assert [s for s, _ in await reader.read(max_samples=1)] == [5]
    await journal.close()
    bench.restart()

    journal = bench.open(segment_size=4096)
    reader = journal.reader("oci")
    await fill(bench, journal, 3)
    got: list[int] = []
    while len(got) < 18:
        got += [s for s, _ in await reader.read()]
    assert got == list(range(5, 23))
    await journal.close()


async def test_a_new_reader_begins_now_and_is_told_of_news(bench):
    journal = bench.open(segment_size=4096)
    await fill(bench, journal, 10)
    reader = journal.reader("new")
    waiting = asyncio.create_task(reader.read())
    await asyncio.sleep(0)
    assert not waiting.done()
    for expected in range(10, 40):
        await fill(bench, journal, 1)
        ((sequence, batch),) = await waiting
        assert sequence == expected
        assert bench.keys(batch) == bench.keys(Batch(bench.layout(range(200)), 0, batch.value))
        waiting = asyncio.create_task(reader.read())
    waiting.cancel()
    await journal.close()


async def test_trimming_waits_for_the_slowest(bench):
    journal = bench.open(segment_size=4096)
    one, two = journal.reader("one"), journal.reader("two")
    await fill(bench, journal, 30)
    everything = len(bench.segments())
    assert everything > 4
    await one.commit(30)
    journal.set_cursor("store", 30)
    assert journal.trim() == 0
    await two.commit(11)
    assert journal.trim() > 0
    assert journal.first_sequence <= 11
    assert len(bench.segments()) < everything
    assert [s for s, _ in journal.replay(11)] == list(range(11, 30))
    journal.set_cursor("store", 3)
    await two.commit(30)
    assert journal.trim() == 0
    journal.set_cursor("store", 30)
    journal.trim()
    assert len(bench.segments()) == 1
    assert journal.size_bytes() == bench.segments()[0].stat().st_size
    await journal.close()


async def test_what_is_left_of_the_past_can_be_read_and_what_is_not_is_no_damage(bench):
    journal = bench.open(segment_size=4096)
    await fill(bench, journal, 30)
    times = [batch.time_ms for batch in journal.past(-5, 20)]
    assert times == list(range(20))
    under_way = journal.past(0, 30)
    assert next(under_way).time_ms == 0
    journal.set_cursor("store", 30)
    assert journal.trim() > 0
    left = [batch.time_ms for batch in under_way]
    assert left == sorted(left) and left[-1] == 29 and len(left) < 29
    assert [batch.time_ms for batch in journal.past(0, 30)] == list(range(journal.first_sequence, 30))
    assert list(journal.past(30, 40)) == []
    assert bench.damaged("missing") == bench.damaged("trimmed") == 0
    await journal.close()


async def test_without_any_cursor_nothing_is_trimmed(bench):
    journal = bench.open(segment_size=4096)
    await fill(bench, journal, 10)
    assert journal.trim() == 0
    await journal.close()


async def test_a_reader_whose_segments_are_gone_is_told_how_much_it_misses(bench):
    journal = bench.open(segment_size=4096)
    journal.reader("late")
    await fill(bench, journal, 30)
    await journal.close()
    bench.restart()
    journal = bench.open()
    journal.set_cursor("store", 30)
    assert journal.trim() == 0  # it holds what it needs before it is open, too
    await journal.close()
    for segment in bench.segments()[:2]:
        segment.unlink()
    bench.restart()
    journal = bench.open()
    reader = journal.reader("late")
    assert reader.cursor == journal.first_sequence > 0
    assert bench.damaged("trimmed") == journal.first_sequence
    await journal.close()


async def test_a_damaged_cursor_reads_everything_again(bench):
    journal = bench.open()
    journal.reader("x")
    await fill(bench, journal, 3)
    await journal.close()
    (bench.folder / "x.cursor").write_text("\x00\x00")
    bench.restart()
    journal = bench.open()
    assert len(await journal.reader("x").read()) == 3
    assert bench.damaged("cursor") == 1
    await journal.close()


async def test_a_cursor_beyond_the_end_moves_the_sequence(bench):
    """After a power cut without sync the store may have more than the journal: no number is given twice."""
    journal = bench.open()
    await fill(bench, journal, 3)
    journal.set_cursor("store", 10)
    await fill(bench, journal, 2)
    assert journal.next_sequence == 12
    assert [s for s, _ in journal.replay(10)] == [10, 11]
    assert bench.damaged("tail_lost") == 7
    await journal.close()
    bench.restart()
    assert [s for s, _ in bench.open().replay(0)] == [0, 1, 2, 10, 11]


@pytest.mark.parametrize("name", ["", "..", "a/b", "ü", "x" * 200])
async def test_reader_names_are_file_names(bench, name):
    journal = bench.open()
    with pytest.raises(ValueError, match="reader name"):
        journal.reader(name)
    await journal.close()


async def test_a_cancelled_read_loses_nothing(bench):
    journal = bench.open(segment_size=4096)
    reader = journal.reader("impatient")
    await fill(bench, journal, 60)
    got: list[int] = []
    while len(got) < 60:
        reading = asyncio.create_task(reader.read(max_samples=1000))
        for _ in range(len(got) % 3):
            await asyncio.sleep(0)
        if len(got) % 2 == 0 and not reading.done():
            reading.cancel()
        got += [s for s, _ in await (reader.read(max_samples=200) if reading.cancelling() else reading)]
    assert got == list(range(60))
    await journal.close()


async def test_a_closed_reader_still_holds_what_it_has_not_read(bench):
    journal = bench.open(segment_size=4096)
    reader = journal.reader("gone")
    journal.set_cursor("store", 0)
    with pytest.raises(ValueError, match="not open"):
        journal.reader("gone")
    await fill(bench, journal, 30)
    journal.set_cursor("store", 30)
    await reader.close()
    assert journal.trim() == 0
    reader = journal.reader("gone")
    assert len(await reader.read()) == 30
    await reader.commit(30)
    assert journal.trim() > 0
    await journal.close()


async def test_a_full_disk_keeps_the_old_cursor(bench, monkeypatch):
    journal = bench.open()
    reader = journal.reader("oci")
    await fill(bench, journal, 3)
    await reader.commit(1)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DiskFull):
            await reader.commit(2)
        other = journal.reader("other")
        assert other.cursor == 3
    assert bench.telemetry.value("metricsmith_journal_errors_total", reason="cursor") == 1
    await journal.close()
    bench.restart()
    assert bench.open().reader("oci").cursor == 1
