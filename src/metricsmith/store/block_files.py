"""The files of a block as bytes: read whole or in part, and held against their checksums."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from metricsmith.errors import BlockCorrupt, StoreError
from metricsmith.store import fsutil
from metricsmith.store.block_meta import (
    MAX_META_BYTES,
    META_FILE,
    SAMPLES_FILE,
    SERIES_FILE,
    BlockMeta,
    decode_meta,
)


def read_meta(folder: Path) -> tuple[BlockMeta, int]:
    """Return what a block says of itself, and the checksum of these words.

    Raises:
        BlockCorrupt: there is no `meta.json` that a writer would write.
        FormatTooNew: a newer metricsmith wrote it.
        StoreError: it cannot be read now.
    """
    path = folder / META_FILE
    try:
        with fsutil.open_regular(path) as file:
            data = file.read(MAX_META_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise corrupt(path, "the file is missing") from error
    except fsutil.NoRegularFile as error:
        raise corrupt(path, str(error.strerror)) from error
    except OSError as error:
        raise StoreError(
            f"{path}: {error.strerror or error}, wanted to read it"
            " (look at the disk and the file's rights; without its folder in blocks/ the others serve)"
        ) from error
    if len(data) > MAX_META_BYTES:
        raise corrupt(path, f"got more than {MAX_META_BYTES} bytes")
    return decode_meta(data, str(path)), zlib.crc32(data)


def read_series(folder: Path, meta: BlockMeta, columns: list[str]) -> pa.Table:
    """Return columns of `series.parquet`, whose checksum is right.

    Raises:
        BlockCorrupt: it is missing or damaged.
        StoreError: it cannot be read now.
    """
    path = folder / SERIES_FILE
    data = read_part(path, 0, meta.series_file.bytes, meta.series_file.crc32, "whole file")
    try:
        # Not `read_table`: that reads ahead in threads of its own, 2 ms for what takes 0.1 from memory.
        file = pq.ParquetFile(pa.BufferReader(data), pre_buffer=False)
        return file.read(columns=columns, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise corrupt(path, str(error)) from error


def read_part(
    path: Path, start: int, size: int, crc32: int, what: str, row_group: int | None = None
) -> bytes:
    """Return a part of a file whose checksum is right.

    Raises:
        BlockCorrupt: the file is missing, or these bytes are not what was written.
        StoreError: it cannot be read now.
    """
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(start)
            data = file.read(size)
    except FileNotFoundError as error:
        raise corrupt(path, "the file is missing") from error
    except OSError as error:
        raise StoreError(f"{path}: {what}: {error}") from error
    got = zlib.crc32(data)
    if len(data) != size or got != crc32:
        raise corrupt(
            path,
            f"{what}: got {len(data)} bytes with checksum {got:08x}, wanted {size} with {crc32:08x}",
            row_group,
        )
    return data


def link_block(folder: Path, target: Path) -> None:
    """Give the files of a block a second name in a folder, which is made where it is missing.

    Raises:
        OSError: a file is gone, or the file system has no links.
    """
    target.mkdir(exist_ok=True)
    for name in (META_FILE, SAMPLES_FILE, SERIES_FILE):
        os.link(folder / name, target / name)


def whole(column: Any) -> Any:
    """Return a column as one array; `combine_chunks` copies a single chunk too."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def corrupt(path: Path, what: str, row_group: int | None = None) -> BlockCorrupt:
    """Return the error that names the file, and the row group where it is one."""
    return BlockCorrupt(f"{path}: {what}", row_group)
