"""What goes wrong with one scrape fails that scrape, says why, and is over when the cause is."""

from __future__ import annotations

import asyncio
import gzip

import pytest
from aiohttp import web

from metricsmith.errors import DiskFull, JournalError

BODY = "a 1\nb 2\n"
BOMB = gzip.compress(b"\n" * 20_000_000, 1)


async def _status(_):
    return web.Response(status=500, text=BODY)


async def _html(_):
    return web.Response(text="<html><body>welcome</body></html>", content_type="text/html")


async def _malformed(_):
    return web.Response(text="good 1\nbad{ 2\n")


async def _huge(_):
    return web.Response(text="x" * 200_000)


async def _bomb(_):
    return web.Response(body=BOMB, headers={"Content-Encoding": "gzip"})


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
    timeout = "200ms" if reason == "timeout" else "10s"
    async with scraping(targets=[url], timeout=timeout, body_size_limit="100KB") as source:
        report = await source.reading()
        assert len(report) == 5, "no sample of a failed scrape is emitted"
        assert report[f'up{{instance="{url[7:]}", job="shop"}}'] == 0
        assert report[f'scrape_samples_scraped{{instance="{url[7:]}", job="shop"}}'] == 0
        assert source.failures(reason) == 1
        good.set()
        recovered = await source.reading()
        while reason == "timeout" and not recovered[f'up{{instance="{url[7:]}", job="shop"}}']:
            recovered = await source.reading()  # the short time was too short for a good answer, too
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


async def test_a_target_whose_openmetrics_is_none_is_asked_for_text(scraping, serve):
    async def handler(request):
        if "openmetrics" in request.headers["Accept"]:
            answer = web.Response(text="a 1\n")  # no # EOF: not OpenMetrics
            answer.headers["Content-Type"] = "application/openmetrics-text; version=1.0.0"
            return answer
        return web.Response(text="a 1\n")

    address = await serve(handler)
    async with scraping(targets=[address], timeout="10s", interval="10s") as running:
        first, second = await running.reading(), await running.reading()
    ups = [value for reading in (first, second) for name, value in reading.items() if name.startswith("up{")]
    assert ups == [0.0, 1.0]
    assert running.failures("parse") == 1
    assert running.counted("metricsmith_scrape_warnings_total", source="shop") == 1


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
