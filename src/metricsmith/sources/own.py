"""The agent's own metrics as a source, so that they are kept and queried like all others."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import ClassVar, TypeAlias

from pydantic import Field

from metricsmith.contracts import Context, Emit, PartConfig
from metricsmith.errors import DiskFull, JournalError
from metricsmith.model.batch import Batch
from metricsmith.model.clock import stopped_within
from metricsmith.model.labels import encode_labels
from metricsmith.model.metadata import Metadata
from metricsmith.model.own_metrics import OWN_METRICS
from metricsmith.model.schedule import Schedule
from metricsmith.model.settings_types import DurationMs
from metricsmith.sources.stream import SeriesStream

log = logging.getLogger(__name__)

STREAM = "self"
JOB = "metricsmith"
Name: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]
"""A metric's name and the labels of a sample."""
METADATA = {m.name: Metadata(m.type, m.unit, m.help) for m in OWN_METRICS}


class OwnMetricsConfig(PartConfig):
    """Settings of the `self` source."""

    interval: DurationMs = Field(15_000, ge=100, le=86_400_000, description="Time between readings.")
    instance: str = Field(
        default_factory=socket.gethostname,
        min_length=1,
        description="`instance` label of the series; else `service.name`.",
    )


class OwnMetricsSource:
    """Reads the agent's registry every interval. A label set that has gone gets a staleness marker."""

    Config: ClassVar[type[OwnMetricsConfig]] = OwnMetricsConfig

    def __init__(self, config: OwnMetricsConfig, context: Context) -> None:
        self._config = config
        self._context = context
        self._stream = SeriesStream[Name](STREAM, context.series, METADATA, self._key)

    async def run(self, emit: Emit, stop: asyncio.Event) -> None:
        """Read and emit every interval until `stop` is set."""
        clock, schedule = self._context.clock, Schedule(self._config.interval)
        due = schedule.first(clock.now_ms() + 1)
        while not await stopped_within(stop, clock, (due - clock.now_ms()) / 1000):
            await self._emit(emit, schedule.timestamp(due, clock.now_ms()))
            due, _ = schedule.following(due, clock.now_ms())

    async def _emit(self, emit: Emit, time_ms: int) -> None:
        reason, failure = "", ""
        try:
            await emit(self.read(time_ms))
        except JournalError as error:  # the samples themselves are counted where they were refused
            reason, failure = "disk_full" if isinstance(error, DiskFull) else "journal_error", str(error)
        except Exception as error:  # a gauge that cannot be read must not end the others for good
            log.exception("%s: defect in reading own metrics", self._context.name)
            reason, failure = "defect", type(error).__name__
        else:
            self._stream.accepted()
        if reason:
            self._context.telemetry.problem(
                log,
                "metricsmith_source_failures_total",
                f"{self._context.name}: own metrics not accepted: {failure}",
                source=self._context.name,
                reason=reason,
            )

    def read(self, now_ms: int) -> Batch:
        """Return the registry's values; the layout is the last one's while no label set comes or goes.

        Markers of what has gone are sent until a batch with them was accepted.
        """
        samples = [s for family in self._context.telemetry.registry.collect() for s in family.samples]
        names = [(s.name, tuple(s.labels.items())) for s in samples]
        return self._stream.batch(names, [s.value for s in samples], now_ms)

    def _key(self, name: Name) -> bytes:
        metric, labels = name
        fixed = {"__name__": metric, "job": JOB, "instance": self._config.instance}
        return encode_labels({**dict(labels), **fixed})
