"""When a target is scraped: its own phase, no drift, no pile-up."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.model.schedule import Schedule
from metricsmith.sources.endpoint import Endpoint


def endpoint(number: int, interval_ms: int = 15_000) -> Endpoint:
    return Endpoint(f"http://h:{number}/metrics", b"\xffjob\xfej", interval_ms, 10_000)


def test_phases_are_stable_and_spread():
    phases = [endpoint(n).offset_ms() for n in range(1000)]
    assert phases == [endpoint(n).offset_ms() for n in range(1000)]
    in_each_third = [sum(third * 5000 <= p < (third + 1) * 5000 for p in phases) for third in range(3)]
    assert min(in_each_third) > 250


@given(
    interval_ms=st.integers(10, 10**6),
    offset_ms=st.integers(0, 10**6),
    now_ms=st.integers(0, 10**13),
    late_ms=st.integers(-3, 10**7),
)
def test_the_following_due_time_is_in_phase_and_the_latest_that_is_not_over(
    interval_ms, offset_ms, now_ms, late_ms
):
    schedule = Schedule(interval_ms, offset_ms)
    due = schedule.first(now_ms)
    assert now_ms <= due < now_ms + interval_ms
    now = due + late_ms
    following, missed = schedule.following(due, now)
    assert (following - offset_ms) % interval_ms == 0
    assert following == due + (missed + 1) * interval_ms, "each due time is done or counted as missed"
    assert following > now - interval_ms, "no pile-up"
    assert missed == 0 or following <= now, "nothing is skipped that could still be done"


async def test_scrapes_keep_their_phase_over_restarts(scraping, serve):
    url = await serve("a 1\n")
    phases = set()
    for lost_s in (0, 3.3, 7.123):
        async with scraping(targets=[url]) as source:
            source.clock.advance(lost_s)
            phases |= {(await source.batch()).time_ms % 15_000 for _ in range(2)}
    assert len(phases) == 1


async def test_a_timer_that_is_a_little_late_does_not_move_the_timestamp(scraping, serve):
    async with scraping(targets=[await serve("a 1\n")]) as source:
        first = await source.batch()
        await source.clock.sleeping()
        source.clock.advance(source.clock.next_wake_s() + 0.010)
        second = await source.recorder.batch()
        assert second.time_ms - first.time_ms == 15_000
        await source.clock.sleeping()
        source.clock.advance(source.clock.next_wake_s() + 0.011)
        third = await source.recorder.batch()
        assert third.time_ms - second.time_ms == 15_011
        assert (await source.batch()).time_ms - second.time_ms == 30_000, "no drift"


async def test_an_overrun_starts_the_next_scrape_at_once_and_skips_whole_intervals(scraping, serve):
    entered, release = asyncio.Event(), asyncio.Event()

    async def held(_):
        entered.set()
        await release.wait()
        return web.Response(text="a 1\n")

    async with scraping(targets=[await serve(held)], interval="60s", timeout="60s") as source:
        await source.due()
        await entered.wait()
        start = source.clock.now_ms()
        source.clock.advance(200)
        release.set()
        assert (await source.recorder.batch()).time_ms == start
        assert (await source.recorder.batch()).time_ms == start + 200_000
        assert source.counted("metricsmith_scrapes_skipped_total", source="shop") == 2
        assert (await source.batch()).time_ms == start + 240_000


async def test_a_wall_clock_set_back_does_not_stop_the_scraping(scraping, serve):
    async with scraping(targets=[await serve("a 1\n")]) as source:
        await source.batch()
        await source.clock.sleeping()
        source.clock.set_wall(source.clock.now_ms() - 3_600_000)
        await source.batch()
        await source.clock.sleeping()
        assert source.clock.next_wake_s() <= 15


async def test_a_timer_that_is_a_little_early_scrapes_once(scraping, serve, monkeypatch):
    """Event loops round: a sleep may end a millisecond before its time."""
    async with scraping(targets=[await serve("a 1\n")]) as source:
        times = [(await source.batch()).time_ms]
        for _ in range(3):
            await source.clock.sleeping()
            source.clock.set_wall(source.clock.now_ms() - 1)
            times.append((await source.batch()).time_ms)
        assert [b - a for a, b in pairwise(times)] == [15_000] * 3
