"""Blocks under construction: samples in, one finished block per window out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from metricsmith.model.metadata import Metadata
from metricsmith.model.series import SeriesTable
from metricsmith.store import fsutil
from metricsmith.store.block_reader import Block
from metricsmith.store.block_writer import BlockWriter, FinishedBlock
from metricsmith.store.ragged import offsets_of
from metricsmith.store.sorting import KeyedPiece, by_window, join

MAX_OPEN_WRITERS = 64
MERGE_SAMPLES = 500_000
"""Samples that a merge holds decoded at once."""


@dataclass(frozen=True, slots=True)
class BlockShape:
    """How blocks are cut.

    Units:
        window_ms: milliseconds; windows are aligned to the Unix epoch.
    """

    window_ms: int
    row_group_rows: int


class BlockOutput:
    """Writes pieces in key order to one block per window.

    A piece that goes back in key order, or one window too many at once, ends
    a block early: the window then gets another one with a higher number.
    """

    def __init__(
        self,
        tmp: Path,
        take_number: Callable[[], int],
        shape: BlockShape,
        metadata: Mapping[str, Metadata],
        sources: Sequence[str] = (),
    ) -> None:
        self._tmp, self._take_number, self._shape = tmp, take_number, shape
        self._metadata, self._sources = metadata, sources
        self._open: dict[int, BlockWriter] = {}
        self._finished: list[FinishedBlock] = []

    def append(self, keyed: KeyedPiece) -> None:
        """Write a piece; what it has of a (series, time) wins over what came before in another block."""
        for start_ms, part in by_window(keyed, self._shape.window_ms):
            writer = self._open.get(start_ms)
            if writer is not None and part.keys[0] <= writer.last_key:
                self._finish(start_ms)
                writer = None
            if writer is None:
                if len(self._open) == MAX_OPEN_WRITERS:
                    self._finish(next(iter(self._open)))
                writer = self._open[start_ms] = self._begin(start_ms)
            writer.append(part.piece, part.keys)

    def finish(self) -> list[FinishedBlock]:
        """Return the blocks, complete and durable in the temporary folder, oldest number first."""
        for start_ms in list(self._open):
            self._finish(start_ms)
        return sorted(self._finished, key=lambda block: block.meta.number)

    def abandon(self) -> None:
        """Remove everything written so far."""
        for writer in self._open.values():
            writer.abandon()
        for block in self._finished:
            fsutil.remove_tree(block.folder)

    def _begin(self, start_ms: int) -> BlockWriter:
        number = self._take_number()
        window = start_ms, start_ms + self._shape.window_ms
        with fsutil.disk_full("beginning a block"):
            return BlockWriter(self._tmp / f"{number:08d}", number, window, self._shape.row_group_rows)

    def _finish(self, start_ms: int) -> None:
        with fsutil.disk_full("finishing a block"):
            self._finished.append(self._open[start_ms].finish(self._metadata, self._sources))
        del self._open[start_ms]


def copy_blocks(blocks: Sequence[Block], output: BlockOutput, table: SeriesTable) -> None:
    """Write all samples of blocks, oldest first, to an output; where two have a sample, the later wins.

    What is in damaged row groups is left out.

    Works by ranges of series, so memory is bounded by MERGE_SAMPLES or the
    longest series, whichever is more.
    """
    ids = np.unique(np.concatenate([block.catalogue.ids for block in blocks]))
    key_of = {i: table.key(i) for i in ids.tolist()}
    order = np.array(sorted(key_of, key=key_of.__getitem__), np.uint32)
    by_id = np.argsort(order)
    ranks = [by_id[np.searchsorted(order[by_id], block.catalogue.ids)] for block in blocks]
    offsets = [block.offsets() for block in blocks]
    samples = np.zeros(len(order), np.int64)
    for at, rank in zip(offsets, ranks, strict=True):
        samples[rank] += np.diff(at)
    part = offsets_of(samples)[:-1] // MERGE_SAMPLES
    cuts = [*np.flatnonzero(np.append(True, np.diff(part) > 0)).tolist(), len(order)]
    for lo, hi in pairwise(cuts):
        pieces = []
        for block, at, rank in zip(blocks, offsets, ranks, strict=True):
            first, last = np.searchsorted(rank, [lo, hi]).tolist()
            if first < last and len((piece := block.scan(at, first, last)).series):
                pieces.append(KeyedPiece(piece, [key_of[i] for i in piece.series.tolist()]))
        if pieces:
            output.append(join(pieces))


def choose_merge(blocks: Sequence[Block], at_least: int) -> list[Block]:
    """Return the newest blocks of a window, back to one that is much larger than all after it together.

    So a large block is not written again for a few small ones, and a sample
    is written a few times at most.
    """
    chosen = list(blocks[-at_least:])
    samples = sum(block.meta.samples for block in chosen)
    for block in reversed(blocks[:-at_least]):
        if block.meta.samples > 2 * samples:
            break
        chosen.insert(0, block)
        samples += block.meta.samples
    return chosen
