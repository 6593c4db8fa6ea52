"""Readings of a Kafka cluster as series for PromQL; each metric is made when it is asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np

from metricsmith.model.arrays import F64, I64
from metricsmith.model.labels import NAME_LABEL, encode_labels
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.model.sample_groups import within
from metricsmith.model.selection import MatrixGroup, SampleLimit, Selection
from metricsmith.runtime.kafka_session import Snapshot
from metricsmith.sources.kafka.metrics import METRICS

_Row: TypeAlias = tuple[bytes, tuple[str, ...]]
"""Label key, and the sample's key in a snapshot."""


class ReadingSeries:
    """Two readings, or one; what has ended since is not to be found (`store_contracts.Selectable`)."""

    def __init__(self, before: Snapshot, now: Snapshot) -> None:
        self._before, self._now = before, now
        self._rows: dict[str, list[_Row]] = {}
        self._samples: defaultdict[str, list[tuple[str, ...]]] = defaultdict(list)
        for key in now.values:
            self._samples[key[0]].append(key)

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, limit: int | None = None
    ) -> Selection:
        """Return all samples of the matching series in the closed range."""
        rows = sorted(row for name in self._names(matchers) for row in self._matching(name, matchers))
        SampleLimit(limit).add(2 * len(rows))
        known = self._before is not self._now
        first = [self._before.values.get(sample) if known else None for _, sample in rows]
        last = np.array([self._now.values[sample] for _, sample in rows], np.float64)
        twice = np.array([value is not None for value in first], np.bool_)
        earlier = np.array([value for value in first if value is not None], np.float64)
        matrices = [
            _matrix(np.flatnonzero(twice), [self._before, self._now], [earlier, last[twice]]),
            _matrix(np.flatnonzero(~twice), [self._now], [last[~twice]]),
        ]
        found = Selection([key for key, _ in rows], [each for each in matrices if len(each.rows)])
        return within(found, start_ms, end_ms)

    def _names(self, matchers: Sequence[Matcher]) -> Iterable[str]:
        exact = [m.value for m in matchers if m.name == NAME_LABEL and m.op is MatchOp.EQ]
        return [name for name in exact[:1] if name in self._samples] if exact else self._samples

    def _matching(self, name: str, matchers: Sequence[Matcher]) -> list[_Row]:
        labels = METRICS[name][1]
        if not all(m.matches(name if m.name == NAME_LABEL else "") for m in matchers if m.name not in labels):
            return []
        rest = [(labels.index(m.name) + 1, m) for m in matchers if m.name in labels]
        rows = self._made(name, labels)
        return [row for row in rows if all(m.matches(row[1][at]) for at, m in rest)] if rest else rows

    def _made(self, name: str, labels: Sequence[str]) -> list[_Row]:
        if name not in self._rows:
            self._rows[name] = [
                (encode_labels({NAME_LABEL: name, **dict(zip(labels, sample[1:], strict=True))}), sample)
                for sample in self._samples[name]
            ]
        return self._rows[name]


def _matrix(rows: I64, readings: Sequence[Snapshot], columns: Sequence[F64]) -> MatrixGroup:
    times = np.array([reading.time_ms for reading in readings], np.int64)
    return MatrixGroup(rows, times, np.column_stack(columns))
