"""Blocks under construction: samples in, one finished block per window out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from metricsmith.model.metadata import Metadata
from metricsmith.store import fsutil
from metricsmith.store.block_writer import BlockWriter, FinishedBlock
from metricsmith.store.sorting import KeyedPiece, WindowOf, by_window
from metricsmith.store.windows import Window

MAX_OPEN_WRITERS = 256
"""Windows that are written side by side, a file each: enough for samples of a year in any order."""


class BlockOutput:
    """Writes pieces in key order to one block per window.

    A piece that goes back in key order, or one window too many at once, ends
    a block early: the window then gets another one with a higher number.
    `sources` are the blocks that it replaces, asked for when all is written.
    """

    def __init__(
        self,
        tmp: Path,
        take_number: Callable[[], int],
        windows: WindowOf,
        row_group_rows: int,
        metadata: Mapping[str, Metadata],
        sources: Callable[[], Sequence[str]] = list,
    ) -> None:
        self._tmp, self._take_number = tmp, take_number
        self._windows, self._row_group_rows = windows, row_group_rows
        self._metadata, self._sources = metadata, sources
        self._open: dict[Window, BlockWriter] = {}
        self._finished: list[FinishedBlock] = []

    def append(self, keyed: KeyedPiece) -> None:
        """Write a piece; what it has of a (series, time) wins over what came before in another block."""
        for window, part in by_window(keyed, self._windows):
            writer = self._open.get(window)
            if writer is not None and part.keys[0] <= writer.last_key:
                self._finish(window)
                writer = None
            if writer is None:
                if len(self._open) == MAX_OPEN_WRITERS:
                    self._finish(next(iter(self._open)))
                writer = self._open[window] = self._begin(window)
            writer.append(part.piece, part.keys)

    def finish(self) -> list[FinishedBlock]:
        """Return the blocks, complete and durable in the temporary folder, oldest number first."""
        for window in list(self._open):
            self._finish(window)
        return sorted(self._finished, key=lambda block: block.meta.number)

    def abandon(self) -> None:
        """Remove everything written so far."""
        for writer in self._open.values():
            writer.abandon()
        for block in self._finished:
            fsutil.remove_tree(block.folder)

    def _begin(self, window: Window) -> BlockWriter:
        number = self._take_number()
        with fsutil.disk_full("beginning a block"):
            return BlockWriter(self._tmp / f"{number:08d}", number, window, self._row_group_rows)

    def _finish(self, window: Window) -> None:
        with fsutil.disk_full("finishing a block"):
            self._finished.append(self._open[window].finish(self._metadata, self._sources()))
        del self._open[window]
