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

    def __init__(self, groups: Callable[[Layout], I64] | None = None) -> None:
        """Series of which `groups` gives the same number stay together, as samples of one series do."""
        self._groups = groups

    def shards(self, delivery: Delivery, count: int) -> list[Delivery]:
        """Return pieces that have no series in common, each in the order of the whole."""
        if count == 1:
            return [delivery]
        by_shard = _by_shard(count, self._groups or _ids)
        parts = [batch.layout.derive((self, count), by_shard) for batch in delivery.batches]
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
                if taken and piece.size > room:
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
        in_slices = _in_slices(most, self._groups)
        parts: list[_Part] = batch.layout.derive((self, "slices", most), in_slices)
        return (batch.take(layout, index) for layout, index in parts)

    def halves(self, delivery: Delivery) -> tuple[Delivery, Delivery] | None:
        """Return the first and the second half of a delivery, None for one that is not divided."""
        sequences, batches = delivery.sequences, delivery.batches
        if middle := len(batches) // 2:
            first_half = Delivery(sequences[:middle], batches[:middle])
            return first_half, Delivery(sequences[middle:], batches[middle:])
        sequence, batch = sequences[0], batches[0]
        if batch.size < 2:
            return None
        places = np.arange(batch.size)
        if self._groups is None or batch.events:
            first, second = np.array_split(places, 2)
        else:
            order, begins = _in_groups(self._groups(batch.layout))
            at = begins[len(begins) // 2]
            first, second = order[:at], order[at:]
        if not first.size:
            return None
        return _delivery([(sequence, _select(batch, first))]), _delivery([(sequence, _select(batch, second))])


def apart(delivery: Delivery) -> tuple[Delivery, Delivery]:
    """Return the samples of a delivery, and its events."""
    numbered = list(zip(delivery.sequences, delivery.batches, strict=True))
    return _delivery(n for n in numbered if not n[1].events), _delivery(n for n in numbered if n[1].events)


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


def _ids(layout: Layout) -> I64:
    return layout.ids.astype(np.int64)


def _in_groups(groups: I64) -> tuple[I64, I64]:
    """Return places group by group, and where in these each group begins."""
    order = np.argsort(groups, kind="stable")
    sorted_groups = groups[order]
    return order, np.flatnonzero(np.concatenate([[True], sorted_groups[1:] != sorted_groups[:-1]]))


def _by_shard(count: int, groups: Callable[[Layout], I64]) -> Callable[[Layout], list[_Part]]:
    def cut(layout: Layout) -> list[_Part]:
        shards = groups(layout) % count
        places = [np.flatnonzero(shards == shard) for shard in range(count)]
        return [(Layout(layout.ids[p], layout.stream, layout.metadata), p) for p in places]

    return cut


def _in_slices(most: int, groups: Callable[[Layout], I64] | None) -> Callable[[Layout], list[_Part]]:
    def cut(layout: Layout) -> list[_Part]:
        if groups is None:
            order, begins = np.arange(len(layout)), np.arange(len(layout))
        else:
            order, begins = _in_groups(groups(layout))
        ends = np.append(begins[1:], len(layout))
        parts, at = [], 0
        while at < len(layout):  # as many groups as there is room for, one at least
            following = int(np.searchsorted(ends, at, side="right"))
            fitting = int(np.searchsorted(ends, at + most, side="right")) - 1
            end = int(ends[max(following, fitting)])
            parts.append(order[at:end])
            at = end
        return [(Layout(layout.ids[p], layout.stream, layout.metadata), p) for p in parts]

    return cut
