"""A pipeline: commands become events, events become durable, and only then they are counted."""

from __future__ import annotations

from dataflow.events import (
    BatchFailed,
    BatchProcessed,
    BatchTimedOut,
    CheckpointUpdated,
    Event,
    RetryScheduled,
    State,
    apply,
)
from dataflow.journal import EventJournal
from metricsmith.sdk.pipeline import MetricsReporter, PipelineState


class Pipelines:
    """All pipelines of this process."""

    def __init__(self, journal: EventJournal, reporter: MetricsReporter) -> None:
        self._journal, self._reporter = journal, reporter
        self.states: dict[str, State] = {}
        for event in journal.replay():  # states only: what is replayed was counted when it happened
            self.states[event.pipeline_id] = apply(self.state(event.pipeline_id), event)

    def state(self, pipeline_id: str) -> State:
        """Return the state of a pipeline."""
        return self.states.get(pipeline_id, State())

    def statuses(self) -> dict[str, PipelineState]:
        """Return what the reporter is initialised with."""
        return {pipeline_id: state.status for pipeline_id, state in self.states.items()}

    def happened(self, event: Event) -> None:
        """Take up an event, in the one order that neither doubles nor invents anything."""
        before = self.state(event.pipeline_id)
        self._journal.append(event)
        after = self.states[event.pipeline_id] = apply(before, event)
        record(self._reporter, before, event, after)


def record(reporter: MetricsReporter, before: State, event: Event, after: State) -> None:
    """Count an event that is durable."""
    pipeline_id = event.pipeline_id
    if after.status is not before.status:
        reporter.record_state_transition(pipeline_id, before.status, after.status)
    match event:
        case BatchProcessed():
            reporter.record_batch_processed(
                pipeline_id, event.success_count, event.failure_count, event.processing_time_ms
            )
            reporter.update_pipeline_metrics(pipeline_id, after.metrics)
        case BatchFailed():
            reporter.record_batch_failed(pipeline_id, event.error_code)
        case BatchTimedOut():
            reporter.record_batch_timeout(pipeline_id, event.batch_id)
        case RetryScheduled():
            reporter.record_retry_scheduled(pipeline_id, event.error_code, event.retry_count)
        case CheckpointUpdated():
            reporter.record_checkpoint_update(pipeline_id, event.offset)
