"""OpenTelemetry's own SDK and exporter send to the agent: queries return what programs measured."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import (
    Counter,
    Histogram,
    MeterProvider,
    ObservableCounter,
    ObservableUpDownCounter,
    UpDownCounter,
)
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

from metricsmith.testing.programs import AgentProgram

Make = Callable[..., AgentProgram]
PAGE = (Path(__file__).parents[2] / "docs" / "push.md").read_text()
DELTA = dict.fromkeys(
    (Counter, Histogram, ObservableCounter, ObservableUpDownCounter, UpDownCounter),
    AggregationTemporality.DELTA,
)
RESOURCE = {
    "service.name": "cart",
    "service.namespace": "shop",
    "service.instance.id": "i1",
    "deployment.environment": "test",
}


class Sender:
    """A program that measures, sends when told to, and can be started anew."""

    def __init__(self, provider: MeterProvider) -> None:
        self._provider = provider
        self.meter: Meter = provider.get_meter("shop", "1.2")

    def send(self) -> None:
        assert self._provider.force_flush()


@contextmanager
def sender(agent: AgentProgram, views: list[View] | None = None, **options: object) -> Iterator[Sender]:
    """Run a sender with the periodic reader of the SDK, whose period never comes."""
    with requests.Session() as session:
        exporter = OTLPMetricExporter(f"{agent.url}/v1/metrics", session=session, **options)
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
        provider = MeterProvider([reader], Resource.create(RESOURCE), views=views or [])
        yield Sender(provider)
        provider.shutdown()


@pytest.mark.parametrize(
    ("temporality", "compression"),
    [(None, Compression.NoCompression), (DELTA, Compression.Gzip)],
    ids=["cumulative", "delta"],
)
def test_all_instruments_over_a_restart_of_the_sender(
    agent_program: Make, temporality: dict | None, compression: Compression
) -> None:
    agent = agent_program()
    agent.start()
    options = {"preferred_temporality": temporality, "compression": compression}
    totals = []
    for run in (1, 2):
        with sender(agent, **options) as program:
            meter = program.meter
            hits = meter.create_counter("http.hits", description="Hits.")
            open_carts = meter.create_up_down_counter("open.carts")
            wait = meter.create_histogram("wait", unit="s", explicit_bucket_boundaries_advisory=[0.5, 1.0])
            meter.create_observable_gauge("memory", [_observe(1024 * run)], unit="By")
            for step in (1, 2, 3):
                hits.add(10 * run, {"http.method": "GET"})
                hits.add(step, {"http.method": "PUT"})
                open_carts.add(5)
                open_carts.add(-2)
                wait.record(0.25)
                wait.record(2.0, {"path": "/a"})
                program.send()
            totals.append(agent.value('http_hits_total{http_method="GET"}'))
            assert agent.value("memory_bytes") == 1024 * run
    assert totals == ([30, 90] if temporality else [30, 60])
    assert agent.value('open_carts{job="shop/cart", instance="i1"}') == (18 if temporality else 9)
    runs = 2 if temporality else 1
    assert agent.value('wait_seconds_bucket{le="0.5", path=""}') == 3 * runs
    assert agent.value('wait_seconds_bucket{le="1", path="/a"}') == 0
    assert agent.value('wait_seconds_sum{path="/a"}') == 6.0 * runs
    assert agent.value('target_info{job="shop/cart", deployment_environment="test"}') == 1
    assert agent.get("/api/v1/metadata", metric="http_hits_total")["data"] == {
        "http_hits_total": [{"type": "counter", "unit": "", "help": "Hits."}]
    }
    kept = [v for _, v in agent.samples('http_hits_total{http_method="GET"}')]
    kept = [v for v, before in zip(kept, [None, *kept], strict=False) if v != before]  # some are sent twice
    assert kept == ([10, 20, 30, 50, 70, 90] if temporality else [10, 20, 30, 20, 40, 60])


def _observe(value: int) -> Callable[[CallbackOptions], list[Observation]]:
    return lambda options: [Observation(value)]


def test_an_exponential_histogram_is_refused_and_the_rest_arrives(
    agent_program: Make, caplog: pytest.LogCaptureFixture
) -> None:
    agent = agent_program()
    agent.start()
    view = View(instrument_name="exp", aggregation=ExponentialBucketHistogramAggregation())
    with sender(agent, [view]) as program:
        program.meter.create_histogram("exp").record(1)
        program.meter.create_counter("hits").add(2)
        program.send()
        assert agent.value("hits_total") == 2
    dropped = agent.own("metricsmith_samples_dropped_total", component="otlp", reason="exponential_histogram")
    assert dropped >= 1
    assert "exponential histograms are not supported" in agent.log.text()


def test_names_stay_as_they_are_sent_where_that_is_wanted(agent_program: Make) -> None:
    agent = agent_program("otlp: {{translation_strategy: NoTranslation, promote_scope_metadata: true}}\n")
    agent.start()
    with sender(agent) as program:
        program.meter.create_counter("http.hits", unit="By").add(2, {"http.method": "GET"})
        program.send()
    assert (
        agent.value('{"http.hits", "http.method"="GET", otel_scope_name="shop", otel_scope_version="1.2"}')
        == 2
    )


def test_the_documented_program_sends(agent_program: Make) -> None:
    agent = agent_program()
    agent.start()
    (program,) = re.findall(r"```python\n(from opentelemetry.*?)```", PAGE, re.DOTALL)
    assert "http://127.0.0.1:9480" in program
    program = program.replace("http://127.0.0.1:9480", agent.url)
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    command = [sys.executable, "-m", "metricsmith", "query", "brews_total", "--url", agent.url]
    shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    assert shown in PAGE, shown
