"""Which blocks are written as one, and how: by ranges of series, so that memory does not grow with them."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from metricsmith.model.arrays import I64
from metricsmith.model.series import SeriesTable
from metricsmith.store.block_output import BlockOutput
from metricsmith.store.block_reader import Block, Samples
from metricsmith.store.sorting import KeyedPiece, join
from metricsmith.store.tombstones import Tombstone, visible_samples
from metricsmith.store.windows import Window, Windows, window_of

PART_SAMPLES = 131_072
"""Samples that are decoded at once."""
PART_SERIES = 4_096
"""Series that are brought into order at once: sorting keys lets no other thread run."""
MOST_BLOCKS = 64
"""Blocks that are read side by side; of more, the newest first."""

Ranges = list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Job:
    """Blocks, oldest first, that become one of a window."""

    blocks: list[Block]
    window: Window

    @property
    def bytes(self) -> int:
        """The size of its blocks; what is made of them needs no more."""
        return sum(block.meta.disk_bytes for block in self.blocks)


def next_job(
    blocks: Sequence[Block],
    windows: Windows,
    most_blocks: int,
    must: Callable[[Block], bool],
    passed_over: Callable[[Job], bool] = lambda _: False,
) -> Job | None:
    """Return what is to be done first: what must be, then what makes few blocks of many; None for nothing.

    A window that is not over may have `most_blocks`.
    """
    together: dict[Window, list[Block]] = defaultdict(list)
    for block in sorted(blocks, key=lambda b: b.meta.number):
        together[windows.of(block.meta.window_start_ms)].append(block)
    jobs = []
    for window in sorted(together):
        own = together[window]
        forced = [n for n, block in enumerate(own) if must(block)]
        if forced:
            chosen = _newest(own, len(own) - forced[0])
        else:
            chosen = _due(own, window, windows.is_over(window), most_blocks)
        job = Job(chosen[-MOST_BLOCKS:], window)
        if (not forced and len(chosen) < 2) or passed_over(job):
            continue
        if forced:
            return job
        jobs.append(job)
    return jobs[0] if jobs else None


def _due(blocks: list[Block], window: Window, over: bool, most_blocks: int) -> list[Block]:
    """Return the blocks of a window to be merged.

    A small block that comes late to a large one waits there for more of its
    kind: the large one is not written again for it.
    """
    if not over:
        return _newest(blocks, 2) if len(blocks) > most_blocks else []
    shorter = [n for n, block in enumerate(blocks) if window_of(block.meta) != window]
    return _newest(blocks, len(blocks) - shorter[0] if shorter else 1)


def _newest(blocks: list[Block], at_least: int) -> list[Block]:
    """Return the newest blocks of a window, back to one that is much larger than all after it together.

    So a sample is written a few times at most. All that come after the oldest
    one chosen are chosen: the result wins over whatever is left.
    """
    chosen = blocks[len(blocks) - at_least :]
    samples = sum(block.meta.samples for block in chosen)
    for block in reversed(blocks[: len(blocks) - at_least]):
        if block.meta.samples > 2 * samples:
            break
        chosen.insert(0, block)
        samples += block.meta.samples
    return chosen


def oldest_beyond(blocks: Sequence[Block], limit_bytes: int, windows: Windows) -> list[Block]:
    """Return the blocks to be deleted so that the others use no more disk; the newest window stays.

    Blocks of one window go together: of two with the same sample, the one
    that is right must not go first.
    """
    together: dict[Window, list[Block]] = defaultdict(list)
    for block in blocks:
        together[windows.of(block.meta.window_start_ms)].append(block)
    used, gone = 0, []
    for number, window in enumerate(sorted(together, reverse=True)):
        used += sum(block.meta.disk_bytes for block in together[window])
        if number and used > limit_bytes:
            gone += together[window]
    return gone


class OneWindow:
    """Time as one window, for blocks that all lie in it."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self.shortest_ms = window.end_ms - window.start_ms

    def of(self, time_ms: int) -> Window:
        """Return the window."""
        return self._window


