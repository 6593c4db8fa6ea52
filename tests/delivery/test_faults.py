"""A destination that fails in any way gets every sample, in order; the far end counts them."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from metricsmith.model.labels import encode_labels
from metricsmith.model.series import SeriesTable
from metricsmith.sinks.remote_write import RemoteWriteSink
from metricsmith.testing.services import free_port
from metricsmith.wire.remote_write import RemoteWriteDecoder

SERIES, ROUNDS = 40, 60
Sample = tuple[str, int]
Fault = Callable[["FarEnd", web.Request], Awaitable[bool]]


class FarEnd:
    """A server that takes remote write, and what a test lets go wrong there."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.fault: Fault | None = None
        self.taken: list[Sample] = []
        self.random = random.Random(7)
        self._series = SeriesTable()
        self._decoder = RemoteWriteDecoder(self._series)
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/write", self._handle)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def keep(self, request: web.Request) -> None:
        batch = self._decoder.decode(await request.read(), max_decompressed=64 << 20).batch
        ids, times = batch.layout.ids.tolist(), batch.times().tolist()
        self.taken += [(self._series.labels(i)["n"], t) for i, t in zip(ids, times, strict=True)]

    def breaks_off(self, request: web.Request) -> None:
        assert request.transport is not None
        request.transport.abort()

    async def _handle(self, request: web.Request) -> web.Response:
        if self.fault is not None and await self.fault(self, request):
            return web.Response(status=500)
        await self.keep(request)
        return web.Response(status=204)


async def _answers_500(far: FarEnd, request: web.Request) -> bool:
    return far.random.random() < 0.6


async def _resets_before_reading(far: FarEnd, request: web.Request) -> bool:
    if broken := far.random.random() < 0.6:
        far.breaks_off(request)
    return broken


async def _dies_before_answering(far: FarEnd, request: web.Request) -> bool:
    if broken := far.random.random() < 0.4:
        await far.keep(request)
        far.breaks_off(request)
    return broken


@pytest.fixture
async def far_end() -> AsyncIterator[FarEnd]:
    found = FarEnd(free_port())
    yield found
    await found.stop()


@pytest.fixture
def shipping(bench: Any, far_end: FarEnd) -> Callable[[], Any]:
    """Open a line of delivery to the far end, as each start of an agent does."""

    def start() -> Any:
        config = RemoteWriteSink.Config(url=f"http://127.0.0.1:{far_end.port}/write")
        bench.far = RemoteWriteSink(config, bench.context)
        bench.far.open = True
        return bench.line(batch_size=64, workers=3)

    return start


async def _write(bench: Any, rounds: range) -> list[Sample]:
    series = [bench.series.intern(encode_labels({"__name__": "m", "n": str(n)})) for n in range(SERIES)]
    now_ms = bench.clock.now_ms()
    for number in rounds:
        await bench.put(series, now_ms + number, "stream" if number % 3 else None)
    return [(str(n), now_ms + number) for number in rounds for n in range(SERIES)]


async def _caught_up(bench: Any, line: Any) -> None:
    for _ in range(2000):
        if line.status().behind == 0:
            return
        await asyncio.sleep(0.002)
        bench.clock.advance(0.5)
    pytest.fail(f"still behind: {line.status()}")


def _in_order(taken: list[Sample]) -> bool:
    by_series: dict[str, list[int]] = {}
    for name, time_ms in taken:
        by_series.setdefault(name, []).append(time_ms)
    return all(times == sorted(times) for times in by_series.values())


@pytest.mark.parametrize("fault", [None, _answers_500, _resets_before_reading])
async def test_every_sample_once_and_in_order(
    bench: Any, far_end: FarEnd, shipping: Callable[[], Any], fault: Fault | None
) -> None:
    far_end.fault = fault
    await far_end.start()
    line = shipping()
    sent = await _write(bench, range(ROUNDS))
    await _caught_up(bench, line)
    assert Counter(far_end.taken) == Counter(sent)
    assert _in_order(far_end.taken)


async def test_one_that_takes_and_dies_before_it_answers_gets_some_twice(
    bench: Any, far_end: FarEnd, shipping: Callable[[], Any]
) -> None:
    far_end.fault = _dies_before_answering
    await far_end.start()
    line = shipping()
    sent = await _write(bench, range(ROUNDS))
    await _caught_up(bench, line)
    assert set(far_end.taken) == set(sent)
    assert len(far_end.taken) > len(sent)


async def test_one_that_is_down_all_the_time_gets_all_when_it_is_up(
    bench: Any, far_end: FarEnd, shipping: Callable[[], Any]
) -> None:
    line = shipping()
    sent = await _write(bench, range(ROUNDS))
    for _ in range(100):
        await asyncio.sleep(0)
        bench.clock.advance(1)
    assert line.status().behind == ROUNDS and not far_end.taken
    await far_end.start()
    await _caught_up(bench, line)
    assert Counter(far_end.taken) == Counter(sent)
    assert _in_order(far_end.taken)


async def test_starts_and_stops_in_between_lose_nothing(
    bench: Any, far_end: FarEnd, shipping: Callable[[], Any]
) -> None:
    far_end.fault = _answers_500
    await far_end.start()
    line, sent = shipping(), []
    for start in range(0, ROUNDS, 10):
        sent += await _write(bench, range(start, start + 10))
        await line.stop()
        line = shipping()
    await _caught_up(bench, line)
    assert set(far_end.taken) == set(sent)
