"""The example: what is durable is counted once, whatever is replayed; and it runs as its words say.

Its `happened` is on docs/sdk-pipeline.md.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from metricsmith.sdk import Registry, generate_latest
from metricsmith.sdk.pipeline import MetricsReporter, PipelineState
from metricsmith.sdk.settings import ExportSettings
from metricsmith.testing.services import free_port

OFF = ExportSettings(prometheus_enabled=False, status_page_enabled=False)


def totals(registry: Registry) -> dict[str, float]:
    found = {r.name: sum(s.value for s in r.samples) for r in registry.read() if r.type == "counter"}
    names = {name: name.removeprefix("dataflow_") for name, total in found.items() if total}
    return {short: found[name] for name, short in names.items() if short != name}


def test_replayed_events_are_not_counted_again(example: Path, tmp_path: Path) -> None:
    from dataflow.aggregate import Pipelines
    from dataflow.journal import EventJournal
    from dataflow.work import start, work_a_batch

    chance = random.Random(1)
    first, second = Registry(), Registry()
    journal = EventJournal(tmp_path / "events")
    pipelines = Pipelines(journal, MetricsReporter(OFF, first))
    for name in ("a", "b"):
        start(pipelines, name)
        for _ in range(20):
            work_a_batch(pipelines, name, chance, 0.4)
    journal.close()
    counted = totals(first)
    assert counted["batches_processed"] == 40
    assert counted["state_transitions"] == 4
    assert counted["batches_failed"] + counted["batches_timeouts"] == counted["retries_scheduled"]

    reporter = MetricsReporter(OFF, second)
    journal = EventJournal(tmp_path / "events")
    again = Pipelines(journal, reporter)
    reporter.initialise(again.statuses())
    assert again.states == pipelines.states
    assert totals(second) == {}
    assert second.get_sample_value("dataflow_pipelines_running") == 2
    work_a_batch(again, "a", chance, 0.0)
    assert again.states["a"].offset == pipelines.states["a"].offset + 1000
    assert totals(second)["batches_processed"] == 1
    assert totals(second)["records_processed"] <= 1000
    throughput = second.get_sample_value("dataflow_records_throughput_per_second", {"pipeline_id": "a"})
    assert throughput is not None and throughput <= 1000  # not the twenty batches that were replayed
    reporter.shut_down()
    journal.close()


def test_what_was_not_persisted_is_not_counted(example: Path, tmp_path: Path) -> None:
    from dataflow.aggregate import Pipelines
    from dataflow.events import PipelineConfigured, PipelineStarted
    from dataflow.journal import EventJournal

    registry = Registry()
    journal = EventJournal(tmp_path / "events")
    pipelines = Pipelines(journal, MetricsReporter(OFF, registry))
    pipelines.happened(PipelineConfigured("p"))
    before = generate_latest(registry)
    journal.close()
    with pytest.raises(ValueError, match="closed file"):
        pipelines.happened(PipelineStarted("p"))
    assert generate_latest(registry) == before
    assert pipelines.state("p").status is PipelineState.CONFIGURED


def test_the_page_shows_what_the_example_does(example: Path) -> None:
    page = (Path(__file__).parents[3] / "docs/sdk-pipeline.md").read_text()
    (shown,) = re.findall(r"```python\n(def happened.*?)```", page, re.DOTALL)
    code = (example / "dataflow/aggregate.py").read_text()
    body = [line.partition("  #")[0].strip() for line in shown.splitlines()[1:]]
    assert "\n        ".join(body) in code
    assert shown.splitlines()[0] in code


def test_a_torn_line_is_no_event(example: Path, tmp_path: Path) -> None:
    from dataflow.events import PipelineConfigured, PipelineStarted
    from dataflow.journal import EventJournal

    file = tmp_path / "events"
    journal = EventJournal(file)
    journal.append(PipelineConfigured("p"))
    journal.close()
    with file.open("ab") as torn:
        torn.write(b'{"event": "PipelineSt')
    journal = EventJournal(file)
    journal.append(PipelineStarted("p"))
    assert [type(event).__name__ for event in journal.replay()] == ["PipelineConfigured", "PipelineStarted"]
    journal.close()


def test_it_runs_is_killed_and_goes_on(example: Path, tmp_path: Path) -> None:
    port = free_port()
    environment = {
        **os.environ,
        "METRICSMITH_PROMETHEUS_PORT": str(port),
        "KAMON_STATUS_PAGE_ENABLED": "no",
        "METRICSMITH_TICK_INTERVAL": "10 seconds",
    }
    command = [sys.executable, str(example / "run.py"), "--journal", str(tmp_path / "e"), "--rate", "500"]
    states = []
    for end in ("kill", "terminate"):
        process = subprocess.Popen(command, env=environment)
        try:
            states.append(_scrape(process, port))
        finally:
            getattr(process, end)()
            process.wait(60)
    assert process.returncode == 0
    first, second = states
    assert 'from_state="configured",to_state="running"' in first
    assert "dataflow_state_transitions_total{" not in second
    assert "dataflow_pipelines_running 3.0" in first and "dataflow_pipelines_running 3.0" in second


def _scrape(process: subprocess.Popen[bytes], port: int) -> str:
    """Return the metrics once all pipelines have worked a batch."""
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                text: str = answer.read().decode()
        except OSError:
            time.sleep(0.05)
            continue
        if text.count("dataflow_batch_processing_time_ms_sum") == 3:
            return text
    raise AssertionError("the example shows no metrics")
