"""Which groups read which partitions, as rows in a fixed order, and the last verdict on each row.

A table is made anew only when a pair comes or goes: whatever depends on names alone, such as the keys of
samples, is made once, and a round costs array operations instead of a step per pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.sources.kafka.catchup import CatchUp, Trend
from metricsmith.sources.kafka.history import Key
from metricsmith.sources.kafka.lag import REASONS, UNKNOWN, Verdict

PartitionKey = tuple[str, int]
PairKey = tuple[str, str, int]


class PairTable:
    """The rows: groups in order of name, in each its partitions.

    Shapes:
        group, partition, topic: (S,) numbers in `groups`, `partitions` and `topics`.
    """

    def __init__(
        self, wanted: Mapping[str, frozenset[PartitionKey]], ids: Mapping[PartitionKey, Key]
    ) -> None:
        self._wanted, self._ids = wanted, ids
        self.groups = sorted(wanted)
        self.keys_of = [sorted(key for key in wanted[name] if key in ids) for name in self.groups]
        named = list(zip(self.groups, self.keys_of, strict=True))
        self.pairs: list[PairKey] = [(name, *key) for name, keys in named for key in keys]
        self.partition_of: list[PartitionKey] = [key for keys in self.keys_of for key in keys]
        self.partitions = list(dict.fromkeys(self.partition_of))
        number = {key: n for n, key in enumerate(self.partitions)}
        self.partition = np.array([number[key] for key in self.partition_of], dtype=np.int64)
        self.group = np.repeat(np.arange(len(named)), [len(keys) for keys in self.keys_of])
        self.topics = list(dict.fromkeys((name, topic) for name, topic, _ in self.pairs))
        topics = {at: n for n, at in enumerate(self.topics)}
        self.topic = np.array([topics[name, topic] for name, topic, _ in self.pairs], dtype=np.int64)
        self.history_keys: list[Key] = [(pair[0], *ids[pair[1:]]) for pair in self.pairs]
        self.end_keys: list[Key] = [ids[key] for key in self.partitions]
        self._labels = [(name, topic, str(n)) for name, topic, n in self.pairs]
        self._keys: dict[str, list[tuple[str, ...]]] = {}
        self._state_keys: list[tuple[str, ...]] = []
        self._states = np.full(len(self.pairs), -1, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.pairs)

    def serves(self, wanted: Mapping[str, frozenset[PartitionKey]], ids: Mapping[PartitionKey, Key]) -> bool:
        """Return whether this is the table of these groups and partitions."""
        return self._wanted == wanted and self._ids == ids

    def keys(self, name: str) -> list[tuple[str, ...]]:
        """Return the sample keys of a metric, one per row; the same objects each time."""
        if name not in self._keys:
            self._keys[name] = [(name, *labels) for labels in self._labels]
        return self._keys[name]

    def state_keys(self, name: str, reason: I64) -> list[tuple[str, ...]]:
        """Return the sample keys of the verdict, which end with its reason.

        Shapes:
            reason: (S,) numbers in REASONS.
        """
        if not self._state_keys:
            self._state_keys = [(name,)] * len(self)
        for row in np.flatnonzero(reason != self._states).tolist():
            self._state_keys[row] = (name, *self._labels[row], REASONS[reason[row]])
        self._states = reason.copy()
        return list(self._state_keys)


@dataclass(slots=True)
class Judged:
    """The last verdict on each row of a table, and when it was made; 0 is never.

    Shapes:
        time_ms, committed: (S,)
        promised: (S,) whether the group has committed there, as far as is known.
        write_rate: of the table's partitions, records a second, NaN unknown.
    """

    table: PairTable = field(default_factory=lambda: PairTable({}, {}))
    time_ms: I64 = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    committed: I64 = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    promised: Bool = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    verdict: Verdict = field(default_factory=lambda: _blank(0))
    write_rate: F64 = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def of(cls, table: PairTable, before: Judged) -> Judged:
        """Return the verdicts on a new table: pairs that were in the one before keep theirs."""
        size = len(table)
        made = cls(
            table,
            np.zeros(size, dtype=np.int64),
            np.full(size, UNKNOWN, dtype=np.int64),
            np.zeros(size, dtype=np.bool_),
            _blank(size),
            np.full(len(table.partitions), np.nan),
        )
        old = {pair: row for row, pair in enumerate(before.table.pairs)}
        rows = [(row, old[pair]) for row, pair in enumerate(table.pairs) if pair in old]
        if rows:
            to, source = np.array(rows, dtype=np.int64).T
            for mine, theirs in zip(made._arrays(), before._arrays(), strict=True):
                mine[to] = theirs[source]
        return made

    def put(self, rows: I64, time_ms: int, committed: I64, verdict: Verdict) -> None:
        """Take over new verdicts.

        Shapes:
            rows, committed and all of verdict: (N,)
        """
        self.time_ms[rows] = time_ms
        self.committed[rows] = committed
        for mine, new in zip(_columns(self.verdict), _columns(verdict), strict=True):
            mine[rows] = new

    def expire(self, oldest_ms: int) -> None:
        """Forget verdicts from before a time."""
        self.time_ms[self.time_ms < oldest_ms] = 0

    def _arrays(self) -> Iterator[np.ndarray]:
        yield from (self.time_ms, self.committed, self.promised)
        yield from _columns(self.verdict)


def _columns(verdict: Verdict) -> Sequence[np.ndarray]:
    trend, ahead = verdict.trend, verdict.catch_up
    return (
        *(verdict.lag, verdict.seconds, verdict.at_least, verdict.reason),
        *(trend.slope, trend.low, trend.high, ahead.seconds, ahead.low, ahead.high),
    )


def _blank(size: int) -> Verdict:
    def nothing() -> np.ndarray:
        return np.full(size, np.nan)

    return Verdict(
        nothing(),
        nothing(),
        np.zeros(size, dtype=np.bool_),
        np.zeros(size, dtype=np.int64),
        Trend(nothing(), nothing(), nothing()),
        CatchUp(nothing(), nothing(), nothing()),
    )
