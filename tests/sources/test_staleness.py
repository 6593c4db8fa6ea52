"""When a series gets a staleness marker: as in Prometheus, and from what an observer can see."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.errors import DiskFull
from metricsmith.model.series import SeriesTable
from metricsmith.sources.plan import REPORT, Planner
from metricsmith.sources.samples import Explicit, Samples
from metricsmith.sources.settings import ScrapeConfig
from metricsmith.wire.exposition import Structure


class Shop:
    """A target whose next answers a test sets; None is a failure."""

    def __init__(self) -> None:
        self.body: str | None = ""

    async def __call__(self, _: web.Request) -> web.Response:
        return web.Response(status=500) if self.body is None else web.Response(text=self.body)


@pytest.fixture
def shop() -> Shop:
    return Shop()


def by_name(reading: dict[str, Any]) -> dict[str, Any]:
    """Readings of series that are no report, by metric name."""
    named = {series.partition("{")[0]: value for series, value in reading.items()}
    return {name: value for name, value in named.items() if name not in REPORT}


async def test_a_series_that_vanishes_is_marked_once(scraping, serve, shop):
    async with scraping(targets=[await serve(shop)]) as source:
        shop.body = "a 1\nb 2\nc NaN\n"
        assert by_name(await source.reading()) == {"a": 1, "b": 2, "c": "nan"}
        shop.body = "a 1\n"
        assert by_name(await source.reading()) == {"a": 1, "b": "stale", "c": "stale"}
        assert by_name(await source.reading()) == {"a": 1}
        shop.body = "a 1\nb 3\n"
        back = await source.reading()
        assert by_name(back) == {"a": 1, "b": 3}
        assert next(v for s, v in back.items() if s.startswith("scrape_series_added")) == 1


async def test_a_failed_scrape_marks_all_series_once(scraping, serve, shop):
    async with scraping(targets=[await serve(shop)]) as source:
        shop.body = "a 1\nb 2\n"
        good = await source.batch()
        shop.body = None
        assert by_name(await source.reading()) == {"a": "stale", "b": "stale"}
        assert by_name(await source.reading()) == {}
        shop.body = "a 1\nb 2\n"
        again = await source.batch()
        assert again.layout is good.layout
        assert again.stale is None
        assert again.value[-1] == 0, "series of the last good scrape are not new"


async def test_a_malformed_page_marks_all_series(scraping, serve, shop):
    async with scraping(targets=[await serve(shop)]) as source:
        shop.body = "a 1\n"
        await source.batch()
        shop.body = "a 1\n%%\n"
        assert by_name(await source.reading()) == {"a": "stale"}


async def test_markers_of_a_refused_batch_come_with_the_next_one(scraping, serve, shop):
    async with scraping(targets=[await serve(shop)]) as source:
        shop.body = "a 1\nb 2\n"
        await source.batch()
        shop.body = "a 1\n"
        source.recorder.refuse = DiskFull("no space left")
        assert by_name(await source.reading()) == {"a": 1, "b": "stale"}
        source.recorder.refuse = None
        assert by_name(await source.reading()) == {"a": 1, "b": "stale"}
        assert by_name(await source.reading()) == {"a": 1}


async def test_series_with_timestamps_of_their_own_keep_them_and_get_no_marker(scraping, serve, shop):
    async with scraping(targets=[await serve(shop)]) as source:
        shop.body = "a 1 1234567\nb 2\n"
        batch = await source.batch()
        now = source.clock.now_ms()
        assert batch.times().tolist() == [1_234_567, now, *[now] * len(REPORT)]
        shop.body = "c 3 99\n"
        batch = await source.batch()
        assert by_name(source.recorder.read(batch)) == {"c": 3, "b": "stale"}
        now = source.clock.now_ms()
        assert batch.times().tolist() == [99, *[now] * len(REPORT), now]
        shop.body = None
        assert by_name(await source.reading()) == {}


async def test_timestamps_can_be_ignored(scraping, serve, shop):
    async with scraping(targets=[await serve(shop)], honor_timestamps=False) as source:
        shop.body = "a 1 1234567\n"
        assert (await source.batch()).time_ms == source.clock.now_ms()
        shop.body = ""
        assert by_name(await source.reading()) == {"a": "stale"}


async def test_stopping_the_agent_marks_nothing(scraping, serve, shop):
    async with scraping(targets=[await serve(shop)]) as source:
        shop.body = "a 1\n"
        await source.batch()
    assert source.recorder.waiting() == 0


NAMES = "abcd"
SCRAPE = st.one_of(
    st.none(),
    st.dictionaries(st.sampled_from(NAMES), st.sampled_from([None, 5]), max_size=4),
)


@given(scrapes=st.lists(st.tuples(SCRAPE, st.booleans()), max_size=12))
def test_markers_end_exactly_what_an_observer_believes_alive(scrapes):
    """Whatever comes, and whatever the journal refuses: an observer that keeps the last state of each
    series believes those alive that the last accepted scrape showed without a timestamp."""
    series = SeriesTable()
    planner = Planner(ScrapeConfig(targets=("h:1",)), series, b"\xffjob\xfej", "stream")
    samples = Samples(planner)
    alive: set[str] = set()
    for number, (scrape, accepted) in enumerate(scrapes):
        if scrape is None:
            outgoing = samples.failure(number, 0.0)
        else:
            plan = planner.plan(Structure(tuple(name.encode() for name in scrape), {}))
            given_times = np.array([t is not None for t in scrape.values()], dtype=np.bool_)
            explicit = Explicit(np.zeros(len(scrape), dtype=np.int64), given_times)
            outgoing = samples.success(
                number, plan, np.ones(len(scrape)), explicit if given_times.any() else None, 0.0
            )
        if not accepted:
            continue
        samples.accepted(outgoing)
        batch = outgoing.batch
        named = [series.labels(i)["__name__"] for i in batch.layout.ids.tolist()]
        ended = {n for n, s in zip(named, batch.stales().tolist(), strict=True) if s}
        shown = set(scrape or ())
        assert ended == alive - shown
        assert len(named) == len(set(named))
        alive = {name for name in shown if scrape[name] is None}
