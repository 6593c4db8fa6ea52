"""The reporter: the metrics of the seven calls, states over restarts, throughput; it harms nobody."""

from __future__ import annotations

import logging

import pytest

from metricsmith.sdk import Registry, generate_latest
from metricsmith.sdk.pipeline import MetricsReporter, PipelineMetrics, PipelineState
from metricsmith.sdk.settings import ExportSettings
from metricsmith.testing.clock import FakeClock

STATES = ("running", "stopped", "paused", "failed")


def value(registry: Registry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"dataflow_{name}", labels)


def gauges(registry: Registry) -> dict[str, float]:
    return {s: v for s in STATES if (v := value(registry, f"pipelines_{s}"))}


def test_each_call_moves_its_metrics(reporter: MetricsReporter, registry: Registry) -> None:
    reporter.record_state_transition("p", PipelineState.CONFIGURED, PipelineState.RUNNING)
    reporter.record_batch_processed("p", success_count=1000, failure_count=5, processing_time_ms=250)
    reporter.record_batch_failed("p", "TIMEOUT")
    reporter.record_retry_scheduled("p", "CONNECTION_FAILED", retry_count=2)
    reporter.record_batch_timeout("p", batch_id="batch-456")
    reporter.record_checkpoint_update("p", offset=1000)
    reporter.update_pipeline_metrics("p", PipelineMetrics(records_processed=1000))
    of = {"pipeline_id": "p"}
    assert value(registry, "state_transitions_total", **of, from_state="configured", to_state="running") == 1
    assert value(registry, "batches_processed_total", **of) == 1
    assert value(registry, "batches_failed_total", **of, error_code="TIMEOUT") == 1
    assert value(registry, "batches_timeouts_total", **of) == 1
    assert value(registry, "batch_processing_time_ms_sum", **of) == 250
    assert value(registry, "batch_processing_time_ms_bucket", **of, le="100.0") == 0
    assert value(registry, "batch_processing_time_ms_bucket", **of, le="250.0") == 1
    assert value(registry, "records_processed_total", **of) == 1000
    assert value(registry, "records_failed_total", **of) == 5
    assert value(registry, "retries_scheduled_total", **of, error_code="CONNECTION_FAILED") == 1
    assert value(registry, "checkpoint_updates_total", **of) == 1
    assert value(registry, "records_throughput_per_second", **of) == 1000
    assert gauges(registry) == {"running": 1}


def test_buckets_are_those_of_batches_in_milliseconds(reporter: MetricsReporter, registry: Registry) -> None:
    reporter.record_batch_processed("p", 1, 0, 3)
    text = generate_latest(registry).decode()
    bounds = [line.split('le="')[1].split('"')[0] for line in text.splitlines() if "_ms_bucket" in line]
    wanted = [1, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000]
    assert [float(bound) for bound in bounds] == [*wanted, float("inf")]


def test_ids_offsets_and_retry_counts_are_no_labels(reporter: MetricsReporter, registry: Registry) -> None:
    for number in range(50):
        reporter.record_batch_timeout("p", batch_id=f"batch-{number}")
        reporter.record_checkpoint_update("p", offset=number)
        reporter.record_retry_scheduled("p", "E", retry_count=number)
    text = generate_latest(registry).decode()
    assert text.count('pipeline_id="p"') == 4  # three counters and the throughput
    assert "batch-" not in text
    (shown,) = reporter.pipelines()
    assert shown["timed_out_batch"] == "batch-49"
    assert (shown["checkpoint_offset"], shown["retry_count"]) == (49, 49)


@pytest.mark.parametrize("before", PipelineState)
@pytest.mark.parametrize("after", PipelineState)
def test_gauges_follow_every_transition(before: PipelineState, after: PipelineState) -> None:
    registry = Registry()
    reporter = MetricsReporter(ExportSettings(), registry)
    reporter.restore_state("p", before)
    reporter.restore_state("other", PipelineState.PAUSED)
    reporter.record_state_transition("p", before, after)
    wanted = {"paused": 1.0}
    if after.value in STATES:
        wanted[after.value] = wanted.get(after.value, 0) + 1
    assert gauges(registry) == wanted


