"""Writes one block: series in key order, row groups that begin with a series, checksums on the way."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from metricsmith.model.arrays import I64, U32
from metricsmith.model.metadata import Metadata
from metricsmith.store import fsutil
from metricsmith.store.block_meta import (
    BLOCK_FORMAT,
    META_FILE,
    SAMPLES_FILE,
    SERIES_FILE,
    BlockMeta,
    FileMeta,
    SamplesMeta,
    encode_meta,
)
from metricsmith.store.catalogue import (
    Coded,
    Maps,
    Strings,
    fingerprint,
    keys_to_columns,
    metadata_columns,
    metadata_of,
)
from metricsmith.store.pieces import RaggedPiece

SAMPLES_SCHEMA = pa.schema(
    (
        pa.field("series", pa.uint32(), nullable=False),
        pa.field("time_ms", pa.int64(), nullable=False),
        pa.field("value", pa.float64()),
    )
)
_SAMPLES_OPTIONS: dict[str, Any] = {
    "compression": "zstd",
    "compression_level": 1,  # 3 saves 2 % and costs a fifth of the speed
    "use_dictionary": False,
    "column_encoding": {
        "series": "DELTA_BINARY_PACKED",  # an eighth of a dictionary's bytes for short series
        "time_ms": "DELTA_BINARY_PACKED",
        "value": "BYTE_STREAM_SPLIT",
    },
    "write_statistics": ["series", "time_ms"],  # the others prune nothing
    "store_schema": False,
}


@dataclass(frozen=True, slots=True)
class FinishedBlock:
    """A complete, durable block in its temporary folder.

    Shapes:
        ids: (S,) process-wide ids of its series, in key order.
    """

    folder: Path
    meta: BlockMeta
    meta_crc32: int
    ids: U32
    metadata: dict[str, Metadata]


class BlockWriter:
    """Builds a block in a folder of its own; nothing refers to it before it is finished and renamed."""

    def __init__(self, folder: Path, number: int, window: tuple[int, int], row_group_rows: int) -> None:
        self.folder = folder
        self._number, self._window, self._row_group_rows = number, window, row_group_rows
        folder.mkdir()
        self._file = _open(folder / SAMPLES_FILE)
        self._sink = _ChecksummedSink(self._file)
        self._parquet: Any = None
        self._keys: list[bytes] = []
        self._ids: list[U32] = []
        self._counts: list[I64] = []
        self._first_times: list[I64] = []
        self._last_times: list[I64] = []
        self._row_groups: list[tuple[int, int, int]] = []  # samples, bytes, crc32
        try:
            sink: Any = self._sink
            self._parquet = pq.ParquetWriter(sink, SAMPLES_SCHEMA, **_SAMPLES_OPTIONS)
        except BaseException:
            self.abandon()
            raise

    @property
    def last_key(self) -> bytes:
        """The key that everything appended next must follow."""
        return self._keys[-1]

    def append(self, piece: RaggedPiece, keys: Sequence[bytes]) -> None:
        """Write series that follow those before in key order, each with all its samples of the window.

        Shapes:
            keys: S keys of the piece's series, ascending.
        """
        counts = np.diff(piece.offsets)
        row = np.uint32(len(self._keys)) + np.arange(len(counts), dtype=np.uint32)
        owner = np.repeat(row, counts)
        for lo, hi in _row_group_cuts(piece.offsets, self._row_group_rows):
            mask = None if piece.stale is None else piece.stale[lo:hi]
            columns = [
                pa.array(owner[lo:hi]),
                pa.array(piece.times[lo:hi]),
                pa.array(piece.values[lo:hi], mask=mask, from_pandas=False),
            ]
            table = pa.Table.from_arrays(columns, schema=SAMPLES_SCHEMA)
            self._parquet.write_table(table, row_group_size=hi - lo)
            self._row_groups.append((hi - lo, *self._sink.cut()))
        self._keys.extend(keys)
        self._ids.append(piece.series)
        self._counts.append(counts)
        self._first_times.append(piece.times[piece.offsets[:-1]])
        self._last_times.append(piece.times[piece.offsets[1:] - 1])

    def finish(self, metadata: Mapping[str, Metadata], sources: Sequence[str] = ()) -> FinishedBlock:
        """Complete the files and make them durable; the block may then be renamed to its place."""
        self._parquet.close()
        footer_bytes, footer_crc32 = self._sink.cut()
        fsutil.sync_file(self._file)
        self._file.close()
        first_times, last_times = np.concatenate(self._first_times), np.concatenate(self._last_times)
        counts = np.concatenate(self._counts)
        names, labels = keys_to_columns(self._keys)
        described = metadata_columns(names, metadata)
        series = _series_table(names, labels, counts, first_times, last_times, described)
        data = _as_parquet(series)
        fsutil.write_synced(self.folder / SERIES_FILE, data)
        samples, sizes, checksums = (list(column) for column in zip(*self._row_groups, strict=True))
        meta = BlockMeta(
            format=BLOCK_FORMAT,
            number=self._number,
            window_start_ms=self._window[0],
            window_end_ms=self._window[1],
            min_time_ms=int(first_times.min()),
            max_time_ms=int(last_times.max()),
            series=len(counts),
            samples=int(counts.sum()),
            catalogue=fingerprint(self._keys, described),
            sources=list(sources),
            series_file=FileMeta(bytes=len(data), crc32=zlib.crc32(data)),
            samples_file=SamplesMeta(
                row_group_samples=samples,
                row_group_bytes=sizes,
                row_group_crc32=checksums,
                footer_bytes=footer_bytes,
                footer_crc32=footer_crc32,
            ),
        )
        encoded = encode_meta(meta)
        fsutil.write_synced(self.folder / META_FILE, encoded)
        fsutil.sync_folder(self.folder)
        return FinishedBlock(
            self.folder, meta, zlib.crc32(encoded), np.concatenate(self._ids), metadata_of(series)
        )

    def abandon(self) -> None:
        """Close and remove what has been written."""
        self._sink.discard()
        if self._parquet is not None:
            with suppress(OSError):  # writes a footer, into nothing, and may repeat an earlier failure
                self._parquet.close()
        self._file.close()
        fsutil.remove_tree(self.folder)


def _open(path: Path) -> BinaryIO:
    return path.open("wb", buffering=0)


class _ChecksummedSink:
    """A file for pyarrow to write to, which knows size and checksum of what came since the last cut."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._bytes = self._position = self._crc32 = 0
        self._discarding = False

    def write(self, data: Any) -> int:
        with fsutil.disk_full("writing a block"):
            view = memoryview(data)
            self._crc32 = zlib.crc32(view, self._crc32)
            size = view.nbytes
            while view.nbytes and not self._discarding:
                view = view[self._file.write(view) :]
        self._bytes += size
        self._position += size
        return size

    def cut(self) -> tuple[int, int]:
        """Return bytes and checksum of the part that ends here."""
        part = self._bytes, self._crc32
        self._bytes = self._crc32 = 0
        return part

    def discard(self) -> None:
        """Take what comes from now on for written."""
        self._discarding = True

    def tell(self) -> int:
        return self._position

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        self.closed = True


def _row_group_cuts(offsets: I64, rows: int) -> Iterator[tuple[int, int]]:
    """Yield sample bounds of row groups: whole series while they fit, a longer one in groups of its own."""
    start, end = 0, int(offsets[-1])
    while start < end:
        fits = int(offsets[np.searchsorted(offsets, start + rows, "right") - 1])
        stop = (
            fits
            if fits > start
            else min(start + rows, int(offsets[np.searchsorted(offsets, start, "right")]))
        )
        yield start, stop
        start = stop


def _series_table(
    names: Strings,
    labels: Maps,
    counts: I64,
    first_times: I64,
    last_times: I64,
    described: dict[str, Coded],
) -> pa.Table:
    return pa.table(
        {
            "series": pa.array(np.arange(len(counts), dtype=np.uint32)),
            "name": names,
            "labels": labels,
            "first_row": pa.array(np.cumsum(counts) - counts),
            "row_count": pa.array(counts),
            "min_time_ms": pa.array(first_times),
            "max_time_ms": pa.array(last_times),
            **described,
        }
    )


def _as_parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", store_schema=False)
    return sink.getvalue().to_pybytes()
