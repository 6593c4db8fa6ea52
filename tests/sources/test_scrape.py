"""What a user sees of a scraped target: its samples, the report on it, what happens when it misbehaves."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
from collections import Counter

import pytest
from aiohttp import web

from metricsmith.errors import DiskFull, JournalError
from metricsmith.sources.scrape import ScrapeSource
from metricsmith.wire.exposition.parser import ExpositionParser

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


async def _status(_):
    return web.Response(status=500, text=BODY)


async def _html(_):
    return web.Response(text="<html><body>welcome</body></html>", content_type="text/html")


async def _malformed(_):
    return web.Response(text="good 1\nbad{ 2\n")


async def _huge(_):
    return web.Response(text="x" * 200_000)


async def _bomb(_):
    return web.Response(body=gzip.compress(b"a 1\n" * 5_000_000, 9), headers={"Content-Encoding": "gzip"})


async def _not_gzip(_):
    return web.Response(body=b"a 1\n", headers={"Content-Encoding": "gzip"})


async def _cut_gzip(_):
    return web.Response(body=gzip.compress(BODY.encode())[:-9], headers={"Content-Encoding": "gzip"})


async def _brotli(_):
    return web.Response(body=b"a 1\n", headers={"Content-Encoding": "br"})


async def _silent(_):
    await asyncio.Event().wait()


async def _dripping(request):
    answer = web.StreamResponse()
    await answer.prepare(request)
    while True:
        await answer.write(b"a")
        await asyncio.sleep(0.01)


async def _cut_short(request):
    answer = web.StreamResponse(headers={"Content-Length": "1000"})
    await answer.prepare(request)
    await answer.write(b"a 1\n")
    request.transport.abort()
    return answer


async def _circle(request):
    raise web.HTTPFound(request.path)


async def _elsewhere(_):
    raise web.HTTPFound("file:///etc/passwd")


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        (_status, "status"),
        (_html, "parse"),
        (_malformed, "parse"),
        (_huge, "body_size"),
        (_bomb, "body_size"),
        (_not_gzip, "encoding"),
        (_cut_gzip, "encoding"),
        (_brotli, "encoding"),
        (_silent, "timeout"),
        (_dripping, "timeout"),
        (_cut_short, "connection"),
        (_circle, "redirect"),
        (_elsewhere, "redirect"),
    ],
)
async def test_a_bad_answer_fails_its_scrape_only(scraping, serve, handler, reason):
    good = asyncio.Event()

    async def now_and_then(request):
        return web.Response(text="a 1\n") if good.is_set() else await handler(request)

    url = await serve(now_and_then)
    async with scraping(targets=[url], timeout="200ms", body_size_limit="100KB") as source:
        report = await source.reading()
        assert len(report) == 5, "no sample of a failed scrape is emitted"
        assert report[f'up{{instance="{url[7:]}", job="shop"}}'] == 0
        assert report[f'scrape_samples_scraped{{instance="{url[7:]}", job="shop"}}'] == 0
        assert source.failures(reason) == 1
        good.set()
        recovered = await source.reading()
        assert recovered[f'up{{instance="{url[7:]}", job="shop"}}'] == 1
        assert recovered[f'a{{instance="{url[7:]}", job="shop"}}'] == 1


async def test_a_refused_connection_is_a_failed_scrape(scraping, unused_tcp_port, caplog):
    async with scraping(targets=[f"127.0.0.1:{unused_tcp_port}"]) as source:
        first, second = await source.batch(), await source.batch()
        assert first.value[0] == second.value[0] == 0
        assert first.layout is second.layout, "a target that stays down costs no new layout"
        assert source.failures("connection") == 2
        (line,) = caplog.messages
        assert line == f"shop: http://127.0.0.1:{unused_tcp_port}/metrics: cannot connect: Connection refused"


async def test_names_are_resolved_and_a_slow_name_server_delays_no_other(scraping, serve, monkeypatch):
    look_up, entered, release = socket.getaddrinfo, threading.Event(), threading.Event()

    def slow(host, *arguments, **options):
        if host == "slow.test":
            entered.set()
            assert release.wait(20)
            raise socket.gaierror("name server is away")
        return look_up(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    port = (await serve("a 1\n")).rpartition(":")[2]
    async with scraping(targets=[f"localhost:{port}", *(f"slow.test:{i}" for i in range(1, 11))]) as source:
        await source.clock.sleeping(11)
        source.clock.advance(15)
        assert await asyncio.to_thread(entered.wait, 20)
        assert len(await source.recorder.batch()) == 6
        release.set()
        assert {len(await source.recorder.batch()) for _ in range(10)} == {5}
        assert source.failures("connection") == 10


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


async def test_parsing_a_large_body_delays_no_other(scraping, serve, monkeypatch):
    parse, entered, release = ExpositionParser.parse, threading.Event(), threading.Event()

    def slow(self, body):
        if len(body) > 100_000:
            entered.set()
            assert release.wait(20)
        return parse(self, body)

    monkeypatch.setattr(ExpositionParser, "parse", slow)
    large, healthy = await serve(LARGE), await serve("a 1\n")
    async with scraping(targets=[large, healthy]) as source:
        await source.clock.sleeping(2)
        source.clock.advance(15)
        assert await asyncio.to_thread(entered.wait, 20)
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
    await asyncio.wait_for(running, 5)
    assert len(accepted) == 1


async def test_limits_on_samples_and_labels_fail_the_scrape(scraping, serve):
    url = await serve('a{name="value"} 1\nb 2\nc 3\n')
    instance = f'{{instance="{url[7:]}", job="shop"}}'
    rules = [{"source_labels": ["__name__"], "regex": "c", "action": "drop"}]
    async with scraping(targets=[url], sample_limit=2, metric_relabel_configs=rules) as source:
        assert (await source.reading())[f"up{instance}"] == 1
    async with scraping(targets=[url], sample_limit=2) as source:
        report = await source.reading()
        assert len(report) == 5
        assert (report[f"up{instance}"], report[f"scrape_samples_scraped{instance}"]) == (0, 3)
        assert source.failures("sample_limit") == 1
    limits = [("label_limit", 3, 4), ("label_name_length_limit", 7, 8), ("label_value_length_limit", 4, 30)]
    for count, (limit, too_low, enough) in enumerate(limits, start=1):
        async with scraping(targets=[url], **{limit: too_low}) as source:
            assert (await source.reading())[f"up{instance}"] == 0
            assert source.failures("label_limit") == count
        async with scraping(targets=[url], **{limit: enough}) as source:
            assert (await source.reading())[f"up{instance}"] == 1


async def test_the_last_of_equal_series_stays_and_the_others_are_counted(scraping, serve):
    url = await serve('a{x="1"} 1\na{x="2"} 2\nb 3\n')
    rules = [{"regex": "x", "action": "labeldrop"}]
    async with scraping(targets=[url], metric_relabel_configs=rules) as source:
        reading = await source.reading()
        assert reading[f'a{{instance="{url[7:]}", job="shop"}}'] == 2
        assert reading[f'scrape_samples_post_metric_relabeling{{instance="{url[7:]}", job="shop"}}'] == 3
        dropped = {"component": "shop", "reason": "duplicate"}
        assert source.counted("metricsmith_samples_dropped_total", **dropped) == 1


async def test_a_target_cannot_forge_its_report(scraping, serve):
    url = await serve("up 7\na 1\n")
    async with scraping(targets=[url]) as source:
        assert (await source.reading())[f'up{{instance="{url[7:]}", job="shop"}}'] == 1


@pytest.mark.parametrize(
    ("refusal", "reason"), [(DiskFull("no space left"), "disk_full"), (JournalError("torn"), "journal_error")]
)
async def test_what_the_journal_refuses_is_counted_and_scraping_goes_on(scraping, serve, refusal, reason):
    async with scraping(targets=[await serve("a 1\n")]) as source:
        source.recorder.refuse = refusal
        await source.batch()
        source.recorder.refuse = None
        accepted = await source.batch()
        assert accepted.value[0] == 1
        failed = {"source": "shop", "reason": reason}
        assert source.counted("metricsmith_source_failures_total", **failed) == 1


async def test_a_defect_in_the_journal_does_not_end_the_scraping(scraping, serve):
    async with scraping(targets=[await serve("a 1\n")]) as source:
        source.recorder.refuse = RuntimeError("a defect")
        await source.batch()
        source.recorder.refuse = None
        assert (await source.batch()).value[0] == 1
        assert source.failures("internal") == 1


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


async def test_a_target_whose_openmetrics_is_none_is_asked_for_text(scraping, serve):
    async def handler(request):
        if "openmetrics" in request.headers["Accept"]:
            answer = web.Response(text="a 1\n")  # no # EOF: not OpenMetrics
            answer.headers["Content-Type"] = "application/openmetrics-text; version=1.0.0"
            return answer
        return web.Response(text="a 1\n")

    address = await serve(handler)
    async with scraping(targets=[address], timeout="1s", interval="10s") as running:
        first, second = await running.reading(), await running.reading()
    ups = [value for reading in (first, second) for name, value in reading.items() if name.startswith("up{")]
    assert ups == [0.0, 1.0]
    assert running.failures("parse") == 1
    assert running.counted("metricsmith_scrape_warnings_total", source="shop") == 1
