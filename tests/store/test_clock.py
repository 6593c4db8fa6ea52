"""Which times are accepted and kept, by clocks that are right, jump or go back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.model.steady_time import believable_end
from metricsmith.store.admission import FUTURE_MS

HOUR = 3_600_000
NOW = 1_700_000_000_000
RETENTION = 48 * HOUR
YEAR = 365 * 24 * HOUR


def housekeeping(process, hours: float = 0, ticks: int = 1) -> None:
    """Let time pass, with retention at each tick."""
    for _ in range(ticks):
        process.clock.advance(hours * 3600 / ticks)
        settle(process)  # what still runs would put off what is due now
        process.store.tick(process.clock.now_ms())
        settle(process)


def settle(process) -> None:
    if process.store._upkeep is not None:
        process.store._upkeep.result(30)
        process.store._end_upkeep(process.store._upkeep)


def test_times_outside_the_accepted_are_refused_and_counted_and_the_rest_goes_on(process, lab):
    times = (NOW - RETENTION, NOW - RETENTION - 1, NOW + FUTURE_MS, NOW + FUTURE_MS + 1)
    stale = (True, False, False, True)
    sent = process.batch(((0, 1, 2, 3), "x", times, (1.0, 2.0, 3.0, 4.0), stale))
    admitted = process.store.admit(sent)
    assert admitted.layout.ids.tolist() == sent.layout.ids[[0, 2]].tolist()
    assert admitted.layout.metadata == sent.layout.metadata
    assert (admitted.times().tolist(), admitted.stales().tolist()) == ([times[0], times[2]], [True, False])
    assert admitted.value[1] == 3.0
    for at in (NOW + 2 * FUTURE_MS, NOW - 2 * RETENTION):
        assert len(process.store.admit(process.batch(lab.scrape(at, 5.0)))) == 0
    assert (process.refused("too_old"), process.refused("too_far_in_future")) == (4, 4)
    good = process.batch(lab.scrape(NOW, 5.0))
    assert process.store.admit(good) is good


@pytest.mark.parametrize("clock_is_off", [-YEAR, -HOUR, HOUR, YEAR])
def test_what_was_accepted_is_readable_after_a_restart_with_any_clock(tmp_path, lab, clock_is_off):
    process = lab.Process(tmp_path, now_ms=NOW + clock_is_off)
    sent = [lab.scrape(NOW - 1000 * t, float(t)) for t in range(5)]
    for sequence, one in enumerate(sent):  # a replay: the journal took them before the restart
        process.store.apply(process.batch(one), sequence)
    wanted = {lab.KEYS[i]: {NOW - 1000 * t: float(t) for t in range(5)} for i in range(3)}
    assert process.everything() == wanted
    process.flush()
    assert process.everything() == wanted
    assert process.refused("too_old") + process.refused("too_far_in_future") == 0
    process.store.close()


def test_a_clock_that_jumps_ahead_for_hours_deletes_nothing_and_refuses_no_right_sample(process, lab, caplog):
    process.accept(lab.scrape(NOW, 1.0), 0)
    process.flush()
    housekeeping(process)
    process.clock.set_wall(NOW + YEAR)
    housekeeping(process, hours=20, ticks=40)
    assert process.everything() == {lab.KEYS[i]: {NOW: 1.0} for i in range(3)}
    right = NOW + 20 * HOUR
    process.accept(lab.scrape(right, 2.0), 1)
    process.accept(lab.scrape(right + YEAR, 3.0), 2)  # the agent's own, say: nobody else knows the time
    process.clock.set_wall(right)
    process.accept(lab.scrape(right + 1, 4.0), 3)
    housekeeping(process, hours=20, ticks=40)
    assert list(process.everything()[lab.KEYS[0]]) == [NOW, right, right + 1, right + YEAR]
    assert process.refused("too_old") + process.refused("too_far_in_future") == 0
    jumps = [r.getMessage() for r in caplog.records if r.levelname == "WARNING" and "the clock" in r.message]
    assert len(jumps) == 1, jumps
    assert f"{YEAR // 1000} s ahead" in jumps[0]
    assert len(process.store.admit(process.batch(lab.scrape(right + YEAR, 5.0)))) == 0


def test_a_clock_that_stays_ahead_for_a_day_is_believed(process, lab):
    process.accept(lab.scrape(NOW, 1.0), 0)
    process.flush()
    process.clock.set_wall(NOW + YEAR)
    housekeeping(process, hours=25, ticks=50)
    assert process.everything() == {}
    assert len(process.store.admit(process.batch(lab.scrape(NOW, 5.0)))) == 0


def test_a_start_with_a_clock_far_ahead_deletes_nothing(tmp_path, lab):
    process = lab.Process(tmp_path)
    process.accept(lab.scrape(NOW, 1.0), 0)
    process.store.close()
    again = lab.Process(tmp_path, now_ms=NOW + YEAR)
    housekeeping(again, hours=5, ticks=10)
    assert again.everything() == {lab.KEYS[i]: {NOW: 1.0} for i in range(3)}
    again.store.close()


@pytest.mark.parametrize("hours", [3, 40])
def test_a_clock_that_is_wrong_at_each_start_deletes_nothing(tmp_path, lab, hours):
    """As of a machine whose clock is set from the network only later: its own samples have both times."""
    process = lab.Process(tmp_path)
    times = [NOW + n * HOUR for n in range(hours)]
    for sequence, at in enumerate(times):
        process.accept(lab.scrape(at, 1.0), sequence)
        process.clock.advance(3600)
    process.clock.set_wall(NOW + YEAR)
    process.accept(lab.scrape(NOW + YEAR, 2.0), hours)
    process.store.close()
    again = lab.Process(tmp_path, now_ms=NOW + YEAR + HOUR)
    housekeeping(again)
    found = again.everything()
    assert list(found[lab.KEYS[0]]) == [*times, NOW + YEAR]
    again.store.close()


@given(
    lasts=st.lists(st.integers(0, 90), min_size=1, max_size=5),
    wrong=st.lists(st.sampled_from([-30 * YEAR, -YEAR, YEAR, 10 * YEAR]), unique=True),
)
def test_times_of_a_wrong_clock_are_no_end_of_history(lasts, wrong):
    """Parts of one history that is longer than a day; beside it an hour of each of some wrong clocks."""
    ends = [NOW + sum(lasts[: n + 1]) * HOUR for n in range(len(lasts))]
    parts = [(NOW - 48 * HOUR, NOW), *((end, end) for end in ends if end - NOW <= RETENTION)]
    jumps = [(NOW + off, NOW + off + HOUR) for off in wrong]
    assert believable_end([*jumps, *parts], RETENTION) == max(last for _, last in parts)
    assert believable_end([], RETENTION) is None


def test_samples_of_a_jump_do_not_hold_back_flushes_or_retention(process, lab):
    process.clock.set_wall(NOW + YEAR)
    process.accept(lab.scrape(NOW + YEAR, 1.0), 0)
    housekeeping(process)
    process.clock.set_wall(NOW)
    housekeeping(process)
    process.store._heads.wait_for_write(NOW)
    assert process.store.cursor() == 1, "not only when the clock is there again"
    process.accept(lab.scrape(NOW, 1.0), 1)
    process.flush()
    housekeeping(process, hours=3 * RETENTION / HOUR, ticks=300)
    assert process.everything() == {lab.KEYS[i]: {NOW + YEAR: 1.0} for i in range(3)}


def test_samples_beyond_the_retention_are_deleted(process, lab):
    process.accept(lab.scrape(NOW, 1.0), 0)
    process.flush()
    housekeeping(process, hours=3 * RETENTION / HOUR)
    assert process.everything() == {}
    assert process.store.series([], 0, 1 << 61) == []
