"""What of a batch InfluxDB can keep: numbers, at times that it has, one of a series in each unit of time."""

from __future__ import annotations

import numpy as np

from metricsmith.contracts import Context
from metricsmith.model.arrays import I64, Bool
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.series_state import SeriesState

FIRST_MS, LAST_MS = -9_223_372_036_854, 9_223_372_036_854
"""InfluxDB keeps times in nanoseconds, of 64 bits."""
_REMEMBERED_S = 3600.0
_REMEMBERED_SUBSETS = 8


class Points:
    """Leaves out what InfluxDB has no form for, and counts it; ends stay where `ends` are written."""

    def __init__(self, context: Context, precision: str, ends: bool) -> None:
        self._context, self._ends = context, ends
        coarse = precision == "s"  # finer units are no coarser than our times
        self._seconds = SeriesState(context.clock, _REMEMBERED_S, second=np.nan) if coarse else None

    def of(self, batch: Batch) -> Batch | None:
        """Return what is to be sent, None when that is nothing."""
        kept = self._kept(batch)
        if not kept.all():
            index = np.flatnonzero(kept)
            batch = batch.take(batch.layout.derive(self, _Subsets).of(kept, index), index)
        if self._seconds is not None:
            self._count_same_seconds(batch, self._seconds)
        return batch if len(batch) else None

    def _kept(self, batch: Batch) -> Bool:
        finite, stale = np.isfinite(batch.value), batch.stales()
        self._unsent(~finite & ~stale, "not_finite")
        kept: Bool = finite & ~stale
        if self._ends:
            kept |= stale
        else:
            self._unsent(stale, "ended")
        possible = (np.int64(FIRST_MS) <= batch.time_ms) & (batch.time_ms <= np.int64(LAST_MS))
        self._unsent(kept & ~possible, "time_range")
        return kept & possible

    def _count_same_seconds(self, batch: Batch, state: SeriesState) -> None:
        """Count samples that overwrite another, as their times are in one second; ends stand beside."""
        state.release()
        slots, column = state.slots(batch.layout), state.columns["second"]
        seconds = np.asarray(batch.times() // 1000, dtype=np.float64)
        if batch.stale is not None:
            slots, seconds = slots[~batch.stale], seconds[~batch.stale]
        order = np.argsort(slots, kind="stable")
        slots, seconds = slots[order], seconds[order]
        before = column[slots]
        again = np.flatnonzero(np.diff(slots) == 0) + 1
        before[again] = seconds[again - 1]
        self._unsent(before == seconds, "same_time")
        column[slots] = seconds

    def _unsent(self, which: Bool, reason: str) -> None:
        if samples := int(which.sum()):
            self._context.telemetry.count(
                "metricsmith_sink_unsent_samples_total", samples, sink=self._context.name, reason=reason
            )


class _Subsets:
    """Layouts of some series of a layout: mostly the same ones are left out of each batch."""

    def __init__(self, layout: Layout) -> None:
        self._ids, self._stream, self._metadata = layout.ids, layout.stream, layout.metadata
        self._made: dict[bytes, Layout] = {}

    def of(self, kept: Bool, index: I64) -> Layout:
        """Return the layout of the series at some places; `kept` is their mask."""
        mask = np.packbits(kept).tobytes()
        found = self._made.get(mask)
        if found is None:
            if len(self._made) >= _REMEMBERED_SUBSETS:
                self._made.clear()
            found = self._made[mask] = Layout(self._ids[index], self._stream, self._metadata)
        return found
