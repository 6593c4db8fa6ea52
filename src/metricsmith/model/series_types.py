"""What follows from the metric name of a series and the type of its family, found once per name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from metricsmith.model.arrays import I64, U32
from metricsmith.model.batch import Layout
from metricsmith.model.labels import PAIR
from metricsmith.model.metadata import SAMPLE_SUFFIXES, Metadata, MetricType
from metricsmith.model.series import SeriesTable

_UNKNOWN = -1

Verdict: TypeAlias = Callable[[str, str, MetricType], int]
"""Called with the name of a sample, its family and the family's type; returns 0 to 127."""


def family_of(name: str, metadata: Mapping[str, Metadata]) -> str:
    """Return the family that a sample's name belongs to; empty when none is known.

    >>> family_of("latency_seconds_sum", {"latency_seconds": Metadata(MetricType.SUMMARY)})
    'latency_seconds'
    """
    if name in metadata:
        return name
    stems = (name.removesuffix(suffix) for suffix in SAMPLE_SUFFIXES if name.endswith(suffix))
    return next((stem for stem in stems if stem in metadata), "")


class ByType:
    """Verdicts on series by the types that layouts tell; without one, a series keeps the last it had.

    So a batch that only says that series ended, and nothing of their types,
    finds them as they were. A series whose type was never told gets 0.
    """

    def __init__(self, table: SeriesTable, verdict: Verdict) -> None:
        self._table, self._verdict = table, verdict
        self._number_of = np.full(1024, _UNKNOWN, dtype=np.int32)
        self._last = np.zeros(1024, dtype=np.int8)
        self._numbers: dict[bytes, int] = {}
        self._names: list[str] = []

    def judge(self, layout: Layout) -> I64:
        """Return the verdict on each series of a layout.

        Shapes:
            returns: (P,)
        """
        present, which = np.unique(self._numbers_of(layout.ids), return_inverse=True)
        names = [self._names[number] for number in present.tolist()]
        verdicts = np.array([self._judged(name, layout.metadata) for name in names], dtype=np.int8)[which]
        told = verdicts != _UNKNOWN
        self._last[layout.ids[told]] = verdicts[told]
        return self._last[layout.ids].astype(np.int64)

    def names(self, ids: U32) -> list[str]:
        """Return the distinct metric names of series."""
        return [self._names[number] for number in np.unique(self._numbers_of(ids)).tolist()]

    def _judged(self, name: str, metadata: Mapping[str, Metadata]) -> int:
        family = family_of(name, metadata)
        return self._verdict(name, family, metadata[family].type) if family else _UNKNOWN

    def _numbers_of(self, ids: U32) -> I64:
        """Return the number of each series' name; a key is looked at once."""
        highest = int(ids.max(initial=0))
        if highest >= len(self._number_of):
            grown = np.full(2 * (highest + 1), _UNKNOWN, dtype=np.int32)
            grown[: len(self._number_of)] = self._number_of
            last = np.zeros(len(grown), dtype=np.int8)
            last[: len(self._last)] = self._last
            self._number_of, self._last = grown, last
        for series in np.unique(ids[self._number_of[ids] == _UNKNOWN]).tolist():
            self._number_of[series] = self._number(self._table.key(series).partition(PAIR)[0])
        return self._number_of[ids].astype(np.int64)

    def _number(self, name: bytes) -> int:
        number = self._numbers.setdefault(name, len(self._names))
        if number == len(self._names):
            self._names.append(name.decode())
        return number
