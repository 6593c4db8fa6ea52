"""The reporter: what a pipeline calls when something has happened to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from metricsmith.sdk.clock import SYSTEM_CLOCK, Clock
from metricsmith.sdk.pipeline.states import PipelineState, state_of
from metricsmith.sdk.problems import Problems
from metricsmith.sdk.settings import DEFAULT_MODULES, ExportSettings, settings_from_environment

if TYPE_CHECKING:
    from metricsmith.sdk.export import Export
    from metricsmith.sdk.registry import Registry

STATE_EXPIRY_S = 86_400.0
MAX_ID = 200
NO_CODE = "unknown"
INF = float("inf")
RUNTIME_MODULES = (*DEFAULT_MODULES, "jvm")
"""The queries and alerts for pipelines ask for heap and pauses under the names that a JVM has."""

P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class PipelineMetrics:
    """A pipeline's own totals, as its state keeps them."""

    batches_processed: int = 0
    records_processed: int = 0
    records_failed: int = 0
    processing_time_ms: float = 0.0

    def increment_batch(
        self, success_count: int, failure_count: int, processing_time_ms: float
    ) -> PipelineMetrics:
        """Return the totals with one more batch."""
        return PipelineMetrics(
            self.batches_processed + 1,
            self.records_processed + success_count,
            self.records_failed + failure_count,
            self.processing_time_ms + processing_time_ms,
        )


def _recorded(
    record: Callable[Concatenate[MetricsReporter, P], None],
) -> Callable[Concatenate[MetricsReporter, P], None]:
    """Return a call that does nothing while the reporter is off, and never fails its caller."""

    @wraps(record)
    def call(self: MetricsReporter, /, *args: P.args, **kwargs: P.kwargs) -> None:
        if self._on:
            try:
                record(self, *args, **kwargs)
            except Exception as error:
                self.problems.note(
                    f"pipeline_{type(error).__name__}", f"{record.__name__}: {error}", trace=True
                )

    return call


