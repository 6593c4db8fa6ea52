"""Samples by the period that their file is of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from metricsmith.model.batch import Batch, Layout
from metricsmith.sinks.file.current import Numbered
from metricsmith.wire.sample_files.names import FIRST_MS, LAST_MS, Period, Rotation, period_ms, period_of


def by_period(numbered: Iterable[Numbered], rotation: Rotation) -> dict[Period, list[Numbered]]:
    """Return the samples of each period, in their order; those outside all times are left out."""
    found: dict[Period, list[Numbered]] = {}
    for sequence, batch in numbered:
        for period, part in _parts(batch, rotation):
            found.setdefault(period, []).append((sequence, part))
    return found


def outside(batches: Iterable[Batch]) -> int:
    """Return how many samples have a time that no file can hold."""
    return sum(int(np.count_nonzero((t < FIRST_MS) | (t > LAST_MS))) for t in (b.times() for b in batches))


def _parts(batch: Batch, rotation: Rotation) -> Iterator[tuple[Period, Batch]]:
    times = batch.time_ms
    if isinstance(times, int):
        if FIRST_MS <= times <= LAST_MS:
            yield period_of(rotation, times), batch
        return
    first, last = int(times.min()), int(times.max())
    width_ms = period_ms(rotation)
    if first >= FIRST_MS and last <= LAST_MS and first // width_ms == last // width_ms:
        yield period_of(rotation, first), batch
        return
    numbers = times // width_ms
    inside = (times >= FIRST_MS) & (times <= LAST_MS)
    for number in np.unique(numbers[inside]).tolist():
        index = np.flatnonzero(inside & (numbers == number))
        layout = batch.layout
        part = Layout(layout.ids[index], None, layout.metadata)
        yield period_of(rotation, number * width_ms), batch.take(part, index)
