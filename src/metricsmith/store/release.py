"""Which series have no samples any more, in memory or in a block: their ids and index entries are released.

A background thread looks; the thread that applies batches retires them, a part at a time, having looked
again: no sample can come in between. Series that are not stored, for they are dropped or renamed on the
way, are retired too when they did not pass by for long enough.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metricsmith.model.arrays import U32, Bool, are_in
from metricsmith.model.clock import Clock
from metricsmith.model.series import SeriesTable
from metricsmith.store.block_reader import Block
from metricsmith.store.head import Head
from metricsmith.store.index import SeriesIndex

PART_SERIES = 5_000
"""So many are retired at a time: a few milliseconds."""
NONE: U32 = np.empty(0, np.uint32)
UNUSED_S = 3600.0
"""Who is not stored may be away so long, or twice as long at most."""


class Release:
    """Follows the series that are stored, or in use without being stored."""

    def __init__(self, table: SeriesTable, index: SeriesIndex, clock: Clock) -> None:
        self._table, self._index, self._clock = table, index, clock
        self._stored: Bool = np.zeros(0, np.bool_)
        self._blocks: tuple[Block, ...] = ()
        self._found: U32 = NONE
        self._forgotten = table.generation
        self._asked_s = clock.monotonic()
        self._known_then = len(table)
        table.take_in_use()

    def look(self, heads: Sequence[Head], blocks: Sequence[Block]) -> None:
        """Find what is gone, and free the memory of what was retired before. In the background.

        The heads are as they were before the blocks: what a flush moves is seen.
        """
        self._index.catch_up()  # what is not in it when it is retired would come later, and stay
        if self._forgotten != (generation := self._table.generation):
            self._table.pack()
            self._index.forget()
            self._forgotten = generation
        unused_due = self._clock.monotonic() - self._asked_s >= UNUSED_S
        if len(self._found) or (tuple(blocks) == self._blocks and not unused_due):
            return
        present = self._present(heads, blocks)
        stored = present.copy()
        stored[: len(self._stored)] |= self._stored
        gone = stored & ~present
        stored[gone] = False
        if unused_due:
            gone |= self._unused(present)
        self._stored, self._blocks = stored, tuple(blocks)
        self._found = np.flatnonzero(gone).astype(np.uint32)

    def _present(self, heads: Sequence[Head], blocks: Sequence[Block]) -> Bool:
        """Return which series have samples.

        Shapes:
            returns: (N,) for all series known now.
        """
        ids = [head.active_series() for head in heads]
        ids += {id(block.catalogue): block.catalogue.ids for block in blocks}.values()
        present = np.zeros(len(self._table), np.bool_)  # now: others get series meanwhile
        for each in ids:
            present[each] = True
        return present

    def _unused(self, present: Bool) -> Bool:
        """Return which of the series that were known when this was asked last are neither stored nor in use.

        Shapes:
            present, returns: (N,)
        """
        unused = np.zeros(len(present), np.bool_)
        unused[: self._known_then] = ~present[: self._known_then]
        for known in (self._table.take_in_use(), self._table.retired()):
            unused[: len(known)] &= ~known[: len(unused)]
        self._asked_s, self._known_then = self._clock.monotonic(), len(present)
        return unused

    def retire(self, heads: Sequence[Head], blocks: Sequence[Block]) -> None:
        """Retire a part of what was found, unless it has samples again. By the thread that applies."""
        if not len(self._found):
            return
        part, self._found = self._found[:PART_SERIES], self._found[PART_SERIES:]
        seen = {block.entry.number for block in self._blocks}
        part = part[~self._table.in_use(part)]
        for head in heads:
            part = part[~head.has(part)]
        for block in blocks:
            if block.entry.number not in seen:
                part = part[~are_in(part, block.catalogue.sorted_ids)]
        if len(part):
            self._table.retire(part)
