"""Samples in Parquet: sorted by name, labels and time; names and labels coded by dictionary.

| column | type |
| --- | --- |
| time | timestamp, milliseconds, UTC |
| name | string |
| labels | string, a JSON object |
| value | double; null is a staleness marker |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, BinaryIO, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from metricsmith.model.arrays import F64, I64, U32, Bool
from metricsmith.model.series import SeriesTable
from metricsmith.wire.sample_files.columns import Columns
from metricsmith.wire.sample_files.dialects import labels_text

ROW_GROUP_ROWS = 1 << 17
_CODED = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        pa.field("time", pa.timestamp("ms", "UTC"), nullable=False),
        pa.field("name", _CODED, nullable=False),
        pa.field("labels", _CODED, nullable=False),
        pa.field("value", pa.float64()),
    ]
)


def write_parquet(file: BinaryIO, columns: Columns, series: SeriesTable, compression: str) -> None:
    """Write samples to a file; of two of a series at one time the later stays.

    Shapes:
        columns: (P,), at least one.
    """
    different = np.flatnonzero(np.bincount(columns.series))
    described = [labels_text(series.key(each)) for each in different.tolist()]
    by_text = sorted(range(len(described)), key=described.__getitem__)
    texts = [described[i] for i in by_text]
    rank_of = np.empty(int(different[-1]) + 1, np.uint32)
    rank_of[different[by_text]] = np.arange(len(texts), dtype=np.uint32)
    rank = rank_of[columns.series]
    order = sorted_places(rank, columns.times)
    rows, times = rank[order], columns.times[order]
    with ParquetSamples(file, compression) as out:
        for at in range(0, len(rows), ROW_GROUP_ROWS):
            part = slice(at, at + ROW_GROUP_ROWS)
            own = rows[part]
            stale = None if columns.stale is None else columns.stale[order[part]]
            present = texts[own[0] : own[-1] + 1]
            out.write_row_group(present, own - own[0], times[part], columns.values[order[part]], stale)


class ParquetSamples:
    """Writes a file one row group at a time."""

    def __init__(self, file: BinaryIO, compression: str) -> None:
        options: dict[str, Any] = {
            "compression": compression,
            "use_dictionary": ["name", "labels"],
            "dictionary_pagesize_limit": 64 << 20,
            "column_encoding": {"time": "DELTA_BINARY_PACKED", "value": "BYTE_STREAM_SPLIT"},
        }
        self._writer = pq.ParquetWriter(file, SCHEMA, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write the footer; the file stays open."""
        self._writer.close()

    def write_row_group(
        self, texts: Sequence[tuple[str, str]], places: U32, times: I64, values: F64, stale: Bool | None
    ) -> None:
        """Write samples, each of the series whose name and labels stand at its place in `texts`.

        Shapes:
            places, times, values, stale: (P,), at least one.
        """
        arrays = [
            pa.array(times).cast(SCHEMA.field("time").type),
            _coded([name for name, _ in texts], places),
            _coded([labels for _, labels in texts], places),
            pa.array(values, mask=stale, from_pandas=False),
        ]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA), row_group_size=len(places))


def sorted_places(rank: U32, times: I64) -> I64:
    """Return the places of samples sorted by rank, then time; of equal ones only the last.

    Shapes:
        rank, times: (P,)
        returns: at most (P,)
    """
    order = _by_rank(rank)
    by_rank, by_time = rank[order], times[order]
    same = by_rank[1:] == by_rank[:-1]
    if bool((same & (by_time[1:] < by_time[:-1])).any()):  # samples that came late
        order = np.lexsort((times, rank))
        by_rank, by_time = rank[order], times[order]
        same = by_rank[1:] == by_rank[:-1]
    last = np.append(~(same & (by_time[1:] == by_time[:-1])), True)
    return order if bool(last.all()) else order[last]


def _by_rank(rank: U32) -> I64:
    """Return the stable order of numbers: two passes over 16 bits each, which numpy sorts by counting."""
    order = np.argsort(rank.astype(np.uint16), kind="stable")
    if len(rank) and int(rank.max()) >= 1 << 16:
        high = (rank >> np.uint32(16)).astype(np.uint16)
        order = order[np.argsort(high[order], kind="stable")]
    return order


def _coded(texts: Sequence[str], places: U32) -> Any:
    """Return texts at places as a dictionary array, each text once: names repeat over series."""
    coded = pa.array(texts, pa.string()).dictionary_encode()
    index = coded.indices.to_numpy(zero_copy_only=False)[places]
    return pa.DictionaryArray.from_arrays(pa.array(index, pa.int32()), coded.dictionary)


def row_group_bounds(metadata: Any) -> I64:
    """Return where each row group of a file begins, and where the last ends."""
    counts = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    bounds = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=bounds[1:])
    return bounds


def runs_of(series: U32) -> tuple[U32, I64]:
    """Return the series of each run of equal ones, and where the runs begin, the end last.

    >>> runs_of(np.array([7, 7, 5], np.uint32))
    (array([7, 5], dtype=uint32), array([0, 2, 3]))
    """
    if not len(series):
        return series, np.zeros(1, np.int64)
    starts = np.flatnonzero(np.append(True, series[1:] != series[:-1]))
    return series[starts], np.append(starts, len(series))
