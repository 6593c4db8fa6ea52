"""Which times of samples are accepted: from the retention until a little ahead of the clock."""

from __future__ import annotations

import logging

import numpy as np

from metricsmith.model.arrays import Bool
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.clock import Clock
from metricsmith.model.steady_time import SteadyTime
from metricsmith.model.telemetry import Telemetry

log = logging.getLogger(__name__)

FUTURE_MS = 10 * 60_000
"""Samples may be this far ahead of our clock, because the sender's clock may be."""


class Admission:
    """Refuses samples of other times. One that is far ahead would hide all that come after it."""

    def __init__(self, clock: Clock, steady: SteadyTime, retention_ms: int, telemetry: Telemetry) -> None:
        self._clock, self._steady = clock, steady
        self._retention_ms, self._telemetry = retention_ms, telemetry

    def admit(self, batch: Batch) -> Batch:
        """Return the samples whose times are accepted; the others are counted.

        While a clock that has jumped ahead is doubted, samples are also
        accepted that are in time for the time before the jump.
        """
        now_ms, steady_ms = self._clock.now_ms(), self._steady.now_ms()
        oldest, newest = min(now_ms, steady_ms) - self._retention_ms, now_ms + FUTURE_MS
        if isinstance(batch.time_ms, int) and oldest <= batch.time_ms <= newest:
            return batch
        times = batch.times()
        if len(times) == 0 or (int(times.min()) >= oldest and int(times.max()) <= newest):
            return batch
        self._refuse("too_old", times < oldest, f"retention is {self._retention_ms // 1000} s")
        self._refuse("too_far_in_future", times > newest, f"{FUTURE_MS // 60_000} minutes ahead are accepted")
        kept = np.flatnonzero((times >= oldest) & (times <= newest))
        stale = None if batch.stale is None else batch.stale[kept]
        layout = Layout(batch.layout.ids[kept], None, batch.layout.metadata)  # a stream has one time
        return Batch(layout, times[kept], batch.value[kept], stale)

    def _refuse(self, reason: str, refused: Bool, rule: str) -> None:
        count = int(np.count_nonzero(refused))
        if count:
            message = f"{count} samples refused, {reason.replace('_', ' ')}: {rule}"
            name = "metricsmith_samples_dropped_total"
            self._telemetry.problem(log, name, message, amount=count, component="store", reason=reason)
