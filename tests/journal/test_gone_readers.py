"""A reader that nobody opens holds the journal for a day, whatever happens in between."""

from __future__ import annotations

import numpy as np

from metricsmith.journal import Journal, JournalConfig
from metricsmith.journal.closed import HELD_MS
from metricsmith.model.batch import Batch
from metricsmith.testing.clock import FakeClock

HOUR_S = 3600


class Days:
    """A journal whose readers come and go while days pass."""

    def __init__(self, bench) -> None:
        self.bench, self.clock = bench, FakeClock()
        self.journal = self.open()

    def open(self) -> Journal:
        config = JournalConfig(segment_size=4096, sync="never")
        return Journal(self.bench.folder, self.bench.series, self.bench.telemetry, self.clock, config)

    async def restart(self) -> None:
        await self.journal.close()
        self.bench.restart()
        self.journal = self.open()

    async def fill(self, count: int) -> None:
        layout = self.bench.layout(range(200))
        for number in range(count):
            await self.journal.append(Batch(layout, number, np.random.default_rng(number).random(200)))
        self.journal.set_cursor("store", self.journal.next_sequence)


async def test_it_is_dropped_after_a_day_over_restarts_and_counted(bench):
    days = Days(bench)
    reader = days.journal.reader("gone")
    await days.fill(30)
    await reader.commit(4)
    await days.restart()
    for _ in range(4):
        days.clock.advance(6 * HOUR_S - 1)
        assert await days.journal.drop_gone() == []
        days.journal.trim()
        assert days.journal.first_sequence <= 4
        (gone,) = days.journal.gone
        assert (gone.name, gone.cursor) == ("gone", 4)
        await days.restart()
        days.journal.set_cursor("store", 30)
    days.clock.advance(6 * HOUR_S + 3)
    (lost,) = await days.journal.drop_gone()
    assert (lost.reader, lost.reason, lost.begin, lost.end) == ("gone", "removed", 4, 30)
    assert (lost.samples, lost.events) == (26 * 200, 0)
    assert days.journal.gone == [] and days.journal.trim() > 0
    assert not (bench.folder / "gone.cursor").exists()
    assert days.journal.reader("gone").cursor == 30  # new
    await days.journal.close()


async def test_one_that_comes_back_goes_on_and_later_has_a_whole_day_again(bench):
    days = Days(bench)
    reader = days.journal.reader("back")
    await days.fill(30)
    await reader.commit(7)
    await reader.close()
    assert await days.journal.drop_gone() == []
    days.clock.advance(HELD_MS / 1000 - 1)
    await days.restart()
    reader = days.journal.reader("back")
    assert reader.cursor == 7 and await days.journal.drop_gone() == [] and days.journal.gone == []
    await reader.close()
    days.clock.advance(HOUR_S)
    await days.restart()
    assert await days.journal.drop_gone() == []
    (gone,) = days.journal.gone
    assert gone.until_ms == days.clock.now_ms() + HELD_MS
    await days.journal.close()


async def test_a_clock_that_was_set_back_does_not_make_the_day_longer(bench):
    days = Days(bench)
    await days.journal.reader("gone").close()
    await days.journal.drop_gone()
    days.clock.set_wall(days.clock.now_ms() - 1000 * HELD_MS)
    await days.journal.drop_gone()
    days.clock.advance(HELD_MS / 1000)
    await days.journal.drop_gone()
    assert days.journal.gone == []
    await days.journal.close()


async def test_one_whose_file_is_damaged_holds_all_there_is(bench):
    days = Days(bench)
    days.journal.reader("gone")
    await days.fill(30)
    await days.journal.close()
    (bench.folder / "gone.cursor").write_text("4\nleft over\n")
    bench.restart()
    days.journal = days.open()
    days.journal.set_cursor("store", 30)
    assert days.journal.trim() == 0
    await days.journal.close()
