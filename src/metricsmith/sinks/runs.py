"""Batches of a delivery that can be sent as one: several samples of the same series, in time order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metricsmith.model.batch import Batch, Layout


def runs(batches: Sequence[Batch]) -> list[list[Batch]]:
    """Return all batches, those together that have one layout, each one time, and times that ascend.

    A run stands where its first batch stood. Only layouts whose series no other
    batch has are gathered, so that the order of each series is kept.
    """
    layouts = {id(batch.layout): batch.layout for batch in batches}
    if len(layouts) == len(batches):
        return [[batch] for batch in batches]
    alone = _alone(layouts)
    found: list[list[Batch]] = []
    last: dict[int, list[Batch]] = {}
    for batch in batches:
        run = last.get(id(batch.layout))
        if run is not None and id(batch.layout) in alone and _follows(batch, run[-1]):
            run.append(batch)
        else:
            last[id(batch.layout)] = run = [batch]
            found.append(run)
    return found


def _follows(batch: Batch, before: Batch) -> bool:
    if isinstance(batch.time_ms, int) and isinstance(before.time_ms, int):
        return batch.time_ms > before.time_ms
    return False


def _alone(layouts: dict[int, Layout]) -> set[int]:
    """Return which layouts have no series twice, nor one that another layout has."""
    ids = np.sort(np.concatenate([layout.ids for layout in layouts.values()]))
    repeated = np.unique(ids[1:][ids[1:] == ids[:-1]])
    if not repeated.size:
        return set(layouts)
    return {number for number, layout in layouts.items() if not np.isin(layout.ids, repeated).any()}
