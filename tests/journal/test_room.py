"""A journal has a largest size: what is given up for it is the slowest reader's alone, and is counted."""

from __future__ import annotations

import asyncio
import random

import numpy as np
import pytest

from metricsmith.model.batch import Batch, event_batch
from metricsmith.model.events import Event

SMALL = {"segment_size": 4096, "max_size": 16384}
SAMPLES = 200


async def fill(bench, journal, count: int) -> None:
    layout = bench.layout(range(SAMPLES))
    for _ in range(count):
        at = journal.next_sequence
        await journal.append(Batch(layout, at, np.random.default_rng(at).random(SAMPLES)))


async def read_all(reader) -> list[int]:
    got: list[int] = []
    while reader._tail.next_sequence < reader._committed():
        got += [s for s, _ in await reader.read()]
    return got


async def test_only_the_slowest_is_moved_and_only_as_far_as_needed(bench):
    journal = bench.open(**SMALL)
    slow, middle, quick = (journal.reader(name) for name in ("slow", "middle", "quick"))
    journal.set_cursor("store", 0)
    await fill(bench, journal, 40)
    journal.set_cursor("store", 40)
    await middle.commit(35)
    await quick.commit(40)
    before = journal.size_bytes()
    (*_, last) = given_up = await journal.make_room()
    assert before > 16384 >= journal.size_bytes() > 16384 - 4096 - 2048
    assert {each.reader for each in given_up} == {"slow"} and {each.reason for each in given_up} == {
        "expired"
    }
    assert (given_up[0].begin, last.end) == (0, journal.first_sequence) and slow.cursor == last.end < 35
    assert sum(each.samples for each in given_up) == last.end * SAMPLES
    assert (middle.cursor, quick.cursor) == (35, 40)
    assert await read_all(slow) == list(range(last.end, 40))
    assert await journal.make_room() == []
    await journal.close()
    bench.restart()
    assert bench.open(**SMALL).reader("slow").cursor == last.end
    assert bench.damaged("trimmed") == 0


async def test_the_store_is_never_moved(bench):
    journal = bench.open(**SMALL)
    journal.reader("slow")
    journal.set_cursor("store", 0)
    await fill(bench, journal, 40)
    assert await journal.make_room() == []
    assert journal.first_sequence == 0 and journal.size_bytes() > 16384
    await journal.close()


async def test_what_is_read_or_being_read_is_not_given_up(bench):
    journal = bench.open(**SMALL)
    reader = journal.reader("slow")
    await fill(bench, journal, 40)
    journal.set_cursor("store", 40)
    held = [s for s, _ in await reader.read(max_samples=5 * SAMPLES)]
    under_way = asyncio.create_task(reader.read(max_samples=3 * SAMPLES))
    await asyncio.sleep(0)
    given_up = await journal.make_room()
    held += [s for s, _ in await under_way]
    assert held == list(range(8))
    assert (given_up[0].begin, given_up[-1].end) == (8, journal.first_sequence)
    assert sum(each.samples for each in given_up) == (journal.first_sequence - 8) * SAMPLES
    assert held + await read_all(reader) == [*range(8), *range(journal.first_sequence, 40)]
    await reader.commit(8)  # what was held is done: nothing moves back
    assert reader.cursor == journal.first_sequence
    await journal.close()


async def test_events_and_samples_are_counted_apart_after_a_restart_too(bench):
    journal = bench.open(**SMALL)
    journal.reader("slow")
    for number in range(5):
        await journal.append(event_batch([Event(number, "a", "c"), Event(number, "b", "c")], number))
    await fill(bench, journal, 40)
    await journal.close()
    bench.restart()
    journal = bench.open(**SMALL)
    journal.set_cursor("store", 45)
    given_up = await journal.make_room()  # the reader is not open
    assert sum(each.events for each in given_up) == 10
    assert sum(each.samples for each in given_up) == (given_up[-1].end - 5) * SAMPLES
    assert journal.reader("slow").cursor == given_up[-1].end
    await journal.close()


async def test_a_full_disk_does_not_keep_the_journal_large(bench, monkeypatch):
    journal = bench.open(**SMALL)
    reader = journal.reader("slow")
    await fill(bench, journal, 40)
    journal.set_cursor("store", 40)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("metricsmith.journal.cursor_file.sync_folder", full)
        given_up = await journal.make_room()
    assert given_up[-1].end == journal.first_sequence == reader.cursor
    assert journal.size_bytes() <= 16384
    await journal.close()


@pytest.mark.parametrize("seed", range(4))
async def test_every_batch_is_read_once_or_given_up_once(bench, seed):
    """Readers of any speed, a bound that is always too small, restarts: nothing is unaccounted for."""
    chance = random.Random(seed)
    journal, got, lost = bench.open(**SMALL), {"a": [], "b": []}, {"a": 0, "b": 0}
    readers = {name: journal.reader(name) for name in got}
    for _ in range(60):
        await fill(bench, journal, chance.randrange(8))
        journal.set_cursor("store", journal.next_sequence)
        name = chance.choice(["a", "a", "a", "b"])
        reading = None
        if readers[name]._tail.next_sequence < journal.next_sequence:
            reading = asyncio.create_task(readers[name].read(chance.randrange(1, 3000)))
            await asyncio.sleep(0)
        for each in await journal.make_room():
            lost[each.reader] += each.samples
        if reading is not None:
            found = [s for s, _ in await reading]
            got[name] += found
            await readers[name].commit(found[-1] + 1)
        if chance.random() < 0.1 and all(r._tail.next_sequence == r.cursor for r in readers.values()):
            await journal.close()
            bench.restart()
            journal = bench.open(**SMALL)
            readers = {name: journal.reader(name) for name in got}
    for name, reader in readers.items():
        got[name] += await read_all(reader)
        assert got[name] == sorted(set(got[name]))
        assert len(got[name]) * SAMPLES + lost[name] == journal.next_sequence * SAMPLES
    assert lost["b"] and bench.damaged("trimmed") == bench.damaged("missing") == 0
    await journal.close()


def test_the_bound_has_room_for_two_segments(bench):
    with pytest.raises(ValueError, match="twice the segment_size"):
        bench.open(segment_size=1 << 20, max_size=1 << 20)
