"""Files of samples written from front to back, in each format that export knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import BinaryIO, Protocol

import numpy as np

from metricsmith.model.arrays import Bool
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import metric_name
from metricsmith.model.metadata import Metadata
from metricsmith.model.series import SeriesTable
from metricsmith.wire.exposition.writer import history_comments, history_lines
from metricsmith.wire.sample_files.dialects import DIALECTS, Dialect, labels_text
from metricsmith.wire.sample_files.formats import ExportFormat
from metricsmith.wire.sample_files.names import FIRST_MS, LAST_MS, Form
from metricsmith.wire.sample_files.parquet import ROW_GROUP_ROWS, ParquetSamples, runs_of
from metricsmith.wire.sample_files.streams import compressed
from metricsmith.wire.sample_files.write_lines import LineWriter


class SampleWriter(Protocol):
    """Writes batches that have whole series one after another, of one metric name after the other."""

    left_out: dict[str, int]
    """Samples that the format cannot hold, by reason."""

    def write(self, batch: Batch) -> None:
        """Write samples."""
        ...

    def finish(self) -> None:
        """Write what ends the file; it stays open."""
        ...


def open_writer(
    format: ExportFormat, file: BinaryIO, series: SeriesTable, metadata: Mapping[str, Metadata], suffix: str
) -> SampleWriter:
    """Return what writes a format to a file; text is compressed as `suffix` says (.gz, .zst or nothing)."""
    match format:
        case ExportFormat.PARQUET:
            return _Parquet(file, series)
        case ExportFormat.OPENMETRICS:
            return _OpenMetrics(file, series, metadata, suffix)
        case ExportFormat.CSV:
            return _Lines(file, series, DIALECTS[Form.CSV], suffix)
        case ExportFormat.JSONL:
            return _Lines(file, series, DIALECTS[Form.JSON], suffix)


class _Lines:
    def __init__(self, file: BinaryIO, series: SeriesTable, dialect: Dialect, suffix: str) -> None:
        self._file, self._suffix = file, suffix
        self._lines = LineWriter(dialect, series)
        self.left_out: dict[str, int] = {}
        if dialect.header:
            file.write(compressed(dialect.header, suffix))

    def write(self, batch: Batch) -> None:
        batch = _without(batch, _no_year(batch), "times outside 1970 to 9999", self.left_out)
        if len(batch):
            self._file.write(compressed(self._lines.encode(batch), self._suffix))

    def finish(self) -> None:
        """Lines need no end."""


class _Parquet:
    def __init__(self, file: BinaryIO, series: SeriesTable) -> None:
        self._out, self._series = ParquetSamples(file, "zstd"), series
        self.left_out: dict[str, int] = {}

    def write(self, batch: Batch) -> None:
        ids, starts = runs_of(batch.layout.ids)
        texts = [labels_text(self._series.key(each)) for each in ids.tolist()]
        places = np.repeat(np.arange(len(ids), dtype=np.uint32), np.diff(starts))
        times = batch.times()
        for at in range(0, len(times), ROW_GROUP_ROWS):
            part = slice(at, at + ROW_GROUP_ROWS)
            own = places[part]
            stale = None if batch.stale is None else batch.stale[part]
            present = texts[own[0] : own[-1] + 1]
            self._out.write_row_group(present, own - own[0], times[part], batch.value[part], stale)

    def finish(self) -> None:
        self._out.close()


class _OpenMetrics:
    """Staleness markers and series without a name are left out: the format has neither."""

    def __init__(
        self, file: BinaryIO, series: SeriesTable, metadata: Mapping[str, Metadata], suffix: str
    ) -> None:
        self._file, self._series, self._metadata, self._suffix = file, series, metadata, suffix
        self._name: str | None = None
        self.left_out: dict[str, int] = {}

    def write(self, batch: Batch) -> None:
        batch = _without(batch, batch.stales(), "staleness markers", self.left_out)
        ids, starts = runs_of(batch.layout.ids)
        times, parts = batch.times(), []
        for place, series in enumerate(ids.tolist()):
            key = self._series.key(series)
            name = metric_name(key)
            own = slice(starts[place], starts[place + 1])
            if not name:
                _count(self.left_out, "samples of series without a name", own.stop - own.start)
                continue
            if name != self._name:
                parts.append(history_comments(name, self._metadata.get(name, Metadata())))
                self._name = name
            parts.append(history_lines(key, batch.value[own], times[own]))
        self._file.write(compressed(b"".join(parts), self._suffix) if parts else b"")

    def finish(self) -> None:
        self._file.write(compressed(b"# EOF\n", self._suffix))


def _no_year(batch: Batch) -> Bool:
    times = batch.times()
    found: Bool = (times < FIRST_MS) | (times > LAST_MS)
    return found


def _without(batch: Batch, left_out: Bool, reason: str, counts: dict[str, int]) -> Batch:
    """Return a batch without some samples, which are counted."""
    amount = int(np.count_nonzero(left_out))
    if not amount:
        return batch
    _count(counts, reason, amount)
    kept = np.flatnonzero(~left_out)
    return batch.take(Layout(batch.layout.ids[kept]), kept)


def _count(counts: dict[str, int], reason: str, amount: int) -> None:
    counts[reason] = counts.get(reason, 0) + int(amount)
