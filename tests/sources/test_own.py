"""The agent's own metrics are kept like all others."""

from __future__ import annotations

import asyncio

import pytest

from metricsmith.errors import DiskFull
from metricsmith.sources.own import OwnMetricsSource


@pytest.fixture
def source(context):
    return OwnMetricsSource(OwnMetricsSource.Config(instance="agent-1"), context)


def test_every_own_sample_is_read_with_job_and_instance(source, context, recorder):
    context.telemetry.count("metricsmith_scrapes_total", 3, source="shop")
    context.telemetry.observe("metricsmith_query_seconds", 0.2, kind="range", outcome="success")
    batch = source.read(1000)
    reading = recorder.read(batch)
    own = 'instance="agent-1", job="metricsmith"'
    assert reading[f'metricsmith_scrapes_total{{{own}, source="shop"}}'] == 3
    queries = f'{own}, kind="range", le="0.25", outcome="success"'
    assert reading[f"metricsmith_query_seconds_bucket{{{queries}}}"] == 1
    assert reading[f"metricsmith_store_blocks{{{own}}}"] == 0
    assert (batch.time_ms, batch.layout.stream, batch.stale) == (1000, "self", None)
    assert batch.layout.metadata["metricsmith_scrapes_total"].type == "counter"
    assert len(reading) == sum(len(f.samples) for f in context.telemetry.registry.collect())


def test_the_layout_stays_until_a_label_set_comes(source, context):
    first = source.read(1)
    context.telemetry.set("metricsmith_store_blocks", 7)
    second = source.read(2)
    assert second.layout is first.layout
    assert second.value.sum() == first.value.sum() + 7
    context.telemetry.count("metricsmith_scrapes_total", source="shop")
    assert source.read(3).layout is not first.layout


async def test_it_reads_every_interval_and_marks_what_has_gone(source, context, recorder, clock):
    stop = asyncio.Event()
    task = asyncio.create_task(source.run(recorder.emit, stop))
    gone = 'metricsmith_scrape_targets{instance="agent-1", job="metricsmith", source="shop"}'

    async def reading():
        await clock.sleeping()
        clock.advance(clock.next_wake_s())
        return await recorder.batch()

    context.telemetry.set("metricsmith_scrape_targets", 2, source="shop")
    first = await reading()
    assert first.time_ms % 15_000 == 0
    assert recorder.read(first)[gone] == 2
    context.telemetry.forget("metricsmith_scrape_targets", source="shop")
    recorder.refuse = DiskFull("no space left")
    assert recorder.read(await reading())[gone] == "stale"
    recorder.refuse = None
    after = await reading()
    assert recorder.read(after)[gone] == "stale", "the refused marker is sent again"
    assert after.time_ms - first.time_ms == 30_000
    assert gone not in recorder.read(await reading())
    failed = {"source": "shop", "reason": "disk_full"}
    assert context.telemetry.value("metricsmith_source_failures_total", **failed) == 1
    stop.set()
    await asyncio.wait_for(task, 60)


async def test_a_gauge_that_cannot_be_read_costs_one_reading(source, context, recorder, clock):
    stop = asyncio.Event()
    task = asyncio.create_task(source.run(recorder.emit, stop))
    broken = [True]
    context.telemetry.watch("metricsmith_store_blocks", lambda: 1 / 0 if broken else 3)
    for _ in range(2):
        await clock.sleeping()
        clock.advance(clock.next_wake_s())
        await clock.sleeping()
        broken.clear()
    assert (
        recorder.read(await recorder.batch())[
            'metricsmith_store_blocks{instance="agent-1", job="metricsmith"}'
        ]
        == 3
    )
    assert context.telemetry.value("metricsmith_source_failures_total", source="shop", reason="defect") == 1
    stop.set()
    await asyncio.wait_for(task, 60)
