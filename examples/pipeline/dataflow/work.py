"""Batches that come from nowhere: what a pipeline would read, transform and write."""

from __future__ import annotations

import random

from dataflow.aggregate import Pipelines
from dataflow.events import (
    BatchFailed,
    BatchProcessed,
    BatchTimedOut,
    CheckpointUpdated,
    PipelineConfigured,
    PipelineStarted,
    RetryScheduled,
)
from metricsmith.sdk.pipeline import PipelineState

ERRORS = ("CONNECTION_FAILED", "SCHEMA", "TIMEOUT")
BATCH = 1000


def start(pipelines: Pipelines, pipeline_id: str) -> None:
    """Bring a pipeline to run, whatever state it was left in."""
    status = pipelines.state(pipeline_id).status
    if status is PipelineState.EMPTY:
        pipelines.happened(PipelineConfigured(pipeline_id))
    if status is not PipelineState.RUNNING:
        pipelines.happened(PipelineStarted(pipeline_id))


def work_a_batch(
    pipelines: Pipelines, pipeline_id: str, chance: random.Random, trouble: float = 0.05
) -> None:
    """Work one batch: mostly well, sometimes with a failure or a time-out and a retry after it."""
    state = pipelines.state(pipeline_id)
    batch_id = f"batch-{state.offset + BATCH}"
    for attempt in (1, 2):
        if chance.random() >= trouble:
            break
        error_code = chance.choice(ERRORS)
        if error_code == "TIMEOUT":
            pipelines.happened(BatchTimedOut(pipeline_id, batch_id))
        else:
            pipelines.happened(BatchFailed(pipeline_id, batch_id, error_code))
        pipelines.happened(RetryScheduled(pipeline_id, error_code, attempt))
    failed = chance.randrange(5)
    took_ms = chance.lognormvariate(4.0, 0.8)
    pipelines.happened(BatchProcessed(pipeline_id, batch_id, BATCH - failed, failed, took_ms))
    pipelines.happened(CheckpointUpdated(pipeline_id, state.offset + BATCH))
