"""The blocks that serve, who reads them, and what happens to a block's files when it serves no more."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from metricsmith.store.block_reader import Block

Dispose = Callable[[Block], None]


class LiveBlocks:
    """An immutable tuple of blocks, exchanged as a whole; safe from any thread.

    A reader leases the blocks that it starts with and keeps them whatever
    happens meanwhile: files of a block that was taken out are disposed of by
    whoever gives back its last lease.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks: tuple[Block, ...] = ()
        self._leases: Counter[int] = Counter()
        self._leaving: dict[int, tuple[Block, Dispose]] = {}

    def all(self) -> tuple[Block, ...]:
        """Return the blocks, oldest first. For what is in memory only: files need a lease."""
        return self._blocks

    @contextmanager
    def lease(self, wanted: Callable[[Block], bool]) -> Iterator[list[Block]]:
        """Hold the blocks that are wanted, oldest first: of equal samples the later block's is right."""
        with self._lock:
            blocks = [block for block in self._blocks if wanted(block)]
            self._leases.update(block.entry.number for block in blocks)
        try:
            yield blocks
        finally:
            with self._lock:
                for block in blocks:
                    self._leases[block.entry.number] -= 1
                due = self._take_due()
            _dispose(due)

    def exchange(self, add: Sequence[Block], remove: Mapping[int, Dispose]) -> None:
        """Let blocks serve and take others out, in one step; `remove` says what is done with their files."""
        with self._lock:
            for block in self._blocks:
                if block.entry.number in remove:
                    self._leaving[block.entry.number] = block, remove[block.entry.number]
            staying = [block for block in self._blocks if block.entry.number not in remove]
            self._blocks = tuple(sorted([*staying, *add], key=lambda block: block.entry.number))
            due = self._take_due()
        _dispose(due)

    def _take_due(self) -> list[tuple[Block, Dispose]]:
        self._leases = +self._leases  # forget those that are zero
        return [self._leaving.pop(number) for number in list(self._leaving) if not self._leases[number]]


def _dispose(due: Sequence[tuple[Block, Dispose]]) -> None:
    for block, dispose in due:
        dispose(block)
