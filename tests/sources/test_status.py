"""What a user is told of each target: where it is, how the last scrape ended, and why."""

from __future__ import annotations

from aiohttp import web

from metricsmith.sources.status import Health


async def test_a_target_is_unknown_then_up_then_down_with_its_error(scraping, serve):
    answers = iter([200, 503, 200])

    async def handler(_):
        return web.Response(text="a 1\n", status=next(answers))

    url = await serve(handler)
    settings = {"targets": [f"{url}/m?token=SECRET"], "labels": {"zone": "eu"}, "interval": "20s"}
    async with scraping(**settings) as running:
        await running.clock.sleeping()
        (status,) = running.source.status()
        assert (status.job, status.url, status.health) == ("shop", f"{url}/m", Health.UNKNOWN)
        assert status.labels == {"instance": url[7:], "job": "shop", "zone": "eu"}
        assert (status.interval_ms, status.timeout_ms, status.last) == (20_000, 10_000, None)
        seen = []
        for _ in range(3):
            await running.batch()
            (status,) = running.source.status()
            assert status.last.time_ms == running.clock.now_ms()
            assert status.last.duration_s == 0, "the clock stands still"
            seen.append((status.health, status.last.error))
    unavailable = "got HTTP status 503 Service Unavailable, wanted 200"
    assert seen == [(Health.UP, ""), (Health.DOWN, unavailable), (Health.UP, "")]
    assert running.source.status() == [], "what does not run has no targets"


async def test_targets_are_listed_by_url(scraping, unused_tcp_port):
    targets = [f"http://127.0.0.1:{unused_tcp_port}/{path}" for path in "cab"]
    async with scraping(targets=targets) as running:
        await running.batch(3)
        shown = running.source.status()
    assert [status.url[-1] for status in shown] == ["a", "b", "c"]
