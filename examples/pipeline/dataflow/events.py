"""What can happen to a pipeline, and the state that follows: without effects, as it runs at every replay."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from metricsmith.sdk.pipeline import PipelineMetrics, PipelineState


@dataclass(frozen=True)
class Event:
    """Something that has happened to one pipeline."""

    pipeline_id: str
    at: float = field(default_factory=time.time, kw_only=True)


@dataclass(frozen=True)
class PipelineConfigured(Event):
    """The pipeline exists."""


@dataclass(frozen=True)
class PipelineStarted(Event):
    """It runs."""


@dataclass(frozen=True)
class PipelinePaused(Event):
    """It waits."""


@dataclass(frozen=True)
class PipelineStopped(Event):
    """It has ended."""


@dataclass(frozen=True)
class PipelineFailed(Event):
    """It cannot go on."""


@dataclass(frozen=True)
class BatchProcessed(Event):
    """A batch is done, though single records may have failed."""

    batch_id: str
    success_count: int
    failure_count: int
    processing_time_ms: float


@dataclass(frozen=True)
class BatchFailed(Event):
    """A batch failed as a whole."""

    batch_id: str
    error_code: str


@dataclass(frozen=True)
class BatchTimedOut(Event):
    """A batch took too long."""

    batch_id: str


@dataclass(frozen=True)
class RetryScheduled(Event):
    """A batch will be tried again."""

    error_code: str
    retry_count: int


@dataclass(frozen=True)
class CheckpointUpdated(Event):
    """All before this offset is done."""

    offset: int


EVENTS = {
    each.__name__: each
    for each in (
        PipelineConfigured,
        PipelineStarted,
        PipelinePaused,
        PipelineStopped,
        PipelineFailed,
        BatchProcessed,
        BatchFailed,
        BatchTimedOut,
        RetryScheduled,
        CheckpointUpdated,
    )
}
_STATES = {
    PipelineConfigured: PipelineState.CONFIGURED,
    PipelineStarted: PipelineState.RUNNING,
    PipelinePaused: PipelineState.PAUSED,
    PipelineStopped: PipelineState.STOPPED,
    PipelineFailed: PipelineState.FAILED,
}


@dataclass(frozen=True)
class State:
    """A pipeline's state. It follows from the events alone."""

    status: PipelineState = PipelineState.EMPTY
    offset: int = 0
    retry_count: int = 0
    metrics: PipelineMetrics = field(default_factory=PipelineMetrics)


def apply(state: State, event: Event) -> State:
    """Return the state after an event."""
    match event:
        case BatchProcessed():
            done = (event.success_count, event.failure_count, event.processing_time_ms)
            return replace(state, metrics=state.metrics.increment_batch(*done), retry_count=0)
        case RetryScheduled():
            return replace(state, retry_count=event.retry_count)
        case CheckpointUpdated():
            return replace(state, offset=event.offset)
        case _:
            return replace(state, status=_STATES.get(type(event), state.status))
