"""Series in memory that a query can be asked of: for packs, scripts and tests, with no store."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.model.labels import NAME_LABEL, decode_labels
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.model.sample_groups import selection_of
from metricsmith.model.selection import SampleLimit, Selection
from metricsmith.promql.series_input import Series, read_series
from metricsmith.wire.remote_write_message import STALE_BITS
from metricsmith.wire.series_notation import STALE

__all__ = ["STALE", "GrowingSeries", "MemorySeries"]

_Samples: TypeAlias = tuple[list[int], list[float], list[bool]]
"""Times, values and staleness markers of one series, in time order."""


class MemorySeries:
    """A fixed set of series; the value `STALE` is a staleness marker."""

    def __init__(self, series: Iterable[Series]) -> None:
        self._samples = {key: _marked(*samples) for key, samples in read_series(series).items()}

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, limit: int | None = None
    ) -> Selection:
        """Return all samples of the matching series in the closed range."""
        found, counted = [], SampleLimit(limit)
        for key in self._matching(matchers):
            times, values, stale = self._samples[key]
            part = slice(*np.searchsorted(times, [start_ms, end_ms + 1]).tolist())
            if part.stop > part.start:
                counted.add(part.stop - part.start)
                found.append((key, times[part], values[part], stale[part]))
        return selection_of(found)

    def _matching(self, matchers: Sequence[Matcher]) -> list[bytes]:
        keys = []
        for key in self._samples:
            labels = decode_labels(key)
            if all(m.matches(labels.get(m.name, "")) for m in matchers):
                keys.append(key)
        return keys


class GrowingSeries:
    """Series that grow sample by sample, while queries are asked of them."""

    def __init__(self) -> None:
        self._samples: dict[bytes, _Samples] = {}
        self._labels: dict[bytes, Mapping[str, str]] = {}
        self._by_name: defaultdict[str, list[bytes]] = defaultdict(list)

    def append(self, key: bytes, time_ms: int, value: float, stale: bool = False) -> None:
        """Add a sample; of two at one time the later wins."""
        if key not in self._samples:
            self._samples[key] = ([], [], [])
            self._labels[key] = labels = decode_labels(key)
            self._by_name[labels.get(NAME_LABEL, "")].append(key)
        times, values, markers = self._samples[key]
        at = len(times) if not times or time_ms > times[-1] else bisect_left(times, time_ms)
        end = at + (at < len(times) and times[at] == time_ms)
        times[at:end], values[at:end], markers[at:end] = [time_ms], [value], [stale]

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, limit: int | None = None
    ) -> Selection:
        """Return all samples of the matching series in the closed range."""
        found, counted = [], SampleLimit(limit)
        for key in self._matching(matchers):
            times, values, stale = self._samples[key]
            part = slice(bisect_left(times, start_ms), bisect_right(times, end_ms))
            if part.stop > part.start:
                counted.add(part.stop - part.start)
                arrays = np.array(times[part]), np.array(values[part]), np.array(stale[part])
                found.append((key, *arrays))
        return selection_of(found)

    def _matching(self, matchers: Sequence[Matcher]) -> list[bytes]:
        names = [m.value for m in matchers if m.name == NAME_LABEL and m.op is MatchOp.EQ]
        candidates = self._by_name.get(names[0], []) if names else self._samples
        return sorted(
            key for key in candidates if all(m.matches(self._labels[key].get(m.name, "")) for m in matchers)
        )


def _marked(times: I64, values: F64) -> tuple[I64, F64, Bool]:
    stale = values.view(np.uint64) == STALE_BITS
    return times, np.where(stale, np.nan, values), stale
