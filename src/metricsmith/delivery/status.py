"""How a sink is, for people and pages, and what became of its samples and events."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import StrEnum

from metricsmith.contracts import Context
from metricsmith.model.duration import format_duration

log = logging.getLogger(__name__)

TOLD_OUTAGE_MS = 10_000


class Circuit(StrEnum):
    """Whether sends go through: `open` while all that failed wait, `half_open` while one is tried again."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"

    @property
    def number(self) -> float:
        """The value of its gauge."""
        return float(list(Circuit).index(self))


@dataclass(frozen=True, slots=True)
class SinkStatus:
    """How a sink is. `behind` counts batches of the journal, `lag_ms` is the age of the oldest of them.

    One is `refusing` when its destination took nothing of the last delivery that it refused some of,
    nor anything since; `removed` when it left the configuration, and the journal is held until
    `held_until_ms` in case it comes back.
    """

    name: str
    kind: str
    state: str  # "ok", "retrying", "refusing", "stopped", "removed"
    behind: int
    delivered_samples: int = 0
    dropped_samples: int = 0
    last_success_ms: int | None = None
    last_error: str = ""
    delivered_events: int = 0
    dropped_events: int = 0
    circuit: Circuit = Circuit.CLOSED
    lag_ms: int = 0
    allowed_lag_ms: int | None = None
    buffered: int = 0
    retries: int = 0
    held_until_ms: int | None = None

    @property
    def late(self) -> bool:
        """Whether it is further behind than it may be."""
        return self.allowed_lag_ms is not None and self.lag_ms > self.allowed_lag_ms


class Tally:
    """Counts what became of a sink's samples and events: for its status, its metrics and the log."""

    def __init__(self, context: Context, takes_events: bool) -> None:
        """The context's name is the sink's. Events that it does not take are no loss."""
        self._context, self._takes_events = context, takes_events
        self.delivered_samples = self.delivered_events = 0
        self.dropped_samples = self.dropped_events = 0
        self.retries = 0
        self.last_success_ms: int | None = None
        self.last_error = ""
        self._failing_since_ms: int | None = None

    def delivered(self, samples: int, events: int) -> None:
        """Count what the destination took."""
        events = events if self._takes_events else 0
        self.delivered_samples += samples
        self.delivered_events += events
        self._well_again()
        self.last_success_ms, self.last_error = self._context.clock.now_ms(), ""
        telemetry, name = self._context.telemetry, self._context.name
        telemetry.count("metricsmith_sink_samples_total", samples, sink=name)
        if events:
            telemetry.count("metricsmith_sink_events_total", events, sink=name)

    def dropped(self, samples: int, events: int, reason: str, why: str) -> None:
        """Count what the destination does not get."""
        events = events if self._takes_events else 0
        self.dropped_samples += samples
        self.dropped_events += events
        count_dropped(self._context, self._context.name, samples, events, reason, why)

    def retried(self, error: Exception, reason: str, wait_s: float) -> None:
        """Count a send that failed and is tried again."""
        self.retries += 1
        self.last_error = str(error)
        if self._failing_since_ms is None:
            self._failing_since_ms = self._context.clock.now_ms()
        name = self._context.name
        self._context.telemetry.problem(
            log,
            "metricsmith_sink_retries_total",
            f"{name}: {error}; tried again in {wait_s:.1f}s",
            sink=name,
            reason=reason,
        )

    def _well_again(self) -> None:
        """Log the end of an outage; shorter ones are too many to tell."""
        since_ms, self._failing_since_ms = self._failing_since_ms, None
        lasted_ms = 0 if since_ms is None else self._context.clock.now_ms() - since_ms
        if lasted_ms >= TOLD_OUTAGE_MS:
            after = format_duration(lasted_ms // 1000 * 1000)
            log.info("%s: delivers again, after %s", self._context.name, after)


def count_dropped(context: Context, sink: str, samples: int, events: int, reason: str, why: str) -> None:
    """Count and log what a sink does not get; `reason` is for counters, `why` for people."""
    for amount, what in ((samples, "samples"), (events, "events")):
        if amount:
            context.telemetry.problem(
                log,
                f"metricsmith_sink_dropped_{what}_total",
                f"{sink}: {amount} {what} not delivered: {why}",
                amount=amount,
                sink=sink,
                reason=reason,
            )
