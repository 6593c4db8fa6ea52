"""Which series have no samples any more, in memory or in a block: their ids and index entries are released.

A background thread looks; the thread that applies batches retires them, a part at a time, having looked
again: no sample can come in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from metricsmith.model.arrays import U32, Bool
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.series import SeriesTable
from metricsmith.store.block_reader import Block
from metricsmith.store.head import Head
from metricsmith.store.index import SeriesIndex

PART_SERIES = 5_000
"""So many are retired at a time: a few milliseconds."""
NONE: U32 = np.empty(0, np.uint32)
_CELL = object()


class _Cell:
    """What a layout remembers of retired series among its own."""

    __slots__ = ("current", "generation")

    def __init__(self, _: Layout) -> None:
        self.generation = 0
        self.current: Layout | None = None


class Release:
    """Follows the series that are stored. Those that never were, as before relabelling, stay."""

    def __init__(self, table: SeriesTable, index: SeriesIndex) -> None:
        self._table, self._index = table, index
        self._stored: Bool = np.zeros(0, np.bool_)
        self._blocks: tuple[Block, ...] = ()
        self._found: U32 = NONE
        self._forgotten = table.generation

    def look(self, heads: Sequence[Head], blocks: Sequence[Block]) -> None:
        """Find what is gone, and free the memory of what was retired before. In the background.

        The heads are as they were before the blocks: what a flush moves is seen.
        """
        if self._forgotten != (generation := self._table.generation):
            self._table.pack()
            self._index.forget()
            self._forgotten = generation
        if len(self._found) or tuple(blocks) == self._blocks:
            return
        present = np.zeros(len(self._table), np.bool_)
        for head in heads:
            present[head.active_series()] = True
        for catalogue in {id(block.catalogue): block.catalogue for block in blocks}.values():
            present[catalogue.ids] = True
        stored = present.copy()
        stored[: len(self._stored)] |= self._stored
        gone = np.flatnonzero(stored & ~present).astype(np.uint32)
        stored[gone] = False
        self._stored, self._blocks, self._found = stored, tuple(blocks), gone

    def retire(self, heads: Sequence[Head], blocks: Sequence[Block]) -> None:
        """Retire a part of what was found, unless it has samples again. By the thread that applies."""
        part, self._found = self._found[:PART_SERIES], self._found[PART_SERIES:]
        if not len(part):
            return
        seen = {block.entry.number for block in self._blocks}
        for head in heads:
            part = part[~head.has(part)]
        for block in blocks:
            if block.entry.number not in seen:
                ids = block.catalogue.sorted_ids
                at = np.minimum(np.searchsorted(ids, part), len(ids) - 1)
                part = part[ids[at] != part]
        self._table.retire(part)

    def current(self, batch: Batch) -> Batch:
        """Return a batch with the ids that its series have now; who sends it may have held one too long."""
        if self._table.generation == 0:
            return batch
        cell = batch.layout.derive(_CELL, _Cell)
        if cell.generation != self._table.generation:
            ids = self._table.current(batch.layout.ids)
            layout = Layout(ids, batch.layout.stream, batch.layout.metadata)
            cell.current = None if ids is batch.layout.ids else layout
            cell.generation = self._table.generation
        return batch if cell.current is None else replace(batch, layout=cell.current)
