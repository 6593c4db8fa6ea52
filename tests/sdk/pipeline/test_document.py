"""Every query, panel and alert for pipelines answers on the metrics of the example pipeline."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from metricsmith.model.labels import decode_labels, encode_labels
from metricsmith.packs import rule_file
from metricsmith.promql.memory import GrowingSeries
from metricsmith.rules.files import read_rule_file
from metricsmith.rules.model import AlertingRule, RecordingRule
from metricsmith.runtime.rule_engine import RuleEngine
from metricsmith.sdk import Registry, expose, generate_latest
from metricsmith.sdk.pipeline import MetricsReporter
from metricsmith.sdk.pipeline.reporter import RUNTIME_MODULES
from metricsmith.sdk.runtime_metrics import memory
from metricsmith.sdk.settings import MODULES, ExportSettings
from metricsmith.testing.clock import FakeClock

STEP_S = 15
STEPS = 84  # 21 minutes
STUCK_AS_PUBLISHED = "rate(dataflow_batches_processed_total[10m]) == 0\n  and dataflow_pipelines_running > 0"
"""Its sides have different labels and never match: the pack has it corrected."""
MORE = [
    "dataflow_pipelines_stopped",
    "dataflow_pipelines_paused",
    "dataflow_checkpoint_updates_total",
    "jvm_memory_non_heap_used_bytes",
    "jvm_gc_promotion_total",
]
"""Metrics that are listed, and in no query."""
DASHBOARD = rule_file("pipeline").parent / "dashboards" / "pipelines.json"


def panels() -> list[str]:
    """Return the queries of the dashboard, as Grafana would ask them of the last half hour."""
    targets = [t["expr"] for p in json.loads(DASHBOARD.read_text())["panels"] for t in p.get("targets", ())]
    return [expr.replace("$job", "flow|other").replace("$__range", "30m") for expr in targets]


class _NoJournal:
    """Events go nowhere: thousands of them would wait for a disk each."""

    def append(self, event: object) -> None: ...

    def replay(self) -> list[Any]:
        return []


@pytest.fixture
def scraped(
    example: Path, registry: Registry, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> tuple[GrowingSeries, int]:
    """What 21 minutes of a pipeline in trouble, one that hangs and one that pauses look like when scraped."""
    from dataflow import events as e
    from dataflow.aggregate import Pipelines
    from dataflow.work import start

    used = memory.process_status()["RssAnon"]
    monkeypatch.setattr(memory, "memory_limits", lambda: {"cgroup": used})
    settings = ExportSettings(
        prometheus_enabled=False, status_page_enabled=False, runtime_metrics=RUNTIME_MODULES
    )
    reporter = MetricsReporter(settings, registry, clock=clock)
    pipelines = Pipelines(_NoJournal(), reporter)
    reporter.initialise(pipelines.statuses())
    series, p = GrowingSeries(), "pipeline-123"
    for name in (p, "hangs"):
        start(pipelines, name)
    for step in range(STEPS):
        for number in range(40):
            pipelines.happened(e.BatchProcessed(p, f"b{number}", 995, 5, 20.0 * number))
        for number in range(20):
            pipelines.happened(e.BatchFailed(p, f"f{number}", "SCHEMA"))
            pipelines.happened(e.RetryScheduled(p, "SCHEMA", 1))
        for number in range(10):
            pipelines.happened(e.BatchTimedOut(p, f"t{number}"))
        pipelines.happened(e.CheckpointUpdated(p, step * 40_000))
        pipelines.happened(e.PipelinePaused("rests") if step % 2 else e.PipelineStarted("rests"))
        clock.advance(STEP_S)
        _scrape(registry, series, clock.now_ms())
    reporter.shut_down()
    return series, clock.now_ms()


def _scrape(registry: Registry, series: GrowingSeries, now_ms: int) -> None:
    body, _ = expose(registry)
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            labels = {**sample.labels, "__name__": sample.name, "job": "flow", "instance": "h:9095"}
            series.append(encode_labels(labels), now_ms, float(sample.value))


def test_every_expression_answers(document: str, scraped: tuple[GrowingSeries, int]) -> None:
    blocks = re.findall(r"```promql\n(.*?)```", document, re.DOTALL)
    queries = [query.strip() for block in blocks for query in block.split("\n\n")]
    alerts = [each.strip() for each in re.findall(r"^expr: \|\n((?:  .*\n)+)", document, re.MULTILINE)]
    shown = re.findall(r'"expr": "(.*)"', document)
    assert (len(queries), len(alerts), len(shown), len(panels())) == (13, 5, 1, 19)
    assert STUCK_AS_PUBLISHED in alerts
    series, now_ms = scraped
    engine = RuleEngine()
    asked = (*queries, *alerts, *shown, *panels(), *MORE)
    silent = [query for query in asked if not engine.instant(query, now_ms, series).keys]
    assert silent == [STUCK_AS_PUBLISHED]


def test_every_alert_of_the_pack_sees_what_it_is_for(scraped: tuple[GrowingSeries, int]) -> None:
    series, now_ms = scraped
    engine, true = RuleEngine(), {}
    for group in read_rule_file(str(rule_file("pipeline")), engine, 15_000).groups:
        for rule in group.rules:
            answer = engine.instant(rule.expr, now_ms, series)
            if isinstance(rule, RecordingRule):
                for key, value in zip(answer.keys, answer.values.tolist(), strict=True):
                    labels = decode_labels(key) | {"__name__": rule.name}
                    series.append(encode_labels(labels), now_ms, value)
            elif isinstance(rule, AlertingRule):
                true[rule.name] = set(answer.keys)
    assert {name for name, keys in true.items() if keys} == {
        "HighBatchFailureRate",
        "PipelineStuck",
        "HighRetryRate",
        "BatchTimeoutSpike",
        "HighMemoryUsage",
    }
    assert all(b"hangs" in key or b"rests" in key for key in true["PipelineStuck"])


def test_names_of_the_document_are_those_of_the_reporter(document: str, registry: Registry) -> None:
    reporter = MetricsReporter(ExportSettings(prometheus_enabled=False, status_page_enabled=False), registry)
    reporter.restore_state("p", "running")
    names = {f"{r.name}_total" if r.type == "counter" else r.name for r in registry.read()}
    listed = re.findall(r"^- `(dataflow\.[a-z.]+)", document, re.MULTILINE)
    assert len(listed) == 14
    wanted = {name.replace(".", "_") for name in listed}
    assert {name.removesuffix("_total") for name in names} == wanted


LINTS = {
    "dataflow_batch_processing_time_ms metric names should not contain abbreviated units",
    'jvm_threads_total non-counter metrics should not have "_total" suffix',
}
"""What promtool would have otherwise, and the document has so."""


def test_other_tools_read_all_that_a_pipeline_tells(registry: Registry, promtool: Path) -> None:
    settings = ExportSettings(prometheus_port=0, status_page_enabled=False, runtime_metrics=MODULES)
    reporter = MetricsReporter(settings, registry)
    reporter.initialise()
    reporter.record_state_transition("p", "configured", "running")
    reporter.record_batch_failed("p", "E")
    reporter.record_retry_scheduled("p", "E", 1)
    reporter.record_batch_processed("p", 10, 1, 5)
    text, openmetrics = generate_latest(registry), generate_latest(registry, openmetrics=True)
    reporter.shut_down()
    said = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
    assert set(said.stderr.decode().splitlines()) - {""} == LINTS
    assert len(list(read_openmetrics(openmetrics.decode()))) == text.count(b"# TYPE ")
