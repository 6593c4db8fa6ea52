"""Batches that hold several samples of one series, taken apart into such that hold one."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from metricsmith.model.arrays import I64
from metricsmith.model.batch import Batch, Layout


def is_one_round(layout: Layout) -> bool:
    """Return whether no series occurs twice."""
    return layout.stream is not None or len(np.unique(layout.ids)) == len(layout)


def rounds(group: I64, times: I64) -> list[I64]:
    """Return places so that no group has two times in one round; a group's times ascend over the rounds.

    What belongs together, such as sum and count of a histogram, is one group
    and stays together where its times are equal. Of equal times of one series
    the batch's order decides.

    Shapes:
        group, times: (P,); each round: (≤ P,) in the order of the batch.
    """
    order = np.lexsort((times, group))
    next_group = np.diff(group[order], prepend=-1) != 0
    next_time = next_group | (np.diff(times[order], prepend=0) != 0)
    step = np.cumsum(next_time)
    number = step - np.maximum.accumulate(np.where(next_group, step, 0))
    places = np.lexsort((order, number))
    ends = np.cumsum(np.bincount(number))[:-1]
    return np.split(order[places], ends)


def in_rounds(
    batch: Batch, group: I64, involved: I64, others: I64, process: Callable[[Batch], Batch | None]
) -> Batch | None:
    """Return what becomes of a batch when the samples at some places are processed in rounds.

    Others go before them as they are, so that they make no rounds.

    Shapes:
        group: (P,). involved, others: places in the batch.
    """
    times = batch.times()
    parts = (_part(batch, involved[index]) for index in rounds(group[involved], times[involved]))
    return join([_part(batch, others), *(process(part) for part in parts)])


def _part(batch: Batch, index: I64) -> Batch:
    return batch.take(Layout(batch.layout.ids[index], None, batch.layout.metadata), index)


def join(batches: Iterable[Batch | None]) -> Batch | None:
    """Return the samples of batches, one after another, as one of no stream; None for none."""
    found = [batch for batch in batches if batch is not None and len(batch)]
    if len(found) < 2:
        return found[0] if found else None
    ids = np.concatenate([batch.layout.ids for batch in found])
    stale = np.concatenate([batch.stales() for batch in found])
    metadata = {name: known for batch in found for name, known in batch.layout.metadata.items()}
    return Batch(
        Layout(ids, None, metadata),
        np.concatenate([batch.times() for batch in found]),
        np.concatenate([batch.value for batch in found]),
        stale if stale.any() else None,
    )
