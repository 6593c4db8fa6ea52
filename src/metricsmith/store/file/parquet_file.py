"""A Parquet file of samples: what series it has is read once, samples only where those asked for stand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from metricsmith.errors import BlockCorrupt
from metricsmith.model.arrays import F64, I64, U32, Bool
from metricsmith.model.selection import SampleLimit
from metricsmith.model.series import SeriesTable
from metricsmith.store.file.decoders import Tell
from metricsmith.store.pieces import RaggedPiece
from metricsmith.store.ragged import EMPTY, flat_positions, offsets_of, sort_samples, trim
from metricsmith.wire.sample_files.columns import Damage
from metricsmith.wire.sample_files.dialects import key_of_texts
from metricsmith.wire.sample_files.parquet import runs_of

T = TypeVar("T")
_NONE = np.empty(0, np.int64)
_DESCRIBING, _SAMPLES = ["name", "labels"], ["time", "value"]


MOST_ROWS = 20_000_000
EVER = (-(1 << 62), 1 << 62)


@dataclass(frozen=True, slots=True)
class _Bounds:
    """The least and the greatest name and time in a row group, as far as its statistics tell."""

    names: tuple[str, str] | None
    first_ms: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class _Group:
    """A row group: the runs of rows with the same series.

    Shapes:
        series: (R,) of each run. starts: (R + 1,) rows.
    """

    number: int
    series: U32
    starts: I64


class ParquetFile:
    """The samples of a Parquet file. Thread-safe.

    Statistics say which row groups may have a metric or a time; what series
    the others have nobody reads. A damaged row group is told and left out.
    """

    def __init__(self, path: Path, series: SeriesTable, tell: Tell) -> None:
        """Read its footer.

        Raises:
            FileNotFoundError: it is gone.
            BlockCorrupt: it is damaged, or no file of samples.
        """
        self._path, self._table, self._tell = path, series, tell
        self._damaged: set[int] = set()
        with _damage(path, "its footer"), pq.ParquetFile(path) as file:
            self._metadata = file.metadata
            _check_columns(file.schema_arrow)
            self._bounds = [self._bounds_of(number) for number in range(self._metadata.num_row_groups)]
        self._groups: dict[int, _Group] = {}
        self._found: dict[tuple[int, ...], U32] = {}

    def overlaps(self, start_ms: int, end_ms: int) -> bool:
        """Return whether samples may be in the closed range."""
        return any(True for _ in self._candidates(start_ms, end_ms, None))

    def series(self, name: str | None = None) -> U32:
        """Return the ids of the series in the file, sorted; of a metric, if it is given, and some others.

        Raises:
            FileNotFoundError: it is gone.
        """
        numbers = tuple(self._candidates(*EVER, name))
        found = self._found.get(numbers)
        if found is None:
            ids = [group.series for number in numbers if (group := self._group(number)) is not None]
            found = self._found[numbers] = np.unique(np.concatenate([np.empty(0, np.uint32), *ids]))
        return found

    def known_series(self) -> U32:
        """Return the ids of the series that somebody has asked for."""
        ids = [group.series for group in list(self._groups.values())]
        return np.unique(np.concatenate([np.empty(0, np.uint32), *ids]))

    def select(
        self, wanted: U32, start_ms: int, end_ms: int, limit: SampleLimit, name: str | None = None
    ) -> Iterator[RaggedPiece]:
        """Yield what the file has of some series, sorted ids, in the closed range; of one metric if given.

        Raises:
            FileNotFoundError: it is gone.
        """
        for number in self._candidates(start_ms, end_ms, name):
            group = self._group(number)
            runs = _NONE if group is None else np.flatnonzero(np.isin(group.series, wanted, kind="sort"))
            if group is None or not len(runs):
                continue
            piece = self._unless_damaged(number, lambda: self._read(group, runs))  # noqa: B023 - called at once
            found = EMPTY if piece is None else trim(piece, start_ms, end_ms)
            if len(found.times):
                limit.add(len(found.times))
                yield found

    def row_groups(self) -> Iterator[tuple[RaggedPiece, int]]:
        """Yield all samples, one row group at a time, and the bytes of each; nothing is remembered.

        Raises:
            FileNotFoundError: it is gone.
            BlockCorrupt: a row group is larger than what is held in memory at once.
        """
        for number in range(self._metadata.num_row_groups):
            told = self._metadata.row_group(number)
            if told.num_rows > MOST_ROWS:
                wanted = f"got {told.num_rows} rows in row group {number}, wanted at most {MOST_ROWS}"
                raise BlockCorrupt(f"{self._path}: {wanted}")
            group = self._unless_damaged(number, lambda: self._described(number))  # noqa: B023 - called at once
            piece = None if group is None else self._unless_damaged(number, lambda: self._whole(group))  # noqa: B023
            yield EMPTY if piece is None else piece, told.total_byte_size

    def _whole(self, group: _Group) -> RaggedPiece:
        return self._read(group, np.arange(len(group.series)))

    def _candidates(self, start_ms: int, end_ms: int, name: str | None) -> Iterator[int]:
        for number, bounds in enumerate(self._bounds):
            if number in self._damaged:
                continue
            in_time = bounds.first_ms <= end_ms and bounds.last_ms >= start_ms
            if in_time and (
                name is None or bounds.names is None or bounds.names[0] <= name <= bounds.names[1]
            ):
                yield number

    def _bounds_of(self, number: int) -> _Bounds:
        group = self._metadata.row_group(number)
        names, times = (
            _least_and_greatest(group.column(self._place(c)).statistics) for c in ("name", "time")
        )
        is_text = names is not None and isinstance(names[0], str)
        first_ms, last_ms = EVER if times is None else map(_millis, times)
        return _Bounds(names if is_text else None, first_ms, last_ms)

    def _group(self, number: int) -> _Group | None:
        """Return what series a row group has, None of a damaged one."""
        group = self._groups.get(number)
        if group is None:
            group = self._unless_damaged(number, lambda: self._described(number))
            if group is not None:
                self._groups[number] = group
        return group

    def _described(self, number: int) -> _Group:
        table = self._columns(number, _DESCRIBING, read_dictionary=_DESCRIBING)
        names, labels = (_dictionary(table.column(c).combine_chunks()) for c in _DESCRIBING)
        return _Group(number, *runs_of(self._series_of(names, labels)))

    def _unless_damaged(self, number: int, read: Callable[[], T]) -> T | None:
        try:
            with _damage(self._path, f"row group {number}"):
                return read()
        except BlockCorrupt as error:
            self._damaged.add(number)
            self._found.clear()
            self._tell(self._path, Damage(f"row group {number}", str(error.__cause__)))
            return None

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
            ids[i] = self._table.intern(key_of_texts(*texts))
        return np.repeat(ids[place], np.diff(np.append(runs, len(pairs))))

    def _read(self, group: _Group, runs: I64) -> RaggedPiece:
        times, values, stale = _samples(self._columns(group.number, _SAMPLES))
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


def _least_and_greatest(statistics: Any) -> tuple[Any, Any] | None:
    if statistics is None or not statistics.has_min_max or statistics.min is None:
        return None
    return statistics.min, statistics.max


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
