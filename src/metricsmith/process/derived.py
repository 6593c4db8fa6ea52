"""Batches in which some series are replaced by others that are computed from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from metricsmith.model.arrays import F64, I64, U32, Bool
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.metadata import Metadata


@dataclass(frozen=True, slots=True)
class Derived:
    """What was computed: where there is a value, and which samples are too late to say anything.

    Shapes:
        value, present, late: (D,). time_ms: one int, or (D,) int64.
    """

    value: F64
    present: Bool
    late: Bool
    time_ms: int | I64


class DerivedLayout:
    """The series of a layout that are kept, and the derived ones after them.

    The layout stays the same whichever of the derived have a value: where one
    has none its sample is a staleness marker, which says so. Only when none has
    one, and none had one before, are they left out.
    Of two series of the same labels the first stays.
    """

    def __init__(self, layout: Layout, kept: I64, derived: U32, metadata: Mapping[str, Metadata]) -> None:
        ids = np.concatenate((layout.ids[kept], derived))
        self.kept, self._derived = kept, len(derived)
        self.metadata = metadata
        self._plain = layout if len(kept) == len(layout) else _part(layout, kept)
        self._take: I64 | None = None
        if layout.stream is not None:
            first = np.unique(ids, return_index=True)[1]
            if len(first) < len(ids):
                self._take = np.sort(first)
                ids = ids[self._take]
        self.duplicates = len(kept) + len(derived) - len(ids)
        self._layout = Layout(ids, layout.stream, {**layout.metadata, **metadata})

    def plain(self, batch: Batch) -> Batch | None:
        """Return the kept samples of a batch alone; None when there are none."""
        if self._plain is batch.layout:
            return batch
        return batch.take(self._plain, self.kept) if len(self.kept) else None

    def filled(self, batch: Batch, derived: Derived) -> Batch | None:
        """Return the kept samples of a batch and the derived ones; None when there are none."""
        value = np.concatenate((batch.value[self.kept], derived.value))
        absent = ~derived.present
        stale: Bool | None = None
        if batch.stale is not None or absent.any():
            stale = np.concatenate((batch.stales()[self.kept], absent))
            value[stale] = np.nan
        time_ms: int | I64
        if isinstance(batch.time_ms, int) and isinstance(derived.time_ms, int):
            time_ms = batch.time_ms
        else:
            own = np.broadcast_to(np.asarray(derived.time_ms, dtype=np.int64), (self._derived,))
            time_ms = np.concatenate((batch.times()[self.kept], own))
        if self._take is not None:
            value, stale, time_ms = _taken(self._take, value, stale, time_ms)
        result = Batch(self._layout, time_ms, value, stale)
        return self._without_late(result, derived.late) if derived.late.any() else result

    def _without_late(self, batch: Batch, late: Bool) -> Batch | None:
        passes = np.concatenate((np.ones(len(self.kept), dtype=np.bool_), ~late))
        if self._take is not None:
            passes = passes[self._take]
        index = np.flatnonzero(passes)
        return batch.take(_part(batch.layout, index), index) if len(index) else None


def _part(layout: Layout, index: I64) -> Layout:
    return Layout(layout.ids[index], layout.stream, layout.metadata)


def _taken(
    take: I64, value: F64, stale: Bool | None, time_ms: int | I64
) -> tuple[F64, Bool | None, int | I64]:
    times = time_ms if isinstance(time_ms, int) else time_ms[take]
    return value[take], None if stale is None else stale[take], times
