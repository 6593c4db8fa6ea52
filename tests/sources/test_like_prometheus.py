"""The same page scraped by Prometheus and by us: the same series with the same values."""

from __future__ import annotations

import asyncio
import json
import math
import threading
import urllib.parse
import urllib.request
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from metricsmith.contracts import Context
from metricsmith.model.labels import format_labels
from metricsmith.sources.scrape import ScrapeSource
from metricsmith.testing import services
from metricsmith.testing.programs import eventually

PAGE = """\
# TYPE a counter
a{job="own",instance="there",zone="eu"} 1
a{job="own",exported_job="taken",zone="us"} 2
a{zone="with \\"quotes\\" and\\nlines"} +Inf
# TYPE h histogram
h_bucket{le="1"} 1
h_bucket{le="+Inf"} 2
h_sum 3.5
h_count 2
plain NaN
pushed{job="batch",instance=""} 1
pushed{job="",instance="",environment=""} 2
pushed_not 3
tier{environment="page"} -4e-3
"""
LABELS = {"environment": "production"}
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "honest": {"honor_labels": True},
    "dropping": {"metric_relabel_configs": [{"source_labels": ["zone"], "regex": "eu|us", "action": "drop"}]},
    "renaming": {
        "metric_relabel_configs": [
            {
                "source_labels": ["__name__"],
                "regex": "h_(.*)",
                "target_label": "__name__",
                "replacement": "x_$1",
            },
            {"regex": "(.*)zone", "replacement": "${1}region", "action": "labelmap"},
            {"regex": "zone|environment", "action": "labeldrop"},
            {"target_label": "__kept", "replacement": "as it is"},
        ]
    },
    "after_honor": {
        "honor_labels": True,
        "metric_relabel_configs": [{"source_labels": ["job"], "regex": "own", "action": "keep"}],
    },
    "many_samples": {"sample_limit": 11},
    "few_enough": {
        "sample_limit": 11,
        "metric_relabel_configs": [{"source_labels": ["__name__"], "regex": "plain", "action": "drop"}],
    },
    "many_labels": {"label_limit": 5},
    "few_labels": {"label_limit": 7},
    "long_names": {"label_name_length_limit": 11},
    "long_values": {"label_value_length_limit": 20},
    "nameless": {"metric_relabel_configs": [{"regex": "__name__", "action": "labeldrop"}]},
}
REFUSED = ("many_labels", "long_names", "long_values", "nameless")


def comparable(series: str) -> bool:
    """Durations differ. Of a scrape refused for one of its lines Prometheus counts the lines before that one;
    we say 0, as nothing of it is kept."""
    counts_lines = series.startswith("scrape_samples_") and any(f'job="{job}"' in series for job in REFUSED)
    return not counts_lines and not series.startswith("scrape_duration_seconds")


def ask(url: str, query: str) -> list[Any]:
    asked = f"{url}/api/v1/query?query={urllib.parse.quote(query)}"
    with urllib.request.urlopen(asked, timeout=60) as answer:
        result: list[Any] = json.load(answer)["data"]["result"]
        return result


def readable(labels: dict[str, str], value: float) -> tuple[str, float | str]:
    return format_labels(dict(sorted(labels.items()))), "NaN" if math.isnan(value) else value


class Page:
    """Answers the page, and tells when each job has asked three times: then two scrapes are stored."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.stored = threading.Event()

    async def handler(self, request: web.Request) -> web.Response:
        self.asked[request.query["job"]] += 1
        if all(self.asked[job] >= 3 for job in CASES):
            self.stored.set()
        return web.Response(text=PAGE)


def of_prometheus(folder: Path, address: str, page: Page, ours: dict[str, Any]) -> dict[str, Any]:
    """What Prometheus stores of every job, scraped twice so that nothing is new in the last scrape.

    It scrapes each second: a busy machine lets a scrape fail, and two later ones are well again.
    """
    document = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [
            {
                "job_name": job,
                "params": {"job": [job]},
                **settings,
                "static_configs": [{"targets": [address], "labels": LABELS}],
            }
            for job, settings in CASES.items()
        ],
    }
    with services.prometheus(folder, yaml.safe_dump(document)) as server:
        assert page.stored.wait(60)
        found: dict[str, Any] = {}

        def as_ours() -> bool:
            found.clear()
            for sample in ask(server.url, '{__name__=~".+"}'):
                series, value = readable(sample["metric"], float(sample["value"][1]))
                if comparable(series):
                    found[series] = value
            return found == ours

        with suppress(AssertionError):  # the caller shows both
            eventually(as_ours)
    return found


async def of_ours(job: str, address: str, recorder: Any, context: Context) -> dict[str, Any]:
    stop = asyncio.Event()
    settings = {"targets": [address], "labels": LABELS, "params": {"job": [job]}, **CASES[job]}
    config = ScrapeSource.Config.model_validate(settings)
    running = asyncio.create_task(ScrapeSource(config, replace(context, name=job)).run(recorder.emit, stop))
    for _ in range(2):
        await context.clock.sleeping()
        context.clock.advance(context.clock.next_wake_s())
        batch = await recorder.batch()
    stop.set()
    await running
    values = zip(batch.layout.ids.tolist(), batch.value.tolist(), strict=True)
    return dict(readable(context.series.labels(series), value) for series, value in values)


async def test_series_and_values_are_those_of_prometheus(serve, recorder, context, tmp_path, promtool):
    page = Page()
    address = (await serve(page.handler))[7:]
    ours: dict[str, Any] = {}
    for job in CASES:
        ours |= await of_ours(job, address, recorder, context)
    ours = {series: value for series, value in ours.items() if comparable(series)}
    page.asked.clear()
    page.stored.clear()
    assert ours == await asyncio.to_thread(of_prometheus, tmp_path, address, page, ours)
