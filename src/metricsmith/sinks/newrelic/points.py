"""Samples as New Relic's gauges, counts and summaries.

Counts and summaries say what happened within a time, so counters become their growth since the sample
before. That is done once for each batch, before it is cut and sent: what is sent again is the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from metricsmith.contracts import Context
from metricsmith.model.arrays import F64, I64, U32, Bool
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.growth import Growth, growth
from metricsmith.model.series_state import SeriesState
from metricsmith.sinks.newrelic.roles import Plan, Planner

_NO_SERIES: U32 = np.empty(0, dtype=np.uint32)


class Kind(IntEnum):
    """Types of metrics."""

    GAUGE = 0
    COUNT = 1
    SUMMARY = 2


def _none() -> I64:
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Points(Batch):
    """What is sent: a value per series, of the time in which it came to be.

    Of a summary `value` is the sum, and `count` says of how many. The time is
    the end of the interval; a gauge has none.

    Shapes:
        kind, interval_ms: (P,) int64. count: (P,)
    """

    kind: I64 = field(default_factory=_none)
    interval_ms: I64 = field(default_factory=_none)
    count: F64 = field(default_factory=lambda: np.empty(0))

    def take(self, layout: Layout, index: I64) -> Points:
        """Return the points at some places, as those of another layout."""
        time_ms = self.time_ms if isinstance(self.time_ms, int) else self.time_ms[index]
        return Points(
            layout,
            time_ms,
            self.value[index],
            kind=self.kind[index],
            interval_ms=self.interval_ms[index],
            count=self.count[index],
        )


class Converter:
    """Turns batches into points; remembers counters from one batch to the next."""

    def __init__(self, context: Context, max_gap_ms: int, buckets: bool) -> None:
        self._context, self._max_gap_ms = context, max_gap_ms
        self._planner = Planner(context.series, buckets)
        self._state = SeriesState(context.clock, max_gap_ms / 1000, value=np.nan, time=np.nan)

    def points(self, batch: Batch) -> Points | None:
        """Return what is to be sent of a batch, None when that is nothing."""
        self._state.release()
        plan = batch.layout.derive(self, self._planner.plan)
        if plan.distinct:
            return self._converted(batch, plan)
        rounds = (self._converted(each, self._planner.plan(each.layout)) for each in _rounds(batch))
        return _joined([points for points in rounds if points is not None])

    def as_sent(self, batch: Batch) -> tuple[Points, U32]:
        """Return points as they are, and samples that were never converted as gauges.

        Returned besides are series that are no gauges: a growth whose time
        nobody knows, as one in quarantine, says nothing.
        """
        if isinstance(batch, Points):
            return batch, _NO_SERIES
        gauge = self._planner.are_gauges(batch.layout)
        index = np.flatnonzero(gauge & np.isfinite(batch.value) & ~batch.stales())
        zeros = np.zeros(len(index), dtype=np.int64)
        layout = Layout(batch.layout.ids[index], batch.layout.stream, batch.layout.metadata)
        time_ms = batch.time_ms if isinstance(batch.time_ms, int) else batch.time_ms[index]
        value = batch.value[index]
        points = Points(layout, time_ms, value, kind=zeros, interval_ms=zeros, count=value)
        return points, batch.layout.ids[~gauge]

    def _converted(self, batch: Batch, plan: Plan) -> Points | None:
        usable = self._usable(batch, plan)
        grown = self._grown(batch, plan, usable)
        none = np.zeros(len(plan.gauges))
        points = Points(
            plan.output,
            batch.time_ms if isinstance(batch.time_ms, int) else batch.time_ms[plan.places],
            np.concatenate((batch.value[plan.gauges], grown.value)),
            kind=plan.kind,
            interval_ms=np.concatenate((none.astype(np.int64), grown.interval_ms)),
            count=np.concatenate((none, grown.count)),
        )
        sent = np.concatenate((usable[plan.gauges], grown.present))
        if sent.all():
            return points if len(points) else None
        index = np.flatnonzero(sent)
        return points.take(plan.subset(sent), index) if len(index) else None

    def _usable(self, batch: Batch, plan: Plan) -> Bool:
        stale, finite = batch.stales(), np.isfinite(batch.value)
        usable: Bool = finite & ~stale
        self._unsent(stale, "ended")
        self._unsent(~finite & ~stale, "not_finite")
        self._unsent(usable[plan.skipped], "skipped")
        return usable

    def _grown(self, batch: Batch, plan: Plan, usable: Bool) -> _Grown:
        """Return what counters grew by, then what summaries did: both of their parts must be there."""
        single, of, sums = len(plan.counts), plan.counts_of_sums, plan.sums
        both = usable[sums] & usable[of]
        if not isinstance(batch.time_ms, int):
            both &= batch.time_ms[sums] == batch.time_ms[of]
        alive = np.concatenate((usable[plan.counts], both))
        slots = self._state.slots(plan.counters)
        counted = self._growth(batch, plan.counted, slots[: len(alive)], alive)
        # Counts only grow: where one fell, the sum began anew with it. A sum may fall by itself.
        summed = self._growth(batch, sums, slots[len(alive) :], both, counted.restarted[single:])
        value = np.concatenate((counted.value[:single], summed.value))
        numbers = counted.present & np.isfinite(value) & np.isfinite(counted.value)
        present = numbers & (counted.value >= 0)
        self._unsent(alive & counted.late, "out_of_order")
        self._unsent(alive & ~counted.late & ~counted.present, "first")
        self._unsent(numbers & ~present, "negative")
        interval_ms = np.where(present, counted.elapsed_ms, 0).astype(np.int64)
        return _Grown(value, counted.value, interval_ms, present)

    def _growth(
        self, batch: Batch, places: I64, slots: I64, usable: Bool, restarted: Bool | None = None
    ) -> Growth:
        time_ms = batch.time_ms if isinstance(batch.time_ms, int) else batch.time_ms[places]
        return growth(self._state, slots, time_ms, batch.value[places], usable, self._max_gap_ms, restarted)

    def _unsent(self, which: Bool, reason: str) -> None:
        if samples := int(which.sum()):
            self._context.telemetry.count(
                "metricsmith_sink_unsent_samples_total", samples, sink=self._context.name, reason=reason
            )


@dataclass(frozen=True, slots=True)
class _Grown:
    """Of counts and summaries; the value of a summary is its sum.

    Shapes:
        all: (counts + summaries,)
    """

    value: F64
    count: F64
    interval_ms: I64
    present: Bool


def _rounds(batch: Batch) -> Iterator[Batch]:
    """Yield the samples of a batch so that no series occurs twice in one, the older ones first."""
    ids, times = batch.layout.ids, batch.times()
    order = np.lexsort((times, ids))
    starts = np.diff(ids[order].astype(np.int64), prepend=-1) != 0
    places = np.arange(len(order))
    number = np.empty(len(order), dtype=np.int64)
    number[order] = places - np.maximum.accumulate(np.where(starts, places, 0))
    for each in range(int(number.max(initial=-1)) + 1):
        index = np.flatnonzero(number == each)
        yield batch.take(Layout(ids[index], None, batch.layout.metadata), index)


def _joined(found: list[Points]) -> Points | None:
    if len(found) < 2:
        return found[0] if found else None
    ids: U32 = np.concatenate([points.layout.ids for points in found])
    return Points(
        Layout(ids),
        np.concatenate([points.times() for points in found]),
        np.concatenate([points.value for points in found]),
        kind=np.concatenate([points.kind for points in found]),
        interval_ms=np.concatenate([points.interval_ms for points in found]),
        count=np.concatenate([points.count for points in found]),
    )
