"""What makes many series: metric names, labels and pairs of them, the largest first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import compress
from typing import Protocol

import numpy as np

from metricsmith.model.arrays import I64, U32
from metricsmith.model.labels import NAME_LABEL
from metricsmith.store_contracts import Cardinality

Counts = list[tuple[str, int]]


class LabelColumn(Protocol):
    """The values of one label, numbered from 1; 0 means that a series does not have the label."""

    values: list[bytes]

    def numbers_of(self, series: U32) -> U32:
        """Return the number of the value that each of these sorted series has."""
        ...


def cardinality(columns: Iterable[tuple[str, LabelColumn]], series: U32, limit: int) -> Cardinality:
    """Return counts over these sorted series, of each kind the `limit` largest; ties by name."""
    by_metric: Counts = []
    by_pair: Counts = []
    values, lengths = [], []
    for label, column in columns:
        counts = np.bincount(column.numbers_of(series))
        counts[:1] = 0
        distinct = int(np.count_nonzero(counts))
        if not distinct:
            continue
        most = _largest(column.values, counts, limit)
        if label == NAME_LABEL:
            by_metric = most
        by_pair += [(f"{label}={value}", count) for value, count in most]
        values.append((label, distinct))
        lengths.append((label, sum(map(len, compress(column.values, counts)))))
    return Cardinality(
        series=len(series),
        label_pairs=sum(count for _, count in values),
        series_by_metric=by_metric,
        values_by_label=_first(values, limit),
        bytes_by_label=_first(lengths, limit),
        series_by_pair=_first(by_pair, limit),
    )


def _largest(values: Sequence[bytes], counts: I64, limit: int) -> Counts:
    present = np.flatnonzero(counts)
    if len(present) > limit:
        least = np.partition(counts[present], len(present) - limit)[len(present) - limit]
        present = present[counts[present] >= least]
    return _first([(values[n].decode(), int(counts[n])) for n in present.tolist()], limit)


def _first(counts: Counts, limit: int) -> Counts:
    return sorted(counts, key=lambda each: (-each[1], each[0]))[:limit]
