"""Series in memory that a query can be asked of: for packs, scripts and tests, with no store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.model.labels import decode_labels
from metricsmith.model.matchers import Matcher
from metricsmith.model.selection import MatrixGroup, RaggedGroup, SampleLimit, Selection
from metricsmith.promql.series_input import Series, read_series
from metricsmith.wire.remote_write_message import STALE_BITS

STALE = float(np.uint64(STALE_BITS).view(np.float64))
"""The value that marks the end of a series: a NaN with the bits that Prometheus gives it."""


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
        return _selection(found)

    def _matching(self, matchers: Sequence[Matcher]) -> list[bytes]:
        keys = []
        for key in self._samples:
            labels = decode_labels(key)
            if all(m.matches(labels.get(m.name, "")) for m in matchers):
                keys.append(key)
        return keys


def _marked(times: I64, values: F64) -> tuple[I64, F64, Bool]:
    stale = values.view(np.uint64) == STALE_BITS
    return times, np.where(stale, np.nan, values), stale


def _selection(found: list[tuple[bytes, I64, F64, Bool]]) -> Selection:
    """Return series with the same times and markers as matrices, the others one after another."""
    alike: dict[tuple[bytes, bytes], list[int]] = {}
    for row, (_, times, _, stale) in enumerate(found):
        alike.setdefault((times.tobytes(), stale.tobytes()), []).append(row)
    matrices, loose = [], []
    for rows in alike.values():
        if len(rows) == 1:
            loose += rows
            continue
        _, times, _, stale = found[rows[0]]
        values = np.stack([found[row][2] for row in rows])
        matrices.append(MatrixGroup(np.array(rows), times, values, stale if stale.any() else None))
    return Selection([key for key, *_ in found], matrices, _ragged(found, loose))


def _ragged(found: list[tuple[bytes, I64, F64, Bool]], rows: list[int]) -> RaggedGroup | None:
    if not rows:
        return None
    lengths = [len(found[row][1]) for row in rows]
    stale = np.concatenate([found[row][3] for row in rows])
    return RaggedGroup(
        np.array(rows, dtype=np.int64),
        np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]),
        np.concatenate([found[row][1] for row in rows]),
        np.concatenate([found[row][2] for row in rows]),
        stale if stale.any() else None,
    )
