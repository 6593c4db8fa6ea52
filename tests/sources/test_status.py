"""What a user is told of each target: where it is, how the last scrape ended, and why."""

from __future__ import annotations

from aiohttp import web

from metricsmith.model.targets import Health, PoolStatus


async def test_a_target_is_unknown_then_up_then_down_with_its_error(scraping, serve):
    answers = iter([200, 503, 200])

    async def handler(_):
        return web.Response(text="a 1\n", status=next(answers))

    url = await serve(handler)
    settings = {"targets": [f"{url}/m?token=SECRET"], "labels": {"zone": "eu"}, "interval": "20s"}
    async with scraping(**settings) as running:
        await running.clock.sleeping()
        (status,) = running.source.targets().active
        assert (status.job, status.url, status.health) == ("shop", f"{url}/m", Health.UNKNOWN)
        assert status.labels == {"instance": url[7:], "job": "shop", "zone": "eu"}
        assert (status.interval_ms, status.timeout_ms, status.last) == (20_000, 10_000, None)
        seen = []
        for _ in range(3):
            await running.batch()
            (status,) = running.source.targets().active
            assert status.last.time_ms == running.clock.now_ms()
            assert status.last.duration_s == 0, "the clock stands still"
            seen.append((status.health, status.last.error))
    unavailable = "got HTTP status 503 Service Unavailable, wanted 200"
    assert seen == [(Health.UP, ""), (Health.DOWN, unavailable), (Health.UP, "")]
    assert running.source.targets() == PoolStatus("shop", ()), "what does not run has no targets"


async def test_targets_are_listed_by_url(scraping, unused_tcp_port):
    targets = [f"http://127.0.0.1:{unused_tcp_port}/{path}" for path in "cab"]
    async with scraping(targets=targets) as running:
        await running.batch(3)
        shown = running.source.targets().active
    assert [status.url[-1] for status in shown] == ["a", "b", "c"]


async def test_discovered_labels_and_dropped_targets_are_shown_without_secrets(scraping, unused_tcp_port):
    address = f"127.0.0.1:{unused_tcp_port}"
    rules = [
        {"action": "drop", "source_labels": ["__metrics_path__"], "regex": "/not"},
        {"target_label": "env", "replacement": "test"},
    ]
    targets = [f"http://{address}/m?token=SECRET", f"http://{address}/not?token=SECRET"]
    async with scraping(targets=targets, relabel_configs=rules, labels={"zone": "eu"}) as running:
        await running.batch()
        pool = running.source.targets()
    (active,), (dropped,) = pool.active, pool.dropped
    assert active.labels == {"env": "test", "instance": address, "job": "shop", "zone": "eu"}
    assert active.discovered == {
        "__address__": address,
        "__metrics_path__": "/m",
        "__param_token": "<secret>",
        "__scheme__": "http",
        "__scrape_interval__": "15s",
        "__scrape_timeout__": "10s",
        "job": "shop",
        "zone": "eu",
    }
    assert dropped == {**active.discovered, "__metrics_path__": "/not"}
    assert (pool.name, pool.dropped_count) == ("shop", 1)
    assert "SECRET" not in repr(pool)
