"""Deliveries cut into pieces: to a size, side by side, in halves, by series, by age."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from metricsmith.contracts import Delivery
from metricsmith.model.arrays import I64, Bool
from metricsmith.model.batch import Batch, Layout

_Part = tuple[Layout, I64]


class Cutter:
    """Cuts batches; what depends on a layout alone is found once and kept with it."""

    def shards(self, delivery: Delivery, count: int) -> list[Delivery]:
        """Return pieces that have no series in common, each in the order of the whole."""
        if count == 1:
            return [delivery]
        parts = [batch.layout.derive((self, count), _by_shard(count)) for batch in delivery.batches]
        return [
            _delivery(
                (sequence, batch.take(*part[shard]))
                for sequence, batch, part in zip(delivery.sequences, delivery.batches, parts, strict=True)
            )
            for shard in range(count)
        ]

    def sized(self, delivery: Delivery, most: int) -> Iterator[Delivery]:
        """Yield pieces of at most `most` samples or events, in order."""
        taken: list[tuple[int, Batch]] = []
        room = most
        for sequence, batch in zip(delivery.sequences, delivery.batches, strict=True):
            for piece in self._slices(batch, most):
                if piece.size > room:
                    yield _delivery(taken)
                    taken, room = [], most
                taken.append((sequence, piece))
                room -= piece.size
        if taken:
            yield _delivery(taken)

    def _slices(self, batch: Batch, most: int) -> Iterable[Batch]:
        if batch.size <= most:
            return (batch,)
        if batch.events:
            return (
                _select(batch, np.arange(at, min(at + most, batch.size))) for at in range(0, batch.size, most)
            )
        parts: list[_Part] = batch.layout.derive((self, "slices", most), _in_slices(most))
        return (batch.take(layout, index) for layout, index in parts)


def apart(delivery: Delivery) -> tuple[Delivery, Delivery]:
    """Return the samples of a delivery, and its events."""
    numbered = list(zip(delivery.sequences, delivery.batches, strict=True))
    return _delivery(n for n in numbered if not n[1].events), _delivery(n for n in numbered if n[1].events)


def halves(delivery: Delivery) -> tuple[Delivery, Delivery]:
    """Return the first and the second half of a delivery of two samples or events or more."""
    sequences, batches = delivery.sequences, delivery.batches
    if middle := len(batches) // 2:
        first_half = Delivery(sequences[:middle], batches[:middle])
        return first_half, Delivery(sequences[middle:], batches[middle:])
    sequence, batch = sequences[0], batches[0]
    places = np.arange(batch.size)
    first, second = (_select(batch, places[s]) for s in np.array_split(places, 2))
    return _delivery([(sequence, first)]), _delivery([(sequence, second)])


def only(delivery: Delivery, keep: Callable[[Batch], Bool]) -> Delivery:
    """Return the samples and events that a mask over each batch keeps."""
    kept: list[tuple[int, Batch]] = []
    for sequence, batch in zip(delivery.sequences, delivery.batches, strict=True):
        mask = keep(batch)
        kept.append((sequence, batch if mask.all() else _select(batch, np.flatnonzero(mask))))
    return _delivery(kept)


def of_series(delivery: Delivery, series: Sequence[int], among: bool) -> Delivery:
    """Return the samples of some series, or of all others; events are of none."""
    wanted = np.asarray(series, dtype=np.uint32)

    def chosen(batch: Batch) -> Bool:
        if batch.events:
            return np.full(batch.size, not among)
        found: Bool = np.isin(batch.layout.ids, wanted) == among
        return found

    return only(delivery, chosen)


def newer(delivery: Delivery, oldest_ms: int) -> Delivery:
    """Return the samples and events that are not older than a time."""

    def young(batch: Batch) -> Bool:
        if batch.events:
            return np.array([event.time_ms >= oldest_ms for event in batch.events])
        if isinstance(batch.time_ms, int):
            return np.full(len(batch), batch.time_ms >= oldest_ms)
        return batch.time_ms >= oldest_ms

    return only(delivery, young)


def _delivery(numbered: Iterable[tuple[int, Batch]]) -> Delivery:
    kept = [(sequence, batch) for sequence, batch in numbered if batch.size]
    return Delivery([sequence for sequence, _ in kept], [batch for _, batch in kept])


def _select(batch: Batch, index: I64) -> Batch:
    if batch.events:
        return replace(batch, events=tuple(batch.events[i] for i in index.tolist()))
    layout = batch.layout
    return batch.take(Layout(layout.ids[index], layout.stream, layout.metadata), index)


def _by_shard(count: int) -> Callable[[Layout], list[_Part]]:
    def cut(layout: Layout) -> list[_Part]:
        places = [np.flatnonzero(layout.ids % count == shard) for shard in range(count)]
        return [(Layout(layout.ids[p], layout.stream, layout.metadata), p) for p in places]

    return cut


def _in_slices(most: int) -> Callable[[Layout], list[_Part]]:
    def cut(layout: Layout) -> list[_Part]:
        places = np.arange(len(layout))
        pieces = [places[at : at + most] for at in range(0, len(layout), most)]
        return [(Layout(layout.ids[p], layout.stream, layout.metadata), p) for p in pieces]

    return cut