class MetricsReporter:
    """Counts what pipelines do, and exports it.

    Call it when an event has been persisted, not where events are applied to a
    state: that runs again at every replay. `enabled=no` makes every call return
    at once. No call raises: what cannot be recorded is counted in `problems`.
    """

    def __init__(
        self,
        settings: ExportSettings | None = None,
        registry: Registry | None = None,
        *,
        state_expiry_s: float = STATE_EXPIRY_S,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """`settings` are those of the environment, and `registry` is the application's, unless given.

        Raises:
            ValueError: the registry has these metrics already, from another reporter.
        """
        self.settings = settings or settings_from_environment(modules=RUNTIME_MODULES)
        self.problems = Problems()
        self.export: Export | None = None
        """What exports while it is initialised; tells addresses, and takes event loops to watch."""
        self._registry, self._clock, self._state_expiry_s = registry, clock, state_expiry_s
        self._on = False
        if self.settings.enabled:
            self._register()

    def initialise(self, states: Mapping[str, PipelineState | str] | None = None) -> None:
        """Export from now on; `states` are those of pipelines that were read back from what is durable.

        A restored state is no transition: it is in the gauges, and nothing is counted.
        """
        if not self.settings.enabled:
            return
        if not self._on:
            self._register()
        for pipeline_id, state in (states or {}).items():
            self.restore_state(pipeline_id, state)
        if self.export is None:
            from metricsmith.sdk.export import Export

            self.export = Export(self.settings, self._used, problems=self.problems, details=self.pipelines)
            self.export.start()

    def shut_down(self, timeout_s: float = 5.0) -> None:
        """Send what has not been sent, within a time; then record and export no more."""
        if self.export is not None:
            self.export.stop(timeout_s)
            self.export = None
        if self._on:
            self._on = False
            self._instruments.unregister(self._used)
            self._used.unregister(self._gauges)

    def _register(self) -> None:
        from metricsmith.sdk.pipeline.ledger import Ledger
        from metricsmith.sdk.pipeline.metrics import PipelineGauges, PipelineInstruments
        from metricsmith.sdk.registry import REGISTRY

        self._used: Registry = REGISTRY if self._registry is None else self._registry
        self._ledger = Ledger(self._state_expiry_s, self.settings.tick_interval_s)
        self._instruments = PipelineInstruments(self._used)
        self._gauges = PipelineGauges(self._ledger, self._clock, self.problems)
        self._used.register(self._gauges)
        self._on = True

    @_recorded
    def restore_state(self, pipeline_id: str, state: PipelineState | str) -> None:
        """Note the state of a pipeline that was read back; nothing is counted."""
        restored = state_of(state)
        if restored is PipelineState.EMPTY:
            self._ledger.forget(_id(pipeline_id))
            return
        self._ledger.hear(_id(pipeline_id), self._clock.monotonic()).state = restored
        if restored is PipelineState.RUNNING:
            self._instruments.begin(pipeline_id)

    @_recorded
    def forget(self, pipeline_id: str) -> None:
        """Show a pipeline no longer: it was deleted, or another process runs it now."""
        self._ledger.forget(pipeline_id)
        self._instruments.remove(pipeline_id)

    @_recorded
    def record_state_transition(
        self, pipeline_id: str, from_state: PipelineState | str, to_state: PipelineState | str
    ) -> None:
        """Count a transition; the gauges show the state after it."""
        before, after = state_of(from_state), state_of(to_state)
        self._instruments.transitions.labels(_id(pipeline_id), before, after).inc()
        if after is PipelineState.RUNNING:
            self._instruments.begin(pipeline_id)
        known = self._ledger.move(pipeline_id, before, after, self._clock.monotonic())
        if known is not None:
            text = f"{pipeline_id}: a transition from {before} to {after}, where its state was {known}"
            self.problems.note("pipeline_state_mismatch", text)

    @_recorded
    def record_batch_processed(
        self, pipeline_id: str, success_count: int, failure_count: int, processing_time_ms: float
    ) -> None:
        """Count a batch, its records, and how long it took."""
        if not (0 <= success_count < INF and 0 <= failure_count < INF and 0 <= processing_time_ms < INF):
            got = f"{success_count}, {failure_count}, {processing_time_ms}"
            raise ValueError(f"got counts and milliseconds {got}, wanted 0 or more")
        on = self._instruments
        on.batches_processed.labels(_id(pipeline_id)).inc()
        on.records_processed.labels(pipeline_id).inc(success_count)
        on.records_failed.labels(pipeline_id).inc(failure_count)
        on.batch_time.labels(pipeline_id).observe(processing_time_ms)
        self._ledger.hear(pipeline_id, self._clock.monotonic()).throughput.processed(success_count)

    @_recorded
    def record_batch_failed(self, pipeline_id: str, error_code: str) -> None:
        """Count a batch that failed as a whole."""
        self._instruments.batches_failed.labels(_id(pipeline_id), self._code(error_code)).inc()
        self._hear(pipeline_id)

    @_recorded
    def record_retry_scheduled(self, pipeline_id: str, error_code: str, retry_count: int) -> None:
        """Count a retry; the how-manyth it is stands on the status page."""
        self._instruments.retries_scheduled.labels(_id(pipeline_id), self._code(error_code)).inc()
        self._hear(pipeline_id, retry_count=retry_count)

    @_recorded
    def record_batch_timeout(self, pipeline_id: str, batch_id: str) -> None:
        """Count a batch that took too long; which one it was stands on the status page."""
        self._instruments.batches_timeouts.labels(_id(pipeline_id)).inc()
        self._hear(pipeline_id, timed_out_batch=batch_id)

    @_recorded
    def record_checkpoint_update(self, pipeline_id: str, offset: int) -> None:
        """Count a checkpoint; its offset stands on the status page."""
        self._instruments.checkpoint_updates.labels(_id(pipeline_id)).inc()
        self._hear(pipeline_id, checkpoint_offset=offset)

    @_recorded
    def update_pipeline_metrics(self, pipeline_id: str, metrics: PipelineMetrics) -> None:
        """Take a pipeline's own totals: from now on their growth is its throughput."""
        pipeline = self._ledger.hear(_id(pipeline_id), self._clock.monotonic())
        pipeline.throughput.total(metrics.records_processed)
        pipeline.details["totals"] = metrics

    def pipelines(self) -> list[dict[str, Any]]:
        """Return what is known of each pipeline, for the status page."""
        if not self._on:
            return []
        now_s = self._clock.monotonic()
        return [
            {
                "pipeline_id": pipeline_id,
                "state": pipeline.state,
                "heard_seconds_ago": round(now_s - pipeline.heard_s, 3),
                **{name: _shown(value) for name, value in list(pipeline.details.items())},
            }
            for pipeline_id, pipeline in self._ledger.pipelines()
        ]

    def _code(self, error_code: object) -> str:
        """Return what stands as error code: a failure counts, however its code is wrong."""
        try:
            return _id(error_code)
        except ValueError as error:
            self.problems.note("pipeline_error_code", f"error_code: {error}; {NO_CODE!r} is used")
            return NO_CODE

    def _hear(self, pipeline_id: str, **details: object) -> None:
        pipeline = self._ledger.hear(pipeline_id, self._clock.monotonic())
        for name, value in details.items():
            pipeline.details[name] = value if type(value) is int else str(value)[:MAX_ID]


def _id(text: object) -> str:
    if not isinstance(text, str) or not 0 < len(text) <= MAX_ID:
        raise ValueError(f"got {text!r:.100}, wanted a text of 1 to {MAX_ID} characters")
    return text


def _shown(value: object) -> object:
    if isinstance(value, PipelineMetrics):
        names = ("batches_processed", "records_processed", "records_failed", "processing_time_ms")
        return {name: getattr(value, name) for name in names}
    return value
