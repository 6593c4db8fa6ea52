"""A slow target, a slow name server and a large body delay nobody else, and stopping waits for none."""

from __future__ import annotations

import asyncio
import socket
import threading

from metricsmith.sources.scrape import ScrapeSource
from metricsmith.wire.exposition.parser import ExpositionParser

LARGE = "".join(f'big{{number="{i}"}} {i}\n' for i in range(30_000))


async def test_a_silent_target_delays_no_other(scraping, serve):
    entered = asyncio.Event()

    async def silent(_):
        entered.set()
        await asyncio.Event().wait()

    stuck, healthy = await serve(silent), await serve("a 1\n")
    async with scraping(targets=[stuck, healthy], interval="60s", timeout="60s") as source:
        await source.clock.sleeping(2)
        source.clock.advance(60)
        await entered.wait()
        readings = [source.recorder.read(await source.recorder.batch())]
        readings += [await source.reading() for _ in range(4)]
        assert all(f'a{{instance="{healthy[7:]}", job="shop"}}' in reading for reading in readings)
        assert source.failures("timeout") == 0, "the silent target is still being waited for"


async def test_names_are_resolved_and_a_slow_name_server_delays_no_other(scraping, serve, monkeypatch):
    look_up, entered, release = socket.getaddrinfo, threading.Event(), threading.Event()

    def slow(host, *arguments, **options):
        if host == "slow.test":
            entered.set()
            assert release.wait(60)
            raise socket.gaierror("name server is away")
        return look_up(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    port = (await serve("a 1\n")).rpartition(":")[2]
    async with scraping(targets=[f"localhost:{port}", *(f"slow.test:{i}" for i in range(1, 11))]) as source:
        await source.clock.sleeping(11)
        source.clock.advance(15)
        assert await asyncio.to_thread(entered.wait, 60)
        assert len(await source.recorder.batch()) == 6
        release.set()
        assert {len(await source.recorder.batch()) for _ in range(10)} == {5}
        assert source.failures("connection") == 10


async def test_parsing_a_large_body_delays_no_other(scraping, serve, monkeypatch):
    parse, entered, release = ExpositionParser.parse, threading.Event(), threading.Event()

    def slow(self, body):
        if len(body) > 100_000:
            entered.set()
            assert release.wait(60)
        return parse(self, body)

    monkeypatch.setattr(ExpositionParser, "parse", slow)
    large, healthy = await serve(LARGE), await serve("a 1\n")
    async with scraping(targets=[large, healthy]) as source:
        await source.clock.sleeping(2)
        source.clock.advance(15)
        assert await asyncio.to_thread(entered.wait, 60)
        assert len(await source.recorder.batch()) == 6
        assert len(await source.batch()) == 6
        release.set()
        assert len(await source.recorder.batch()) == 30_005


async def test_stopping_waits_for_the_batch_in_flight_but_not_for_targets(serve, context, clock):
    entered = asyncio.Event()

    async def silent(_):
        entered.set()
        await asyncio.Event().wait()

    emitting, release, accepted, stop = asyncio.Event(), asyncio.Event(), [], asyncio.Event()

    async def emit(batch):
        emitting.set()
        await release.wait()
        accepted.append(batch)

    targets = (await serve(silent), await serve("a 1\n"))
    config = ScrapeSource.Config(targets=targets, interval="60s", timeout="60s")
    running = asyncio.create_task(ScrapeSource(config, context).run(emit, stop))
    await clock.sleeping(2)
    clock.advance(60)
    await entered.wait()
    await emitting.wait()
    stop.set()
    await asyncio.sleep(0)
    release.set()
    await asyncio.wait_for(running, 60)
    assert len(accepted) == 1
