"""History: filled, pruned, bounded, and there again after a restart."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest

from metricsmith.model.state import MemoryState
from metricsmith.sources.kafka.history import History, Key
from metricsmith.sources.kafka.lag import UNKNOWN, Past, Present, since_fall, time_lag

HOUR, MINUTE = 3_600_000, 60_000
START = 1_700_000_000_000


def column(history: History, key: Key) -> dict[int, int]:
    times, offsets = history.past([key])
    return {int(t) - START: int(o) for t, o in zip(times, offsets[0], strict=True) if o != UNKNOWN}


def record(history: History, at: int, **offsets: int) -> None:
    history.record(START + at, [(k,) for k in offsets], np.array(list(offsets.values()), dtype=np.int64))


def test_readings_leave_with_the_window() -> None:
    history = History("ends", HOUR)
    for minute in range(100):
        record(history, minute * MINUTE, a=minute)
    assert column(history, ("a",)) == {m * MINUTE: m for m in range(39, 100)}


@pytest.mark.parametrize(("window", "every"), [(HOUR, 5_000), (24 * HOUR, 30_000), (7 * 24 * HOUR, 60_000)])
def test_readings_are_thinned_as_they_grow_old(window: int, every: int) -> None:
    history = History("ends", window)
    last = window // every * every
    for at in range(0, last + 1, every):
        record(history, at, a=at)
    kept = sorted(column(history, ("a",)))
    assert len(kept) <= 160
    assert kept[-1] == last and kept[0] <= window / 60
    for before, after in pairwise(kept):
        assert after - before <= max(every, min(window / 60 + every, (last - after) / 7))


@pytest.mark.parametrize("window", [HOUR, 24 * HOUR, 7 * 24 * HOUR])
@pytest.mark.parametrize("restart", [False, True])
def test_the_age_of_a_record_is_right_whatever_the_window(window: int, restart: bool) -> None:
    """A record every 20 minutes, seen within 30 s; the group takes none of the last one's."""
    every, state = 30_000, MemoryState()
    ends, step = History("ends", window), 20 * MINUTE // every
    for number in range(10 * step):
        record(ends, number * every, a=number // step)
        ends.save(state)
        if restart and number % 100 == 0:
            ends = History("ends", window)
            assert ends.restore(state, START + number * every) == 0
        if number >= 8 * step:
            times, offsets = ends.past([("a",)])
            for behind in (1, 2):
                position = number // step - behind
                now = Present(*(np.array([at]) for at in (position, 0, number // step, True, False)))
                seconds, at_least = time_lag(Past(times, offsets, offsets), now, since_fall(offsets))
                true = (number - (position + 1) * step) * every / 1000
                assert not at_least
                assert true <= seconds <= true + max(30, true / 7)


def test_partitions_come_and_go() -> None:
    history = History("ends", HOUR)
    record(history, 0, a=1)
    record(history, MINUTE, b=2, a=3)
    history.keep_only([("b",)])
    record(history, 2 * MINUTE, c=5, b=4)
    assert column(history, ("a",)) == {}
    assert column(history, ("b",)) == {MINUTE: 2, 2 * MINUTE: 4}
    assert column(history, ("c",)) == {2 * MINUTE: 5}


def test_a_clock_that_was_set_back_leaves_times_in_order() -> None:
    history = History("ends", HOUR)
    for minute in (0, 1, 2, 3, 1):
        record(history, minute * MINUTE, a=minute)
    assert column(history, ("a",)) == {0: 0, MINUTE: 1}


def test_the_table_is_bounded_and_says_what_it_left_out() -> None:
    history = History("ends", HOUR, max_cells=80)
    keys: list[Key] = [("t", n) for n in range(12)]
    for minute in range(60):
        history.record(START + minute * MINUTE, keys, np.arange(12, dtype=np.int64))
    assert history.columns == 10
    assert history.columns * len(history) <= 80 + 2 * 10
    assert history.refused == 2 * 60


def test_a_restart_goes_on() -> None:
    state, history = MemoryState(), History("ends", HOUR)
    pick = random.Random(3)
    for minute in range(90):
        if minute == 40:
            history.keep_only([("b",)])
        record(
            history,
            minute * MINUTE,
            **{k: pick.randrange(2**62) for k in "abcd"[minute % 2 : 3 + minute % 2]},
        )
        if pick.random() < 0.5:
            history.save(state)
    history.save(state)
    again = History("ends", HOUR)
    assert again.restore(state, START + 90 * MINUTE) == 0
    for key in "abcd":
        expected = column(history, (key,))
        assert column(again, (key,)) == {at: o for at, o in expected.items() if at >= 30 * MINUTE}
    again.save(state)
    assert len(state.items("ends/reading")) == len(again)
    assert len(state.items("ends/columns")) == 1


def test_tables_do_not_see_one_another() -> None:
    state = MemoryState()
    for kind, value in (("ends", 1), ("committed", 2)):
        history = History(kind, HOUR)
        record(history, 0, a=value)
        record(history, MINUTE, a=value)
        history.save(state)
    again = History("committed", HOUR)
    again.restore(state, START + MINUTE)
    assert column(again, ("a",)) == {0: 2, MINUTE: 2}


@pytest.mark.parametrize("damage", [b"", b"\x01", b"\x02" + bytes(12), b"\x01" + bytes(12) + b"no zstd"])
def test_damage_costs_the_reading_and_no_more(damage: bytes) -> None:
    state, history = MemoryState(), History("ends", HOUR)
    for minute in range(5):
        record(history, minute * MINUTE, a=minute)
    history.save(state)
    name = state.items("ends/reading")[1][0]
    state.commit({name: damage})
    again = History("ends", HOUR)
    assert again.restore(state, START + 5 * MINUTE) == 1
    assert column(again, ("a",)) == {m * MINUTE: m for m in (0, 2, 3, 4)}
    again.save(state)
    assert name not in dict(state.items())


def test_a_commit_is_small_and_only_what_is_new() -> None:
    class Counting(MemoryState):
        written = 0

        def commit(self, put, delete=()):  # type: ignore[no-untyped-def]
            self.written = sum(map(len, put.values()))
            super().commit(put, delete)

    state, history = Counting(), History("ends", HOUR)
    keys: list[Key] = [("topic", n) for n in range(2000)]
    offsets = np.random.default_rng(1).integers(0, 10**7, 2000)
    for minute in range(5):
        history.record(START + minute * MINUTE, keys, offsets + minute)
        history.save(state)
    assert state.written < 4 * 2000
