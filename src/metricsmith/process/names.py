"""What follows from the metric name of a series, found once per name and not per series."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from metricsmith.model.arrays import I64, U32
from metricsmith.model.batch import Layout
from metricsmith.model.labels import PAIR
from metricsmith.model.metadata import SAMPLE_SUFFIXES, Metadata, MetricType
from metricsmith.model.series import SeriesTable

_UNKNOWN = -1


def family_of(name: str, metadata: Mapping[str, Metadata]) -> str:
    """Return the family that a sample's name belongs to; empty when none is known.

    >>> family_of("latency_seconds_sum", {"latency_seconds": Metadata(MetricType.SUMMARY)})
    'latency_seconds'
    """
    if name in metadata:
        return name
    stems = (name.removesuffix(suffix) for suffix in SAMPLE_SUFFIXES if name.endswith(suffix))
    return next((stem for stem in stems if stem in metadata), "")


def type_of(name: str, metadata: Mapping[str, Metadata]) -> MetricType:
    """Return the type of the family that a sample's name belongs to."""
    family = family_of(name, metadata)
    return metadata[family].type if family else MetricType.UNKNOWN


class MetricNames:
    """Numbers the metric names of series; ids are looked at once, layouts as often as they change."""

    def __init__(self, table: SeriesTable) -> None:
        self._table = table
        self._number_of = np.full(1024, _UNKNOWN, dtype=np.int32)
        self._numbers: dict[bytes, int] = {}
        self.names: list[str] = []

    def numbers(self, ids: U32) -> I64:
        """Return the number of each series' name, an index of `names`.

        Shapes:
            ids, returns: (P,)
        """
        highest = int(ids.max(initial=0))
        if highest >= len(self._number_of):
            grown = np.full(2 * (highest + 1), _UNKNOWN, dtype=np.int32)
            grown[: len(self._number_of)] = self._number_of
            self._number_of = grown
        for series in np.unique(ids[self._number_of[ids] == _UNKNOWN]).tolist():
            self._number_of[series] = self._number(self._table.key(series).partition(PAIR)[0])
        return self._number_of[ids].astype(np.int64)

    def of(self, ids: U32) -> list[str]:
        """Return the distinct names of series."""
        return [self.names[number] for number in np.unique(self.numbers(ids)).tolist()]

    def judge(self, layout: Layout, verdict: Callable[[str], int]) -> I64:
        """Return the verdict on the name of each series of a layout, asked once per name.

        Shapes:
            returns: (P,)
        """
        present, which = np.unique(self.numbers(layout.ids), return_inverse=True)
        verdicts = np.array([verdict(self.names[number]) for number in present.tolist()], dtype=np.int64)
        return verdicts[which]

    def _number(self, name: bytes) -> int:
        number = self._numbers.setdefault(name, len(self.names))
        if number == len(self.names):
            self.names.append(name.decode())
        return number
