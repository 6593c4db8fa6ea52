"""Deliveries as bodies of line protocol."""

from __future__ import annotations

from collections.abc import Mapping, Set

import numpy as np

from metricsmith.contracts import Delivery
from metricsmith.model.arrays import I64
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.series import SeriesTable
from metricsmith.wire.line_protocol_places import ENDED_FIELD, Places
from metricsmith.wire.line_protocol_template import LineTemplate, Written, written
from metricsmith.wire.line_protocol_text import NoForm

NOT_FINITE = "not a finite number"
_PER_MS = {"ns": 1_000_000, "us": 1000, "ms": 1}
_REMEMBERED_SERIES = 100_000


class Encoder:
    """Writes batches; what depends on a layout alone is kept with it."""

    def __init__(self, series: SeriesTable, places: Places, precision: str) -> None:
        self._series, self._places, self._precision = series, places, precision
        self._written: dict[int, Written] = {}

    def body(self, delivery: Delivery, without: Set[int]) -> tuple[bytes, dict[int, str]]:
        """Return the lines of all series but some, and which of the others have no form, with reasons."""
        parts: list[bytes] = []
        unwritten: dict[int, str] = {}
        for batch in delivery.batches:
            parts += self._lines(_without(batch, without), unwritten)
        return b"".join(parts), unwritten

    def _lines(self, batch: Batch, unwritten: dict[int, str]) -> list[bytes]:
        plan: _Plan = batch.layout.derive(self, self._plan)
        unwritten |= plan.unwritten
        values = batch.value[plan.index]
        finite, stale = np.isfinite(values), batch.stales()[plan.index]
        alike = isinstance(batch.time_ms, int) and plan.distinct
        if alike and finite.all() and not stale.any():
            return [plan.template.fill(values, int(self._times(batch.times()[:1])[0]))]
        times = self._times(batch.times()[plan.index])
        for series in plan.series[~finite & ~stale].tolist():
            unwritten[series] = NOT_FINITE
        alive, ended = np.flatnonzero(finite & ~stale), np.flatnonzero(stale)
        return [
            plan.template.fill_each(alive, plan.series[alive], values[alive], times[alive]),
            plan.template.marks(ENDED_FIELD, ended, times[ended]),
        ]

    def _plan(self, layout: Layout) -> _Plan:
        found: list[Written] = []
        index: list[int] = []
        unwritten: dict[int, str] = {}
        for at, series in enumerate(layout.ids.tolist()):
            try:
                found.append(self._write(series))
                index.append(at)
            except NoForm as error:
                unwritten[series] = f"InfluxDB has no form for it: {error}"
        return _Plan(layout, found, np.array(index, dtype=np.int64), unwritten)

    def _write(self, series: int) -> Written:
        known = self._written.get(series)
        if known is None:
            known = written(self._places.of(self._series.key(series)))
            if len(self._written) >= _REMEMBERED_SERIES:
                self._written.clear()
            self._written[series] = known
        return known

    def _times(self, times_ms: I64) -> I64:
        if self._precision == "s":
            return times_ms // 1000
        return times_ms * _PER_MS[self._precision]


class _Plan:
    """What is known of a layout: the template of series that have a form, and where they are."""

    def __init__(
        self, layout: Layout, found: list[Written], index: I64, unwritten: Mapping[int, str]
    ) -> None:
        self.template, self.index, self.unwritten = LineTemplate(found), index, unwritten
        self.series: I64 = layout.ids[index].astype(np.int64)
        self.distinct = len(np.unique(self.series)) == len(self.series)


def _without(batch: Batch, series: Set[int]) -> Batch:
    if not series:
        return batch
    kept = np.isin(batch.layout.ids, np.array(sorted(series), dtype=np.uint32), invert=True)
    if kept.all():
        return batch
    index = np.flatnonzero(kept)
    layout = batch.layout
    return batch.take(Layout(layout.ids[index], layout.stream, layout.metadata), index)
