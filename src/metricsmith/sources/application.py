"""What every agent tells of itself in the words that services on the bus use: counts, rate, queue, time."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from metricsmith.contracts import Context, PartConfig
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import encode_labels
from metricsmith.model.settings_types import DurationMs
from metricsmith.model.well_known import known_metadata
from metricsmith.wire.messages import SERVICE

STREAM = "application"
PROBLEMS = frozenset(
    (
        *("metricsmith_samples_dropped_total", "metricsmith_events_dropped_total"),
        *("metricsmith_sink_dropped_samples_total", "metricsmith_sink_dropped_events_total"),
        *("metricsmith_source_failures_total", "metricsmith_scrape_failures_total"),
        *("metricsmith_discovery_failures_total", "metricsmith_collector_failures_total"),
        *("metricsmith_exec_failures_total", "metricsmith_host_failures_total"),
        *("metricsmith_kafka_failures_total", "metricsmith_kafka_batches_refused_total"),
        *("metricsmith_bus_messages_refused_total", "metricsmith_http_refused_total"),
        *("metricsmith_journal_errors_total", "metricsmith_store_server_failures_total"),
        *("metricsmith_query_failures_total", "metricsmith_notifications_dropped_total"),
        *("metricsmith_rule_evaluation_failures_total", "metricsmith_rule_commit_failures_total"),
        "metricsmith_rule_template_failures_total",
    )
)
"""Counters that `error_count` adds up."""
DELIBERATE = frozenset(("aggregated", "averaged", "filtered", "not_collected", "relabel", "sampled"))
"""Reasons of drops that the configuration asks for: no errors."""
NAMES = (
    "message_count",
    "message_rate",
    "queue_depth",
    "connection_count",
    "error_count",
    "response_time_ms",
    "uptime_seconds",
)


class ApplicationConfig(PartConfig):
    """Settings of the `application` source."""

    interval: DurationMs = Field(10_000, ge=100, le=86_400_000, description="Time between readings.")
    service: str = Field("metricsmith", min_length=1, max_length=200, description="`service` label.")


class ApplicationSource:
    """Reads the agent's own counters. A message is a batch that was accepted, an error anything refused."""

    Config: ClassVar[type[ApplicationConfig]] = ApplicationConfig

    def __init__(self, config: ApplicationConfig, context: Context) -> None:
        self.interval_ms = config.interval
        self._telemetry, self._clock = context.telemetry, context.clock
        self._began_s = self._read_s = context.clock.monotonic()
        self._messages = self._requests = self._request_s = self._response_ms = 0.0
        keys = [encode_labels({"__name__": name, SERVICE: config.service}) for name in NAMES]
        self._layout = Layout(context.series.intern_many(keys), STREAM, known_metadata(NAMES))

    def collect(self, now_ms: int) -> Batch:
        """Return what is true now; times and rates are those since the last reading."""
        sums, errors = self._sums()
        now_s = self._clock.monotonic()
        messages = sums.get("metricsmith_batches_accepted_total", 0.0)
        rate = (messages - self._messages) / max(now_s - self._read_s, 1e-3)
        requests = sums.get("metricsmith_http_request_seconds_count", 0.0)
        request_s = sums.get("metricsmith_http_request_seconds_sum", 0.0)
        if requests > self._requests:
            self._response_ms = 1000 * (request_s - self._request_s) / (requests - self._requests)
        self._messages, self._requests, self._request_s, self._read_s = messages, requests, request_s, now_s
        values = {
            "message_count": messages,
            "message_rate": rate,
            "queue_depth": sums.get("metricsmith_sink_behind_batches", 0.0),
            "connection_count": sums.get("metricsmith_http_connections", 0.0),
            "error_count": errors,
            "response_time_ms": self._response_ms,
            "uptime_seconds": now_s - self._began_s,
        }
        return Batch(self._layout, now_ms, np.array([values[name] for name in NAMES]))

    def _sums(self) -> tuple[dict[str, float], float]:
        """Return each of the agent's own metrics, added up over its labels, and the errors."""
        sums: dict[str, float] = {}
        errors = 0.0
        for family in self._telemetry.registry.collect():
            for sample in family.samples:
                if not sample.name.endswith("_bucket"):
                    sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
                if sample.name in PROBLEMS and sample.labels.get("reason") not in DELIBERATE:
                    errors += sample.value
        return sums, errors
