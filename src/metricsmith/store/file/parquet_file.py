"""A Parquet file of samples: what series it has is read once, samples only where those asked for stand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from metricsmith.errors import BlockCorrupt
from metricsmith.model.arrays import F64, I64, U32, Bool
from metricsmith.model.selection import SampleLimit
from metricsmith.model.series import SeriesTable
from metricsmith.store.pieces import RaggedPiece
from metricsmith.store.ragged import flat_positions, offsets_of, sort_samples, trim
from metricsmith.wire.sample_files.dialects import key_of_texts
from metricsmith.wire.sample_files.parquet import runs_of

_DESCRIBING, _SAMPLES = ["name", "labels"], ["time", "value"]


@dataclass(frozen=True, slots=True)
class _Group:
    """A row group: the runs of rows with the same series, and its times.

    Shapes:
        series: (R,) of each run. starts: (R + 1,) rows.
    """

    number: int
    series: U32
    starts: I64
    first_ms: int
    last_ms: int


class ParquetFile:
    """The samples of a Parquet file. Thread-safe."""

    def __init__(self, path: Path, series: SeriesTable) -> None:
        """Read what the file has.

        Raises:
            FileNotFoundError: it is gone.
            BlockCorrupt: it is damaged, or no file of samples.
        """
        self._path, self._table = path, series
        self._known: dict[tuple[str, str], int] = {}
        with _damage(path, "its footer"), pq.ParquetFile(path) as file:
            self._metadata = file.metadata
            _check_columns(file.schema_arrow)
        self._groups = [self._group(number) for number in range(self._metadata.num_row_groups)]
        self._known.clear()
        self._series = np.unique(np.concatenate([np.empty(0, np.uint32), *(g.series for g in self._groups)]))

    def series(self) -> U32:
        """Return the ids of the series in the file, sorted."""
        return self._series

    def overlaps(self, start_ms: int, end_ms: int) -> bool:
        """Return whether samples may be in the closed range."""
        return any(g.first_ms <= end_ms and g.last_ms >= start_ms for g in self._groups)

    def select(self, wanted: U32, start_ms: int, end_ms: int, limit: SampleLimit) -> Iterator[RaggedPiece]:
        """Yield what the file has of some series, sorted ids, in the closed range.

        Raises:
            FileNotFoundError: it is gone.
            BlockCorrupt: it is damaged.
        """
        for group in self._groups:
            if group.first_ms > end_ms or group.last_ms < start_ms:
                continue
            runs = np.flatnonzero(np.isin(group.series, wanted, kind="sort"))
            if len(runs):
                found = trim(self._read(group, runs), start_ms, end_ms)
                if len(found.times):
                    limit.add(len(found.times))
                    yield found

    def _group(self, number: int) -> _Group:
        with _damage(self._path, f"row group {number}"):
            table = self._columns(number, _DESCRIBING, read_dictionary=_DESCRIBING)
            times = self._metadata.row_group(number).column(self._place("time")).statistics
            names, labels = (table.column(c).combine_chunks() for c in _DESCRIBING)
            series = self._series_of(_dictionary(names), _dictionary(labels))
        first_ms, last_ms = -(1 << 62), 1 << 62
        if times is not None and times.has_min_max and times.min is not None:
            first_ms, last_ms = _millis(times.min), _millis(times.max)
        return _Group(number, *runs_of(series), first_ms, last_ms)

    def _series_of(self, names: Any, labels: Any) -> U32:
        """Return the series of each row, decoded once for each pair of a name and labels."""
        pairs = names.indices.to_numpy().astype(np.int64) * (len(labels.dictionary) + 1)
        pairs += labels.indices.to_numpy()
        runs = np.flatnonzero(np.append(True, pairs[1:] != pairs[:-1]))
        different, place = np.unique(pairs[runs], return_inverse=True)
        name_texts, label_texts = names.dictionary.to_pylist(), labels.dictionary.to_pylist()
        ids = np.empty(len(different), np.uint32)
        for i, pair in enumerate(different.tolist()):
            texts = name_texts[pair // (len(label_texts) + 1)], label_texts[pair % (len(label_texts) + 1)]
            found = self._known.get(texts)
            if found is None:
                found = self._known[texts] = self._table.intern(key_of_texts(*texts))
            ids[i] = found
        return np.repeat(ids[place], np.diff(np.append(runs, len(pairs))))

    def _read(self, group: _Group, runs: I64) -> RaggedPiece:
        with _damage(self._path, f"row group {group.number}"):
            table = self._columns(group.number, _SAMPLES)
            times, values, stale = _samples(table)
        starts = group.starts[runs]
        lengths = group.starts[runs + 1] - starts
        rows = flat_positions(starts, lengths)
        series, offsets = group.series[runs], offsets_of(lengths)
        times, values = times[rows], values[rows]
        stale = None if stale is None else stale[rows]
        if len(np.unique(series)) == len(series) and _ascending(times, offsets):
            return RaggedPiece(series, offsets, times, values, stale)
        return sort_samples(np.repeat(series, lengths), times, values, stale)

    def _columns(self, group: int, names: list[str], **options: Any) -> Any:
        with pq.ParquetFile(self._path, metadata=self._metadata, **options) as file:
            return file.read_row_group(group, columns=names)

    def _place(self, column: str) -> int:
        return list(self._metadata.schema.names).index(column)


@contextmanager
def _damage(path: Path, place: str) -> Iterator[None]:
    """Tell of bytes that cannot be read as damage, and where."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, ValueError, pa.ArrowException) as error:
        raise BlockCorrupt(f"{path}: {place}: {error}") from error


def _check_columns(schema: pa.Schema) -> None:
    missing = [name for name in (*_DESCRIBING, *_SAMPLES) if name not in schema.names]
    if missing:
        raise ValueError(f"got columns {', '.join(schema.names)}, wanted {', '.join(missing)} too")


def _dictionary(column: Any) -> Any:
    """Return a column as one dictionary array of strings without nulls."""
    coded = column if pa.types.is_dictionary(column.type) else column.cast(pa.string()).dictionary_encode()
    if coded.null_count:
        raise ValueError("got a null among names and labels")
    return coded


def _samples(table: Any) -> tuple[I64, F64, Bool | None]:
    time, value = (table.column(name).combine_chunks() for name in _SAMPLES)
    if time.null_count:
        raise ValueError("got a null among times")
    if pa.types.is_timestamp(time.type):
        time = pc.cast(time, pa.timestamp("ms", time.type.tz), safe=False)
    times = time.cast(pa.int64()).to_numpy()
    stale = value.is_null().to_numpy(zero_copy_only=False) if value.null_count else None
    return times, value.cast(pa.float64()).to_numpy(zero_copy_only=False), stale


def _millis(time: Any) -> int:
    """Return milliseconds of a time from the statistics of a column."""
    if isinstance(time, datetime):
        at = time if time.tzinfo else time.replace(tzinfo=UTC)
        return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    return int(time)


def _ascending(times: I64, offsets: I64) -> bool:
    """Return whether times are strictly ascending within each series."""
    later = times[1:] > times[:-1]
    later[offsets[1:-1] - 1] = True
    return bool(later.all())
