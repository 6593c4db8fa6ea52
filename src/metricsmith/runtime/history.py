"""All samples of a selection, read piece by piece: series by series, whatever the range and their number."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from metricsmith.errors import QueryLimitExceeded
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import NAME_LABEL, decode_labels, metric_name
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.model.series import SeriesTable
from metricsmith.store.pieces import RaggedPiece
from metricsmith.store.ragged import flat_positions

MOST_SAMPLES = 200_000
"""Wanted at once."""
NAMES_AT_ONCE = 50
MOST_PATTERN = 16_384
"""Characters of the values that one matcher lists."""
FIRST_INTERVAL_MS = 15_000
"""Taken for the time between samples until some have been read."""
MOST_PER_SERIES = 5_000
"""Taken at most until then: too much at once is asked for again in halves, too little stays so."""


class History(Protocol):
    """What samples are read from: a store, or an agent."""

    def names(self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int) -> list[str]:
        """Return the metric names of matching series in the closed range; "" where some have none."""
        ...

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[bytes]:
        """Return the keys of matching series that may have samples in the range."""
        ...

    def samples(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, limit: int) -> RaggedPiece:
        """Return the samples of matching series in the range; ids are those of the reader's table.

        Raises:
            QueryLimitExceeded: they are more than `limit`, or than whoever is asked gives at once.
        """
        ...


class HistoryReader:
    """Reads a closed range of time. Batches have whole series one after another, sorted by metric name.

    A series that is longer than what is read at once goes on in the next batch.
    """

    def __init__(self, history: History, table: SeriesTable, start_ms: int, end_ms: int) -> None:
        self._history, self._table = history, table
        self._start_ms, self._end_ms = start_ms, end_ms
        guess = (end_ms - start_ms) // FIRST_INTERVAL_MS + 1
        self._per_series = min(max(1, guess), MOST_PER_SERIES)
        self.series = 0
        """Series that have been read."""

    def batches(self, selectors: Sequence[Sequence[Matcher]]) -> Iterator[tuple[float, Batch]]:
        """Yield all samples that one of the selectors matches, each once, with the part that is done."""
        names = self._history.names(selectors, self._start_ms, self._end_ms)
        for at in range(0, len(names), NAMES_AT_ONCE):
            pack = names[at : at + NAMES_AT_ONCE]
            keys = self._keys(selectors, pack)
            # The names in any case: else each pack would read what all of them have.
            base = [*(selectors[0] if len(selectors) == 1 else ()), _one_of(NAME_LABEL, pack)]
            done = 0
            for some, batch in self._read_all(keys, base):
                yield (at + len(pack) * done / len(keys)) / len(names), batch
                done += some

    def _keys(self, selectors: Sequence[Sequence[Matcher]], names: list[str]) -> list[bytes]:
        of_names = _one_of(NAME_LABEL, names)
        found = {
            key
            for matchers in selectors
            for key in self._history.series([*matchers, of_names], self._start_ms, self._end_ms)
        }
        self.series += len(found)
        return sorted(found, key=lambda key: (metric_name(key), key))

    def _read_all(self, keys: list[bytes], base: Sequence[Matcher]) -> Iterator[tuple[int, Batch]]:
        """Yield samples, and how many series are done with them."""
        left = [(keys, [*base])] if keys else []
        while left:
            keys, matchers = left.pop()
            most = max(1, MOST_SAMPLES // self._per_series)
            if len(keys) > most:
                left += reversed(list(partition(keys, most, matchers)))
                continue
            try:
                batch = self._read(keys, matchers, self._start_ms, self._end_ms)
            except QueryLimitExceeded:
                if len(keys) > 1:
                    self._per_series *= 2
                    left += reversed(list(partition(keys, len(keys) // 2, matchers)))
                    continue
                own = [Matcher(name, MatchOp.EQ, value) for name, value in decode_labels(keys[0]).items()]
                # Besides its own labels, those that it has not and its neighbours have.
                of_it = [*matchers, *own]
                yield from ((0, b) for b in self._in_time(keys, of_it, self._start_ms, self._end_ms))
            else:
                self._per_series = max(1, len(batch) // len(keys))
                yield len(keys), batch

    def _in_time(
        self, keys: list[bytes], matchers: Sequence[Matcher], start_ms: int, end_ms: int
    ) -> Iterator[Batch]:
        """Yield one long series in order of time."""
        middle = (start_ms + end_ms) // 2
        for lo, hi in ((start_ms, middle), (middle + 1, end_ms)):
            try:
                yield self._read(keys, matchers, lo, hi)
            except QueryLimitExceeded:
                if lo >= hi:
                    raise
                yield from self._in_time(keys, matchers, lo, hi)

    def _read(self, keys: list[bytes], matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Batch:
        """Return the samples of exactly these series, in their order."""
        found = self._history.samples(matchers, start_ms, end_ms, 2 * MOST_SAMPLES)
        rank_of = {series: rank for rank, series in enumerate(self._table.intern_many(keys).tolist())}
        ranks = np.array([rank_of.get(series, -1) for series in found.series.tolist()], np.int64)
        order = np.argsort(ranks, kind="stable")
        order = order[np.count_nonzero(ranks < 0) :]
        lengths = np.diff(found.offsets)[order]
        places = flat_positions(found.offsets[:-1][order], lengths)
        stale = None if found.stale is None else found.stale[places]
        layout = Layout(np.repeat(found.series[order], lengths))
        return Batch(layout, found.times[places], found.values[places], stale)


def partition(
    keys: Sequence[bytes], most: int, matchers: Sequence[Matcher]
) -> Iterator[tuple[list[bytes], list[Matcher]]]:
    """Yield parts of at most so many series, each with matchers that tell it from the other parts.

    Order stays where it is by metric name.
    """
    if len(keys) <= most:
        yield list(keys), list(matchers)
        return
    labels = [decode_labels(key) for key in keys]
    label = _dividing_label(labels)
    groups: dict[str, list[bytes]] = {}
    for key, own in zip(keys, labels, strict=True):
        groups.setdefault(own.get(label, ""), []).append(key)
    waiting: list[str] = []
    for value, members in groups.items():
        size = sum(len(groups[other]) for other in waiting)
        characters = sum(map(len, waiting)) + len(value)
        if waiting and (size + len(members) > most or characters > MOST_PATTERN):
            yield [k for v in waiting for k in groups[v]], [*matchers, _one_of(label, waiting)]
            waiting = []
        if len(members) > most:
            yield from partition(members, most, [*matchers, _one_of(label, [value])])
        else:
            waiting.append(value)
    if waiting:
        yield [k for v in waiting for k in groups[v]], [*matchers, _one_of(label, waiting)]


def _dividing_label(labels: Sequence[dict[str, str]]) -> str:
    """Return the metric name where there are several, else the label with the most values."""
    values: dict[str, set[str]] = {}
    for own in labels:
        for name, value in own.items():
            values.setdefault(name, set()).add(value)
    if len({own.get(NAME_LABEL, "") for own in labels}) > 1:
        return NAME_LABEL
    absent = {name: any(name not in own for own in labels) for name in values}
    return max(values, key=lambda name: len(values[name]) + absent[name])


def _one_of(label: str, values: Sequence[str]) -> Matcher:
    if len(values) == 1:
        return Matcher(label, MatchOp.EQ, values[0])
    return Matcher(label, MatchOp.RE, "|".join(map(re.escape, values)))
