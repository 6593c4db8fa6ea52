"""Which window of time a block covers: short ones at first, longer ones once these are over.

Windows of one size follow one another from the Unix epoch, and each size is a multiple of the one before.
At any moment they cut time into parts that do not overlap: that is how flushes cut samples into blocks,
and which blocks are merged into one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from metricsmith.store.block_meta import BlockMeta

GROWTH = 3
"""A window is as long as so many of the next shorter ones."""


class Window(NamedTuple):
    """A part of time; the end is exclusive."""

    start_ms: int
    end_ms: int

    def overlaps(self, other: Window) -> bool:
        """Return whether some time is in both."""
        return self.start_ms < other.end_ms and other.start_ms < self.end_ms


def window_sizes(shortest_ms: int, longest_ms: int) -> tuple[int, ...]:
    """Return the sizes of windows, shortest first; the shortest one is there in any case.

    >>> [size // 3_600_000 for size in window_sizes(2 * 3_600_000, 18 * 3_600_000)]
    [2, 6, 18]
    """
    sizes = [shortest_ms]
    while sizes[-1] * GROWTH <= longest_ms:
        sizes.append(sizes[-1] * GROWTH)
    return tuple(sizes)


def window_of(meta: BlockMeta) -> Window:
    """Return the window of a block."""
    return Window(meta.window_start_ms, meta.window_end_ms)


class Windows:
    """Time cut into windows as it is to be now, with these blocks.

    A window of one of the longer sizes is used when it is over (a later one
    of the shortest size has samples) and its blocks have no more than so many
    samples; or when a block has it already.
    """

    def __init__(
        self, sizes: Iterable[int], most_samples: int, blocks: Iterable[BlockMeta], newest_ms: int | None
    ) -> None:
        metas = list(blocks)
        self.shortest_ms = min(sizes)
        newest = [meta.max_time_ms for meta in metas] + ([] if newest_ms is None else [newest_ms])
        self._open_ms = max(newest, default=0) // self.shortest_ms * self.shortest_ms
        self._taken = {window_of(meta) for meta in metas}
        longer = {size for size in sizes if size > self.shortest_ms}
        samples: Counter[Window] = Counter()
        for meta in metas:
            for size in longer:
                samples[_around(meta.window_start_ms, size)] += meta.samples
        self._full = {window for window, count in samples.items() if count > most_samples}
        self._usable = longer
        self._longest_first = sorted(
            longer | {end - start for start, end in self._taken if end - start > self.shortest_ms},
            reverse=True,
        )
        self._found: dict[int, Window] = {}

    def of(self, time_ms: int) -> Window:
        """Return the window of a time."""
        start_ms = time_ms // self.shortest_ms * self.shortest_ms
        found = self._found.get(start_ms)
        if found is None:
            found = self._found[start_ms] = self._look(start_ms)
        return found

    def is_over(self, window: Window) -> bool:
        """Return whether samples of a later window have come."""
        return window.end_ms <= self._open_ms

    def _look(self, start_ms: int) -> Window:
        for size in self._longest_first:
            window = _around(start_ms, size)
            if window in self._taken or (
                size in self._usable and self.is_over(window) and window not in self._full
            ):
                return window
        return Window(start_ms, start_ms + self.shortest_ms)


def _around(time_ms: int, size: int) -> Window:
    start_ms = time_ms // size * size
    return Window(start_ms, start_ms + size)
