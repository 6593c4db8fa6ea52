"""Rows of one integration as batches: layouts that stay, markers of what has gone, the report on it."""

from __future__ import annotations

import numpy as np

from metricsmith.model.arrays import I64, U32
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import encode_labels
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.model.series import SeriesTable
from metricsmith.sources.exec.series import Rows

UP, DURATION, SAMPLES = "integration_up", "integration_run_duration_seconds", "integration_samples"
REPORT = {
    UP: Metadata(
        MetricType.GAUGE, "", "1 when the integration's last run went well, or it runs and answers."
    ),
    DURATION: Metadata(MetricType.GAUGE, "seconds", "Time of the last run, or so far of the present one."),
    SAMPLES: Metadata(MetricType.GAUGE, "", "Samples of the last run."),
}
MAX_STREAMS = 256
"""Of one integration that tells of ever other entities; what is beyond has no stream."""
_NONE: U32 = np.empty(0, dtype=np.uint32)
_NEVER: I64 = np.empty(0, dtype=np.int64)


class Batches:
    """Makes an integration's batches.

    Series that a run no longer has get staleness markers when it ends, all of
    them when it ends badly, and within a long one when they are `vanished`. A
    document has a stream by its entities, so that a long-running integration
    may tell of them in turns.
    """

    def __init__(self, source: str, name: str, series: SeriesTable) -> None:
        self._series = series
        self._prefix = f"{source}/{name}"
        self._layouts: dict[str, tuple[list[bytes], Layout]] = {}
        self._alive, self._seen, self._seen_ms = _NONE, _NONE, _NEVER
        self._began_ms = 0
        self._said: dict[str | None, Batch] = {}
        keys = [encode_labels({"__name__": metric, "integration": name}) for metric in REPORT]
        self._report = Layout(series.intern_many(keys), f"{self._prefix} report", REPORT)

    def document(self, rows: Rows, now_ms: int) -> Batch:
        """Return the samples of a document that came now."""
        times = rows.times
        same_time = times.count(times[0]) == len(times)
        layout = self._layout(rows, same_time)
        self._see(layout.ids, now_ms)
        value = np.array(rows.values, dtype=np.float64)
        batch = Batch(layout, times[0] if same_time else np.array(times, dtype=np.int64), value)
        if same_time:
            self._said[layout.stream] = batch
        return batch

    def report(self, time_ms: int, up: bool, duration_s: float, samples: int) -> Batch:
        """Return how the integration is."""
        batch = Batch(self._report, time_ms, np.array([up, duration_s, samples], dtype=np.float64))
        self._said[self._report.stream] = batch
        return batch

    def begin_run(self, now_ms: int) -> None:
        """Forget what was said: a new run says it anew."""
        self._said, self._began_ms = {}, now_ms

    def repeated(self, time_ms: int) -> list[Batch]:
        """Return what the last run said, as of now."""
        return [Batch(batch.layout, time_ms, batch.value) for batch in self._said.values()]

    def end_of_run(self, time_ms: int, well: bool) -> Batch | None:
        """Return the markers that the end of a run needs."""
        still = self._seen if well else _NONE
        if not well:
            self._said = {}
        gone = np.setdiff1d(np.union1d(self._alive, self._seen), still)
        self._alive, self._seen, self._seen_ms = still, _NONE, _NEVER
        return self._markers(gone, time_ms)

    def vanished(self, time_ms: int, since_ms: int) -> Batch | None:
        """Return the markers of series that a run which goes on has not told of since then."""
        if since_ms < self._began_ms:
            return None
        old = self._seen_ms < since_ms
        gone = np.union1d(self._seen[old], np.setdiff1d(self._alive, self._seen))
        self._seen, self._seen_ms = self._seen[~old], self._seen_ms[~old]
        self._alive = np.setdiff1d(self._alive, gone)
        return self._markers(gone, time_ms)

    def end(self, time_ms: int) -> list[Batch]:
        """Return the markers of everything: the integration is no longer configured."""
        gone = np.union1d(np.union1d(self._alive, self._seen), self._report.ids)
        self._alive, self._seen, self._seen_ms = _NONE, _NONE, _NEVER
        found = self._markers(gone, time_ms)
        return [] if found is None else [found]

    def _see(self, ids: U32, now_ms: int) -> None:
        seen = np.union1d(self._seen, ids)
        at = np.zeros(len(seen), dtype=np.int64)
        at[np.searchsorted(seen, self._seen)] = self._seen_ms
        at[np.searchsorted(seen, ids)] = now_ms
        self._seen, self._seen_ms = seen, at

    def _markers(self, gone: U32, time_ms: int) -> Batch | None:
        if not len(gone):
            return None
        stale = np.ones(len(gone), dtype=np.bool_)
        return Batch(Layout(gone.astype(np.uint32)), time_ms, np.full(len(gone), np.nan), stale)

    def _layout(self, rows: Rows, same_time: bool) -> Layout:
        entry = self._layouts.get(rows.stream)
        if entry is not None and entry[0] == rows.keys and (entry[1].stream is not None) == same_time:
            return entry[1]
        known = entry is not None or len(self._layouts) < MAX_STREAMS
        number = 0 if not known else list(self._layouts).index(rows.stream) if entry else len(self._layouts)
        stream = f"{self._prefix} {number}" if known and same_time else None
        layout = Layout(self._series.intern_many(rows.keys), stream, rows.metadata)
        if known:
            self._layouts[rows.stream] = (rows.keys, layout)
        return layout
