"""Batches that are being accepted, and what processors have left of them."""

from __future__ import annotations

from collections.abc import Hashable

from metricsmith.model.batch import Batch

MAX_BATCHES = 64
"""Batches remembered that were refused: those that were on their way when the journal failed."""


class Offered:
    """Remembers what was left of a batch until it is accepted: one offered again is not processed again.

    Processors that add up would count it twice. A batch of another agent is
    known by its place in the journal of that agent, another one by being the
    same object.
    """

    def __init__(self) -> None:
        self._left: dict[Hashable, tuple[Batch, Batch | None]] = {}

    def __contains__(self, batch: Batch) -> bool:
        return _key(batch) in self._left

    def put(self, batch: Batch, left: Batch | None) -> None:
        """Remember what is left of a batch; the one remembered longest is forgotten when there are many."""
        if len(self._left) >= MAX_BATCHES:
            del self._left[next(iter(self._left))]
        self._left[_key(batch)] = (batch, left)  # with the batch, so that no other gets its id

    def left(self, batch: Batch) -> Batch | None:
        """Return what is left of a batch that is remembered."""
        return self._left[_key(batch)][1]

    def forget(self, batch: Batch) -> None:
        """Forget a batch: it is accepted."""
        self._left.pop(_key(batch), None)


def _key(batch: Batch) -> Hashable:
    if batch.origin is None:
        return id(batch)
    at = batch.origin.position
    return batch.origin.producer, at.life, at.sequence, at.parts
