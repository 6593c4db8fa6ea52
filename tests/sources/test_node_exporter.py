"""A real exporter, whole: every series that it exposes is emitted with its value."""

from __future__ import annotations

import math

from aiohttp import ClientSession
from prometheus_client.parser import text_string_to_metric_families


async def test_every_series_of_the_node_exporter_is_emitted_with_its_value(
    scraping, serve, node_exporter, context
):
    # The page is fetched once and served again, so that both readers see the same numbers.
    async with ClientSession() as session, session.get(f"{node_exporter.url}/metrics") as answer:
        page = await answer.text()
    url = await serve(page)
    async with scraping(targets=[f"{url}/metrics"]) as source:
        batch = await source.batch()
        got = {
            frozenset(context.series.labels(series).items()): value
            for series, value in zip(batch.layout.ids.tolist(), batch.value.tolist(), strict=True)
        }
    target = {"job": "shop", "instance": url[7:]}
    exposed = [s for family in text_string_to_metric_families(page) for s in family.samples]
    assert len(exposed) > 300
    for sample in exposed:
        labels = {n: v for n, v in {**sample.labels, **target, "__name__": sample.name}.items() if v}
        value = got.pop(frozenset(labels.items()))
        assert value == sample.value or (math.isnan(value) and math.isnan(sample.value)), sample
    assert len(got) == 5, "besides the page there is the report and nothing else"


async def test_the_node_exporter_itself_is_scraped_steadily(scraping, node_exporter):
    async with scraping(targets=[f"{node_exporter.url}/metrics"]) as source:
        assert [(await source.batch()).value[-5] for _ in range(3)] == [1, 1, 1]
