"""The metrics of pipelines: names, labels, buckets.

`docs/sdk-pipeline.md` and the pack `pipeline` use these names.
"""

from __future__ import annotations

from collections.abc import Iterator
from threading import RLock

from metricsmith.sdk.buckets import MILLISECOND_BUCKETS
from metricsmith.sdk.clock import Clock
from metricsmith.sdk.counter import Counter
from metricsmith.sdk.forks import renew_lock_after_fork
from metricsmith.sdk.histogram import Histogram
from metricsmith.sdk.pipeline.ledger import Ledger
from metricsmith.sdk.problems import Problems
from metricsmith.sdk.reading import Reading, Sample
from metricsmith.sdk.registry import Registry

PIPELINE = "pipeline_id"
ERROR = "error_code"


class PipelineInstruments:
    """What is counted as it happens."""

    def __init__(self, registry: Registry) -> None:
        def counter(name: str, help: str, *labels: str) -> Counter:
            return Counter(f"dataflow_{name}_total", help, [PIPELINE, *labels], registry=registry)

        self.transitions = counter("state_transitions", "State transitions.", "from_state", "to_state")
        self.batches_processed = counter("batches_processed", "Batches processed successfully.")
        self.batches_failed = counter("batches_failed", "Batches that failed.", ERROR)
        self.batches_timeouts = counter("batches_timeouts", "Batches that took too long.")
        self.records_processed = counter("records_processed", "Records processed successfully.")
        self.records_failed = counter("records_failed", "Records that failed.")
        self.retries_scheduled = counter("retries_scheduled", "Retries scheduled.", ERROR)
        self.checkpoint_updates = counter("checkpoint_updates", "Checkpoint updates.")
        self.batch_time = Histogram(
            "dataflow_batch_processing_time_ms",
            "Processing time of batches, in milliseconds.",
            [PIPELINE],
            registry=registry,
            buckets=MILLISECOND_BUCKETS,
        )
        self._of_a_pipeline = (
            self.batches_processed,
            self.batches_timeouts,
            self.records_processed,
            self.records_failed,
            self.checkpoint_updates,
        )
        self._all = (
            *self._of_a_pipeline,
            self.transitions,
            self.batches_failed,
            self.retries_scheduled,
            self.batch_time,
        )

    def begin(self, pipeline_id: str) -> None:
        """Show a pipeline's counters at zero.

        A rate needs a sample from before the first batch; and a pipeline that hangs
        before it has a rate of 0 then, which the alert PipelineStuck sees.
        """
        for counter in self._of_a_pipeline:
            counter.labels(pipeline_id)

    def remove(self, pipeline_id: str) -> None:
        """Show a pipeline no longer."""
        for instrument in self._all:
            instrument.remove_by_labels({PIPELINE: pipeline_id})

    def unregister(self, registry: Registry) -> None:
        """Take all of them out of a registry."""
        for instrument in self._all:
            registry.unregister(instrument)


class PipelineGauges:
    """What is read from the ledger when somebody asks: states and throughput."""

    def __init__(self, ledger: Ledger, clock: Clock, problems: Problems) -> None:
        self._ledger, self._clock, self._problems = ledger, clock, problems
        self.lock = RLock()  # of readers: nothing that records waits for it
        renew_lock_after_fork(self)

    def read(self) -> Iterator[Reading]:
        """Yield the four state gauges, and the throughput of each pipeline."""
        now_s = self._clock.monotonic()
        for pipeline_id, lost in self._ledger.expire(now_s):
            text = f"{pipeline_id} ({lost.state}): nothing heard of it for long; it is in no gauge any more"
            self._problems.note("pipeline_expired", text)
        for state, count in self._ledger.counts().items():
            name = f"dataflow_pipelines_{state}"
            yield Reading(name, "gauge", f"Pipelines that are {state}.", "", [Sample(name, {}, float(count))])
        name = "dataflow_records_throughput_per_second"
        with self.lock:
            samples = [
                Sample(name, {PIPELINE: pipeline_id}, pipeline.throughput.per_second(now_s))
                for pipeline_id, pipeline in self._ledger.pipelines()
            ]
        yield Reading(name, "gauge", "Records processed per second, over the last tick.", "", samples)

    def describe(self) -> tuple[()]:
        """Return nothing: a registry need not read everything to learn the names."""
        return ()