def test_restored_states_are_gauges_and_no_transitions(reporter: MetricsReporter, registry: Registry) -> None:
    reporter.initialise({"a": "running", "b": "RunningState", "c": PipelineState.FAILED})
    assert gauges(registry) == {"running": 2, "failed": 1}
    assert "dataflow_state_transitions_total{" not in generate_latest(registry).decode()
    reporter.record_state_transition("a", "running", "stopped")
    assert gauges(registry) == {"running": 1, "stopped": 1, "failed": 1}
    reporter.shut_down()


def test_a_transition_from_another_state_than_known_counts_once_and_is_told(
    reporter: MetricsReporter, registry: Registry
) -> None:
    reporter.restore_state("p", "paused")
    reporter.record_state_transition("p", "running", "failed")
    assert gauges(registry) == {"failed": 1}
    assert list(reporter.problems.last()) == ["pipeline_state_mismatch"]


def test_a_pipeline_of_which_nothing_is_heard_leaves_the_gauges(
    registry: Registry, clock: FakeClock, settings: ExportSettings
) -> None:
    reporter = MetricsReporter(settings, registry, clock=clock, state_expiry_s=100)
    reporter.restore_state("gone", "running")
    reporter.restore_state("here", "running")
    clock.advance(90)
    reporter.record_checkpoint_update("here", 1)
    clock.advance(20)
    assert gauges(registry) == {"running": 1}
    assert value(registry, "records_throughput_per_second", pipeline_id="gone") is None
    assert "gone" in reporter.problems.last()["pipeline_expired"]


def test_a_forgotten_pipeline_has_no_series(reporter: MetricsReporter, registry: Registry) -> None:
    reporter.record_state_transition("p", "stopped", "running")
    reporter.record_batch_processed("p", 1, 1, 1)
    reporter.forget("p")
    assert "pipeline_id" not in generate_latest(registry).decode()
    assert gauges(registry) == {}


def test_a_running_pipeline_shows_zeros_before_its_first_batch(
    reporter: MetricsReporter, registry: Registry
) -> None:
    reporter.record_state_transition("p", "configured", "running")
    reporter.restore_state("q", "running")
    reporter.restore_state("r", "paused")
    shown = [value(registry, "batches_processed_total", pipeline_id=p) for p in "pqr"]
    assert shown == [0, 0, None]


def throughput(registry: Registry) -> float | None:
    return value(registry, "records_throughput_per_second", pipeline_id="p")


def test_throughput_is_that_of_the_last_tick(
    reporter: MetricsReporter, registry: Registry, clock: FakeClock
) -> None:
    for _ in range(30):
        reporter.record_batch_processed("p", 500, 0, 1)
        clock.advance(1)
        throughput(registry)
    assert throughput(registry) == 500
    clock.advance(5)
    assert throughput(registry) == 250
    clock.advance(5)
    assert throughput(registry) == 0


def test_throughput_of_a_rare_reader_is_since_it_last_read(
    reporter: MetricsReporter, registry: Registry, clock: FakeClock
) -> None:
    throughput(registry)
    for _ in range(60):
        reporter.record_batch_processed("p", 60, 0, 1)
        clock.advance(1)
    assert throughput(registry) == 60


def test_totals_replace_counted_batches_and_replayed_ones_are_no_throughput(
    reporter: MetricsReporter, registry: Registry, clock: FakeClock
) -> None:
    totals = PipelineMetrics(records_processed=1_000_000)
    reporter.update_pipeline_metrics("p", totals)
    clock.advance(10)
    assert throughput(registry) == 0
    for _ in range(10):
        totals = totals.increment_batch(700, 3, 20)
        reporter.record_batch_processed("p", 700, 3, 20)
        reporter.update_pipeline_metrics("p", totals)
        clock.advance(1)
    assert throughput(registry) == 700
    reporter.update_pipeline_metrics("p", PipelineMetrics())  # begun anew
    clock.advance(10)
    assert throughput(registry) == 0
    assert (totals.batches_processed, totals.records_failed, totals.processing_time_ms) == (10, 30, 200)


BAD = [
    ("record_state_transition", ("p", "running", "flying")),
    ("record_batch_processed", ("p", -1, 0, 1)),
    ("record_batch_processed", ("p", 1, 0, float("nan"))),
    ("record_batch_processed", (None, 1, 0, 1)),
    ("record_batch_processed", ("p", float("inf"), 0, 1)),
    ("record_batch_failed", (None, "E")),
    ("record_retry_scheduled", ("", "E", 1)),
    ("record_batch_timeout", (17, "b")),
    ("record_checkpoint_update", (b"p", 1)),
    ("update_pipeline_metrics", ("p", None)),
]


