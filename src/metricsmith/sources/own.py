"""The agent's own metrics as a source, so that they are kept and queried like all others."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Coroutine
from typing import Any, ClassVar

import numpy as np
from prometheus_client.samples import Sample
from pydantic import Field

from metricsmith.contracts import Context, Emit, PartConfig
from metricsmith.errors import DiskFull, JournalError
from metricsmith.model.arrays import U32
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import encode_labels
from metricsmith.model.metadata import Metadata
from metricsmith.model.own_metrics import OWN_METRICS
from metricsmith.model.schedule import Schedule
from metricsmith.model.settings_types import DurationMs

log = logging.getLogger(__name__)

STREAM = "self"
JOB = "metricsmith"
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
        self._names: list[tuple[str, tuple[str, ...]]] = []
        self._layout = Layout(np.empty(0, dtype=np.uint32), STREAM, METADATA)
        self._alive = self._layout.ids

    async def run(self, emit: Emit, stop: asyncio.Event) -> None:
        """Read and emit every interval until `stop` is set."""
        clock, schedule = self._context.clock, Schedule(self._config.interval)
        due = schedule.first(clock.now_ms() + 1)
        while await _slept(clock.sleep((due - clock.now_ms()) / 1000), stop):
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
            self._alive = self._layout.ids
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
        value = np.array([s.value for s in samples], dtype=np.float64)
        names = [(s.name, tuple(s.labels.values())) for s in samples]
        if names != self._names:
            ids = self._context.series.intern_many(map(self._key, samples))
            self._names, self._layout = names, Layout(ids, STREAM, METADATA)
        ids = self._layout.ids
        gone: U32 = self._alive[~np.isin(self._alive, ids)] if self._alive is not ids else self._alive[:0]
        if not len(gone):
            return Batch(self._layout, now_ms, value)
        stale = np.repeat([False, True], [len(ids), len(gone)])
        value = np.concatenate((value, np.full(len(gone), np.nan)))
        return Batch(Layout(np.concatenate((ids, gone)), STREAM, METADATA), now_ms, value, stale)

    def _key(self, sample: Sample) -> bytes:
        fixed = {"__name__": sample.name, "job": JOB, "instance": self._config.instance}
        return encode_labels({**sample.labels, **fixed})


async def _slept(sleep: Coroutine[Any, Any, None], stop: asyncio.Event) -> bool:
    """Wait for a sleep; return False as soon as `stop` is set."""
    sleeping = asyncio.ensure_future(sleep)
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({sleeping, stopping}, return_when=asyncio.FIRST_COMPLETED)
    for task in (sleeping, stopping):
        task.cancel()
    return not stop.is_set()
