"""Batches to lines: what depends on a series is bytes made once, times and values are put in."""

from __future__ import annotations

import numpy as np
import orjson

from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.series import SeriesTable
from metricsmith.wire.sample_files.dialects import Dialect

MOST_KEPT = 500_000
"""So many series' bytes are kept beside those of layouts; after that they are made anew."""


class LineWriter:
    """Writes samples as lines of a dialect."""

    def __init__(self, dialect: Dialect, series: SeriesTable) -> None:
        self._dialect, self._series = dialect, series
        self._kept: dict[int, bytes] = {}

    def encode(self, batch: Batch) -> bytes:
        """Return the lines of a batch, in its order; its times must have a year of four digits."""
        count, dialect = len(batch), self._dialect
        if not count:
            return b""
        parts: list[bytes] = [b""] * (3 * count)
        if isinstance(batch.time_ms, int):
            start = dialect.begin + _time_text(batch.time_ms)
            parts[0::3] = [dialect.end + start] * count
            parts[0] = start
        else:
            starts = time_texts(batch.time_ms, dialect.end + dialect.begin)
            starts[0] = starts[0][len(dialect.end) :]
            parts[0::3] = starts
        parts[1::3] = self._middles(batch.layout)
        parts[2::3] = value_texts(batch.value, batch.stale, dialect)
        parts.append(dialect.end)
        return b"".join(parts)

    def _middles(self, layout: Layout) -> list[bytes]:
        if layout.stream is None:  # used once
            return self._middles_of(layout)
        return layout.derive(self, self._middles_of)

    def _middles_of(self, layout: Layout) -> list[bytes]:
        kept, ids = self._kept, layout.ids.tolist()
        if len(kept) > MOST_KEPT:
            kept.clear()
        for series in ids:
            if series not in kept:
                kept[series] = self._dialect.middle(self._series.key(series))
        return [kept[series] for series in ids]


def time_texts(times: I64, before: bytes = b"") -> list[bytes]:
    """Return times as text, each with something before it.

    Shapes:
        times: (P,)
        returns: P texts
    """
    different, place = np.unique(times, return_inverse=True)
    texts = [before + _time_text(time_ms) for time_ms in different.tolist()]
    return [texts[i] for i in place.tolist()]


def value_texts(values: F64, stale: Bool | None, dialect: Dialect) -> list[bytes]:
    """Return values as text, the shortest that reads back as the same number.

    Shapes:
        values: (P,), at least one.
        returns: P texts
    """
    text = orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)
    texts = text[1:-1].split(b",")
    for i in np.flatnonzero(~np.isfinite(values)).tolist():
        texts[i] = dialect.nan if values[i] != values[i] else dialect.plus if values[i] > 0 else dialect.minus
    if stale is not None:
        for i in np.flatnonzero(stale).tolist():
            texts[i] = dialect.stale
    return texts


def _time_text(time_ms: int) -> bytes:
    return f"{np.datetime64(time_ms, 'ms')}Z".encode()