@pytest.mark.parametrize(("call", "arguments"), BAD)
def test_what_cannot_be_recorded_is_counted_and_never_raised(
    reporter: MetricsReporter, registry: Registry, call: str, arguments: tuple[object, ...]
) -> None:
    before = generate_latest(registry)
    for _ in range(3):
        getattr(reporter, call)(*arguments)
    ((kind, text),) = reporter.problems.last().items()
    assert reporter.problems.read().samples[0].value == 3
    assert kind.startswith("pipeline_") and text.startswith(call)
    if call != "update_pipeline_metrics":  # the pipeline itself was heard of
        assert generate_latest(registry) == before


@pytest.mark.parametrize("code", ["x" * 1000, "", None, 500])
def test_a_failure_counts_however_its_code_is_wrong(
    reporter: MetricsReporter, registry: Registry, code: object
) -> None:
    reporter.record_batch_failed("p", code)  # type: ignore[arg-type]
    reporter.record_retry_scheduled("p", code, 1)  # type: ignore[arg-type]
    labels = {"pipeline_id": "p", "error_code": "unknown"}
    assert registry.get_sample_value("dataflow_batches_failed_total", labels) == 1
    assert registry.get_sample_value("dataflow_retries_scheduled_total", labels) == 1
    assert reporter.problems.read().samples[0] == (
        "metricsmith_sdk_problems_total",
        {"kind": "pipeline_error_code"},
        2,
        None,
        None,
    )


def test_a_problem_is_logged_once(reporter: MetricsReporter, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "metricsmith.sdk"):
        for _ in range(5):
            reporter.record_batch_failed("p", "")
    assert len(caplog.records) == 1


def test_a_handler_of_the_log_that_fails_does_not_fail_the_pipeline(
    reporter: MetricsReporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(logging.getLogger("metricsmith.sdk"), "callHandlers", fail)
    reporter.record_batch_failed("", "E")
    assert reporter.problems.read().samples[0].value == 1


def test_details_are_numbers_and_short_texts(reporter: MetricsReporter) -> None:
    reporter.record_checkpoint_update("p", [0] * 1000)  # type: ignore[arg-type]
    reporter.record_batch_timeout("p", "b" * 1000)
    reporter.record_retry_scheduled("p", "E", 3)
    (found,) = reporter.pipelines()
    assert found["checkpoint_offset"] == str([0] * 1000)[:200]
    assert (found["timed_out_batch"], found["retry_count"]) == ("b" * 200, 3)


def test_beyond_a_number_of_pipelines_memory_is_bounded(
    reporter: MetricsReporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metricsmith.sdk.pipeline.ledger.MAX_PIPELINES", 3)
    for number in range(10):
        reporter.record_batch_processed(f"p{number}", 1, 0, 1)
    assert len(reporter.pipelines()) == 3
    assert list(reporter.problems.last()) == ["pipeline_OverflowError"]


def test_after_shut_down_nothing_is_recorded_until_it_is_initialised_again(
    reporter: MetricsReporter, registry: Registry
) -> None:
    reporter.initialise()
    reporter.record_batch_processed("p", 1, 0, 1)
    reporter.shut_down()
    reporter.record_batch_processed("p", 1, 0, 1)
    reporter.shut_down()
    assert generate_latest(registry) == b""
    reporter.initialise({"p": "running"})
    assert value(registry, "batches_processed_total", pipeline_id="p") == 0
    reporter.shut_down()


def test_two_reporters_of_one_registry_are_a_mistake(reporter: MetricsReporter, registry: Registry) -> None:
    with pytest.raises(ValueError, match="dataflow_state_transitions"):
        MetricsReporter(ExportSettings(), registry)


def test_off_means_nothing_at_all() -> None:
    registry = Registry()
    reporter = MetricsReporter(ExportSettings(enabled=False), registry)
    reporter.initialise({"p": "running"})
    reporter.record_state_transition("p", "running", "stopped")
    reporter.record_batch_processed("p", 1, 0, 1)
    reporter.record_batch_processed(None, -1, 0, 1)  # type: ignore[arg-type]
    reporter.shut_down()
    assert generate_latest(registry) == b""
    assert reporter.pipelines() == []
    assert reporter.problems.last() == {}
