"""A destination that fails in any way gets every sample, in order, whatever it speaks; the far end counts."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from metricsmith import registry
from metricsmith.delivery.line import Line
from metricsmith.model.labels import encode_labels
from metricsmith.testing.far_end import (
    TONGUES,
    FarEnd,
    Fault,
    Taken,
    answers_500,
    dies_before_answering,
    resets_at_once,
    resets_in_the_middle,
)
from metricsmith.testing.services import free_port

SERIES, ROUNDS, BUFFER = 40, 30, 150


class Shipping:
    """A journal, and a line from there to the far end; `start` opens one, as each start of an agent does."""

    def __init__(self, bench: Any, far: FarEnd, tongue: str, folder: Path) -> None:
        self.bench, self.far = bench, far
        self._cls = registry.load("sinks", TONGUES[tongue].sink)
        self._config = self._cls.Config(**TONGUES[tongue].at(far.url, folder))
        labels = [{"__name__": "m", "n": str(n), "service": "s"} for n in range(SERIES)]
        self._series = [bench.series.intern(encode_labels(each)) for each in labels]
        self._written = 0
        self.held: set[int] = set()

    def start(self) -> Line:
        self.bench.far = self._cls(self._config, self.bench.context)
        self.bench.far.open = True
        self.line: Line = self.bench.line(batch_size=64, workers=3, buffer=BUFFER)
        return self.line

    async def write(self, rounds: int) -> list[Taken]:
        now_ms = self.bench.clock.now_ms()
        numbers = range(self._written, self._written + rounds)
        self._written += rounds
        for number in numbers:
            await self.bench.put(self._series, now_ms + number, "stream" if number % 3 else None)
            await self.bench.make_room()
            self.held.add(self.line.status().buffered)
        return [(str(n), now_ms + number) for number in numbers for n in range(SERIES)]

    async def pass_time(self, seconds: int) -> None:
        for _ in range(seconds):
            await asyncio.sleep(0.001)
            self.bench.clock.advance(1)
            self.held.add(self.line.status().buffered)

    async def caught_up(self) -> None:
        def is_so() -> bool:
            status = self.line.status()
            self.held.add(status.buffered)
            return status.behind == 0

        await self.bench.until(is_so, 0.5)

    def in_order(self) -> bool:
        """Return whether each series came in the order of its times, once what came again is left out."""
        first = list(dict.fromkeys(self.far.taken))
        by_series: dict[str, list[int]] = {}
        for name, time_ms in first:
            by_series.setdefault(name, []).append(time_ms)
        return all(times == sorted(times) for times in by_series.values())


@pytest.fixture
async def far(bench: Any) -> AsyncIterator[FarEnd]:
    found = FarEnd(free_port(), bench.clock.now_ms)
    yield found
    await found.stop()


@pytest.fixture(params=TONGUES)
def shipping(bench: Any, far: FarEnd, request: pytest.FixtureRequest, tmp_path: Path) -> Shipping:
    return Shipping(bench, far, request.param, tmp_path)


@pytest.mark.parametrize("fault", [None, answers_500, resets_at_once, resets_in_the_middle])
async def test_every_sample_once_and_in_order(far: FarEnd, shipping: Shipping, fault: Fault | None) -> None:
    far.fault = fault
    await far.start()
    shipping.start()
    sent = await shipping.write(ROUNDS)
    await shipping.caught_up()
    assert Counter(far.taken) == Counter(sent)
    assert shipping.in_order()
    assert max(shipping.held) <= BUFFER + SERIES


async def test_one_that_takes_and_dies_before_it_answers_gets_some_twice(
    far: FarEnd, shipping: Shipping
) -> None:
    far.fault = dies_before_answering
    await far.start()
    shipping.start()
    sent = await shipping.write(ROUNDS)
    await shipping.caught_up()
    assert set(far.taken) == set(sent)
    assert len(far.taken) > len(sent)
    assert shipping.in_order()


async def test_one_that_is_down_all_the_time_gets_all_when_it_is_up(far: FarEnd, shipping: Shipping) -> None:
    line = shipping.start()
    sent = await shipping.write(ROUNDS)
    await shipping.pass_time(100)
    await shipping.bench.until(lambda: line.status().retries > 3)
    status = line.status()
    assert (status.behind, status.state) == (ROUNDS, "retrying")
    assert status.last_error and not far.taken
    assert max(shipping.held) <= BUFFER + SERIES
    await far.start()
    await shipping.caught_up()
    assert Counter(far.taken) == Counter(sent)
    assert shipping.in_order() and line.status().circuit == "closed"


async def test_starts_and_stops_in_between_lose_nothing(far: FarEnd, shipping: Shipping) -> None:
    far.fault = answers_500
    await far.start()
    line, sent = shipping.start(), []
    for _ in range(5):
        sent += await shipping.write(ROUNDS // 5)
        await line.stop()
        line = shipping.start()
    await shipping.caught_up()
    assert set(far.taken) == set(sent)
    assert shipping.in_order()


async def test_what_the_journal_has_no_room_for_is_counted_and_the_rest_arrives(
    bench: Any, far: FarEnd, shipping: Shipping
) -> None:
    await bench.journal.close()
    bench.journal = bench.open_journal(segment_size=4096, max_size=16 << 10)
    shipping.start()
    sent = await shipping.write(200)
    await shipping.pass_time(10)
    expired = int(bench.dropped("expired"))
    assert expired > len(sent) // 2 and bench.journal.size_bytes() <= 16 << 10
    assert max(shipping.held) <= BUFFER + SERIES
    await far.start()
    await shipping.caught_up()
    assert len(far.taken) == len(set(far.taken)) == len(sent) - expired
    assert set(far.taken) < set(sent) and shipping.in_order()
    assert far.taken[-1][1] == sent[-1][1]
