"""What a user sees of a scraped target: its samples, the report on it, the request it gets."""

from __future__ import annotations

import gzip
from collections import Counter

import pytest
from aiohttp import web

BODY = """\
# HELP orders_total Orders taken.
# TYPE orders_total counter
orders_total{kind="web"} 5
orders_total{kind="shop"} 7
temperature 21.5
"""
LARGE = "".join(f'big{{number="{i}"}} {i}\n' for i in range(30_000))


async def test_a_target_is_scraped_with_its_labels_and_a_report(scraping, serve):
    url = await serve(BODY)
    async with scraping(targets=[f"{url}/metrics"], labels={"environment": "production"}) as source:
        batch = await source.batch()
        where = f'environment="production", instance="{url[7:]}", job="shop"'
        assert source.recorder.read(batch) == {
            f'orders_total{{{where}, kind="web"}}': 5,
            f'orders_total{{{where}, kind="shop"}}': 7,
            f"temperature{{{where}}}": 21.5,
            f"up{{{where}}}": 1,
            f"scrape_duration_seconds{{{where}}}": 0,
            f"scrape_samples_scraped{{{where}}}": 3,
            f"scrape_samples_post_metric_relabeling{{{where}}}": 3,
            f"scrape_series_added{{{where}}}": 3,
        }
        assert batch.time_ms == source.clock.now_ms()
        assert batch.layout.stream == f"scrape/shop/{url}/metrics"
        assert batch.layout.metadata["orders_total"].help == "Orders taken."
        assert batch.layout.metadata["up"].type == "gauge"


async def test_a_steady_target_sends_the_same_layout_and_new_values(scraping, serve):
    numbers = iter(range(1, 100))

    async def handler(_):
        return web.Response(text=f"a {next(numbers)}\nb 2\n")

    async with scraping(targets=[await serve(handler)]) as source:
        first, second, third = [await source.batch() for _ in range(3)]
        assert first.layout is second.layout is third.layout
        assert [b.value[0] for b in (first, second, third)] == [1, 2, 3]
        assert third.time_ms - second.time_ms == second.time_ms - first.time_ms == 15_000
        assert list(second.value[3:]) == [0, 2, 2, 0]
        assert source.counted("metricsmith_scrape_layout_changes_total", source="shop") == 1
        assert source.counted("metricsmith_scrapes_total", source="shop") == 3
        targets = source.context.telemetry.registry.get_sample_value
        assert targets("metricsmith_scrape_targets", {"source": "shop"}) == 1


@pytest.mark.parametrize("compressed", [False, True])
async def test_a_large_body_arrives_whole(scraping, serve, compressed):
    async def handler(request):
        assert "gzip" in request.headers["Accept-Encoding"]
        body = gzip.compress(LARGE.encode(), 1) if compressed else LARGE.encode()
        return web.Response(body=body, headers={"Content-Encoding": "gzip"} if compressed else {})

    async with scraping(targets=[await serve(handler)]) as source:
        first, second = await source.batch(), await source.batch()
        assert first.value[:30_000].tolist() == list(range(30_000))
        assert first.layout is second.layout


async def test_the_request_says_what_is_wanted(scraping, serve):
    seen = []

    async def handler(request):
        seen.append(request)
        return web.Response(
            text="# TYPE a counter\na_total 1\n# EOF\n", content_type="application/openmetrics-text"
        )

    url = await serve(handler)
    settings = {
        "targets": [url[7:]],
        "metrics_path": "/probe",
        "params": {"module": ["a", "b"]},
        "timeout": "3s",
    }
    async with scraping(**settings) as source:
        assert len(await source.reading()) == 6
        assert len(await source.reading()) == 6
    first, second = seen
    assert str(first.rel_url) == "/probe?module=a&module=b"
    assert "application/openmetrics-text;version=1.0.0" in first.headers["Accept"]
    assert "text/plain;version=0.0.4" in first.headers["Accept"]
    assert first.headers["X-Prometheus-Scrape-Timeout-Seconds"] == "3"
    assert first.headers["User-Agent"].startswith("metricsmith/")
    assert first.transport is second.transport, "the connection is kept"


async def test_a_wrong_content_type_is_read_as_text(scraping, serve):
    async def handler(_):
        return web.Response(text=BODY, content_type="application/json")

    async with scraping(targets=[await serve(handler)]) as source:
        assert len(await source.reading()) == 8


async def test_redirects_are_followed_unless_forbidden(scraping, serve):
    async def handler(request):
        if request.path == "/metrics":
            raise web.HTTPFound("/real")
        return web.Response(text="a 1\n")

    url = await serve(handler)
    async with scraping(targets=[f"{url}/metrics"]) as source:
        assert len(await source.reading()) == 6
    async with scraping(targets=[f"{url}/metrics"], follow_redirects=False) as source:
        assert len(await source.reading()) == 5
        assert source.failures("status") == 1


async def test_the_last_of_equal_series_stays_and_the_others_are_counted(scraping, serve):
    url = await serve('a{x="1"} 1\na{x="2"} 2\nb 3\n')
    rules = [{"regex": "x", "action": "labeldrop"}]
    async with scraping(targets=[url], metric_relabel_configs=rules) as source:
        reading = await source.reading()
        assert reading[f'a{{instance="{url[7:]}", job="shop"}}'] == 2
        assert reading[f'scrape_samples_post_metric_relabeling{{instance="{url[7:]}", job="shop"}}'] == 3
        dropped = {"component": "shop", "reason": "duplicate"}
        assert source.counted("metricsmith_samples_dropped_total", **dropped) == 1


async def test_metadata_follows_a_metric_that_is_renamed(scraping, serve):
    text = "# HELP hits_total Hits.\n# TYPE hits_total counter\nhits_total 1\n"
    rename = {"source_labels": ["__name__"], "regex": "(hits)_total", "replacement": "shop_${1}_total"}
    rules = [{**rename, "target_label": "__name__"}]
    async with scraping(targets=[await serve(text)], metric_relabel_configs=rules) as source:
        batch = await source.batch()
        assert batch.layout.metadata["shop_hits_total"].help == "Hits."


async def test_a_target_cannot_forge_its_report(scraping, serve):
    url = await serve("up 7\na 1\n")
    async with scraping(targets=[url]) as source:
        assert (await source.reading())[f'up{{instance="{url[7:]}", job="shop"}}'] == 1


async def test_two_targets_with_one_url_have_streams_of_their_own(scraping, serve, tmp_path):
    url = await serve("a 1\n")
    groups = tmp_path / "targets.yml"
    groups.write_text(
        f"- {{targets: ['{url}'], labels: {{zone: a}}}}\n- {{targets: ['{url}'], labels: {{zone: b}}}}"
    )
    async with scraping(file_sd={"files": [str(groups)]}, interval="1s") as source:
        batches = [await source.batch(3), await source.batch(3)]
        streams = Counter(b.layout.stream.partition("#")[0] for b in batches)
        assert streams == {f"scrape/shop/{url}/metrics": 2}
        assert len({b.layout.stream for b in batches}) == 2


async def test_an_odd_exposition_is_read_with_a_warning(scraping, serve):
    page = '# TYPE h histogram\nh_bucket{le="1"} 1\nh_sum 1\nh_count 1\n'
    async with scraping(targets=[await serve(page)]) as source:
        assert [len(await source.reading()) for _ in range(2)] == [8, 8]
        assert source.counted("metricsmith_scrape_warnings_total", source="shop") == 1