class Stopped(Exception):
    """The work is given up, because the process ends."""


def copy_blocks(
    blocks: Sequence[Block],
    output: BlockOutput,
    table: SeriesTable,
    tombstones: Sequence[Tombstone] = (),
    go_on: Callable[[], bool] = lambda: True,
) -> int:
    """Write all samples of blocks, oldest first, to an output; return how many tombstones left out.

    Where two blocks have a sample, the later wins. What is in damaged row
    groups is left out. Memory is bounded by 8 bytes for each series of each
    block, and by PART_SAMPLES and a row group of each block, or the longest
    series, whichever is more.

    Raises:
        Stopped: `go_on` says so; asked several times a second.
    """
    scans = [_Scan(block, [t for t in tombstones if t.concerns(block)]) for block in blocks]
    for ranges in _parts(scans, table):
        if not go_on():
            raise Stopped
        pieces = [
            piece for scan, part in zip(scans, ranges, strict=True) if (piece := scan.take(*part, table))
        ]
        if pieces:
            output.append(join(pieces))
    return sum(scan.hidden for scan in scans)


class _Scan:
    """One block read from its first series to the last: the row group that the next ones begin in is kept."""

    def __init__(self, block: Block, tombstones: list[Tombstone]) -> None:
        self.block, self.offsets = block, block.offsets()
        self.hidden = 0
        self._tombstones = tombstones
        self._kept: tuple[int, Samples] | None = None

    def key(self, row: int, table: SeriesTable) -> bytes:
        return table.key(int(self.block.catalogue.ids[row]))

    def take(self, first: int, last: int, table: SeriesTable) -> KeyedPiece | None:
        """Return what is visible of the series at rows [first, last), in key order; None for nothing."""
        if first == last:
            return None
        piece = self.block.scan(self.offsets, first, last, self._decoded)
        if not len(piece.series):
            return None
        if self._tombstones:
            left = visible_samples(piece, self._tombstones)
            self.hidden += len(piece.times) - (0 if left is None else len(left.times))
            if left is None:
                return None
            piece = left
        return KeyedPiece(piece, [table.key(i) for i in piece.series.tolist()])

    def _decoded(self, number: int) -> Samples:
        if self._kept is None or self._kept[0] != number:
            self._kept = number, self.block.decode(number)
        return self._kept[1]


def _parts(scans: Sequence[_Scan], table: SeriesTable) -> Iterator[Ranges]:
    """Yield the rows of each block that are in one range of keys, range by range, each small enough."""
    waiting: list[Ranges] = [[(0, len(scan.block.catalogue.ids)) for scan in scans]]
    while waiting:
        ranges = waiting.pop()
        samples = [_samples(scan.offsets, *part) for scan, part in zip(scans, ranges, strict=True)]
        series = [last - first for first, last in ranges]
        divisible = [n for n, count in enumerate(series) if count > 1]
        if not divisible or (sum(samples) <= PART_SAMPLES and sum(series) <= PART_SERIES):
            yield ranges
            continue
        largest = max(divisible, key=lambda n: samples[n] / PART_SAMPLES + series[n] / PART_SERIES)
        key = scans[largest].key(_middle(scans[largest].offsets, *ranges[largest]), table)
        cuts = [
            bisect_left(range(last), key, first, last, key=partial(scan.key, table=table))
            for scan, (first, last) in zip(scans, ranges, strict=True)
        ]
        waiting.append([(cut, last) for cut, (_, last) in zip(cuts, ranges, strict=True)])
        waiting.append([(first, cut) for cut, (first, _) in zip(cuts, ranges, strict=True)])


def _samples(offsets: I64, first: int, last: int) -> int:
    return int(offsets[last] - offsets[first])


def _middle(offsets: I64, first: int, last: int) -> int:
    """Return the row after which about half of the samples of rows [first, last) come."""
    half = (int(offsets[first]) + int(offsets[last])) // 2
    return min(max(int(np.searchsorted(offsets, half)), first + 1), last - 1)
