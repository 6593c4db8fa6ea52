"""Windows at random offsets across a log, and what the batches in them say of all of it.

A window is a short run of offsets at a random place; every batch that touches it is counted whole. A batch of
n records is met from n + width - 1 places, so what it holds is divided by that: see `estimate`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from metricsmith.model.arrays import I64, Bool
from metricsmith.sources.kafka.estimate import Windows
from metricsmith.sources.kafka.fetch import LogReader, Range
from metricsmith.sources.kafka.records import BatchCounts
from metricsmith.sources.kafka.scan import Log, Meter

STRATA = 4
FIRST_PER_STRATUM = 2
MOST_PER_STRATUM = 16
NARROW = 16
"""Offsets of the first windows, and of all where batches are long: more windows say more than wider ones."""
WINDOWS_OF_SAMPLE = 64
"""A window is as wide as would make so many windows of the wanted records, if batches were short."""


@dataclass(slots=True, eq=False)
class Window:
    """Offsets [at, stop) of a log, and the sums of the batches that touch them, each over its chances.

    The log's end may cut it; `width` is what it was drawn with.
    """

    stratum: int
    at: int
    stop: int
    width: int
    records: float = 0.0
    tombstones: float = 0.0
    read: int = 0


@dataclass(slots=True)
class Sample:
    """The windows of one partition's log from `start` to `end`.

    A log that is not longer than the wanted records is one window, read whole. `records`, `tombstones` and
    `empty_values` are those of all batches that were met, each once, however many windows met it.
    """

    start: int
    end: int
    wanted: int
    rng: np.random.Generator
    windows: list[Window] = field(default_factory=list)
    records: int = 0
    tombstones: int = 0
    empty_values: int = 0
    _refused: int = 0
    _met: list[tuple[int, int]] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether all of the log is to be read."""
        return self.end - self.start <= self.wanted

    @property
    def covered(self) -> int:
        """How many offsets of the log were looked at."""
        met = sum(max(0, min(stop, self.end) - max(first, self.start)) for first, stop in self._met)
        return max(0, met - self._refused)

    @property
    def complete(self) -> bool:
        """Whether all of the log was looked at."""
        return self.covered >= self.end - self.start

    @property
    def _widest(self) -> int:
        """Offsets per window where batches are short."""
        return max(1, self.wanted // WINDOWS_OF_SAMPLE)

    def first_windows(self) -> list[Window]:
        """Return the windows to begin with: two per stratum, so that strata can be seen to vary."""
        if self.whole:
            return self._kept([Window(0, self.start, self.end, self.end - self.start)])
        return self._drawn(FIRST_PER_STRATUM, min(self._widest, NARROW))

    def more_windows(self) -> list[Window]:
        """Return as many more as the wanted number of records allows, going by what the first ones took."""
        if self.whole or not self.windows:
            return []
        read = sum(window.read for window in self.windows)
        batch = max(1.0, read / len(self.windows))
        width = NARROW if batch >= self._widest > NARROW else self._widest
        cost = max(batch, width)
        more = min(int((self.wanted - read) / cost) // STRATA, MOST_PER_STRATUM - FIRST_PER_STRATUM)
        # One anywhere in a stratum may make the figure worse than the first ones, which lie apart.
        return self._drawn(more, width) if more >= FIRST_PER_STRATUM else []

    def _drawn(self, each: int, width: int) -> list[Window]:
        """Return new windows, `each` per stratum, one in each of as many parts of the stratum.

        So they lie apart; that they vary less for it is left out of the interval.
        """
        windows = []
        length = self.end - self.start
        for part in range(STRATA * each):
            first = self.start + length * part // (STRATA * each)
            behind = self.start + length * (part + 1) // (STRATA * each)
            at = int(self.rng.integers(first, max(behind, first + 1)))
            windows.append(Window(part // each, at, min(at + width, self.end), width))
        return self._kept(windows)

    def _kept(self, windows: list[Window]) -> list[Window]:
        self.windows.extend(windows)
        return windows

    def _edges(self) -> list[int]:
        length = self.end - self.start
        return [self.start + length * number // STRATA for number in range(STRATA + 1)]

    def add(self, window: Window, counts: BatchCounts, which: np.ndarray) -> None:
        """Count the batches of an answer: of those that touch the window, divided by their chances.

        Shapes:
            counts: B batches.
            which: (N,) positions of the batches that lie in this log, one after the other.
        """
        window.read += int(counts.records[which].sum())
        first, last = counts.first_offset[which], counts.last_offset[which]
        self._count_new(counts, which[self._not_met(first)])
        if len(first):
            self.meet(int(first[0]), int(last[-1]) + 1)
        if self.whole:
            chances = np.ones(len(first))
        else:
            earliest = np.maximum(first - window.width + 1, self.start)
            chances = np.maximum(np.minimum(last, self.end - 1) - earliest + 1, 1)
        inside = (first < window.stop) & (last >= window.at)
        window.records += float((counts.records[which] / chances)[inside].sum())
        window.tombstones += float((counts.tombstones[which] / chances)[inside].sum())

    def _count_new(self, counts: BatchCounts, new: np.ndarray) -> None:
        self.records += int(counts.records[new].sum())
        self.tombstones += int(counts.tombstones[new].sum())
        self.empty_values += int(counts.empty_values[new].sum())
        length = counts.last_offset[new] - counts.first_offset[new] + 1
        self._refused += int(length[~counts.readable[new]].sum())

    def _not_met(self, first: I64) -> Bool:
        """Return which batches no window has met, by their first offsets."""
        if not self._met:
            return np.ones(len(first), np.bool_)
        starts, stops = np.array(self._met, np.int64).T
        before = np.searchsorted(starts, first, side="right") - 1
        new: Bool = (before < 0) | (first >= stops[before])
        return new

    def meet(self, first: int, stop: int) -> None:
        """Remember that all offsets of [first, stop) were looked at."""
        place = bisect_right(self._met, (first, stop))
        if place and self._met[place - 1][1] >= first:
            place -= 1
            first, stop = self._met[place][0], max(stop, self._met[place][1])
        behind = place
        while behind < len(self._met) and self._met[behind][0] <= stop:
            stop = max(stop, self._met[behind][1])
            behind += 1
        self._met[place:behind] = [(first, stop)]

    def drop(self, window: Window) -> None:
        """Forget a window that could not be read to its end."""
        self.windows.remove(window)

    def sizes(self) -> list[int]:
        """Return the offsets of each stratum; one that is read whole counts as it is."""
        edges = self._edges()
        return [1] if self.whole else [b - a for a, b in pairwise(edges)]


def joined(samples: Sequence[Sample]) -> Windows:
    """Return the windows of several logs, with strata of their own; a log read whole is one window."""
    chosen, records, strata, sizes = [], [], [], list[int]()
    for sample in samples:
        if sample.complete:
            strata.append(len(sizes))
            chosen.append(float(sample.tombstones))
            records.append(float(sample.records))
            sizes.append(1)
            continue
        strata += [len(sizes) + window.stratum for window in sample.windows]
        chosen += [window.tombstones for window in sample.windows]
        records += [window.records for window in sample.windows]
        sizes += sample.sizes()
    return Windows(
        np.array(chosen, np.float64),
        np.array(records, np.float64),
        np.array(strata, np.int64),
        np.array(sizes, np.float64),
    )


def sample_logs(
    reader: LogReader,
    meter: Meter,
    samples: Sequence[tuple[Log, Sample]],
    progress: Callable[[int, int], None],
) -> None:
    """Read windows of all logs: a few of each, then as many more as each one's sample allows."""
    done = 0
    for draw in (Sample.first_windows, Sample.more_windows):
        # All logs' first windows come before all logs' second ones, so that a budget is shared fairly.
        drawn = [(log, sample, draw(sample)) for log, sample in samples if log.start < log.end]
        rows = [
            (Range(log.partition, window.at, window.stop), sample, window)
            for number in range(max((len(windows) for *_, windows in drawn), default=0))
            for log, sample, windows in drawn
            for window in windows[number : number + 1]
        ]
        for read in _read(reader, meter, rows):
            progress(done + read, done + len(rows))
        done += len(rows)


def _read(
    reader: LogReader,
    meter: Meter,
    rows: Sequence[tuple[Range, Sample, Window]],
) -> Iterator[int]:
    """Read windows; yield how many are done."""
    owner = {each: (sample, window) for each, sample, window in rows}
    for chunks in reader.read(list(owner), meter.enough):
        counts = meter.counts(chunks, [owner[chunk.range][0].start for chunk in chunks])
        for number, chunk in enumerate(chunks):
            sample, window = owner[chunk.range]
            sample.add(window, counts, np.flatnonzero(counts.piece == number))
        yield sum(each.at >= each.end for each in owner)
    for each, (sample, window) in owner.items():
        if each.failed or each.skipped or each.at < each.end:
            sample.drop(window)
        else:
            sample.meet(window.at, window.stop)
