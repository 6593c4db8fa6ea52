"""Reads a whole block and holds it against what is promised of blocks: docs/formats/block.md."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from metricsmith.errors import BlockCorrupt, FormatTooNew, StoreError
from metricsmith.model.arrays import I64
from metricsmith.model.faults import Advance, Fault
from metricsmith.store import fsutil
from metricsmith.store.block_files import read_meta
from metricsmith.store.block_meta import META_FILE, SAMPLES_FILE, SERIES_FILE, BlockMeta
from metricsmith.store.catalogue import columns_to_keys, fingerprint
from metricsmith.store.manifest import BlockEntry

BLOCK_LOST = "the agent sets the block aside; if there is a backup, put its folder in its place"
GROUP_LOST = "the agent leaves its samples out; if there is a backup, put the block's folder in its place"
UNREADABLE = "queries that need it fail: look at the disk; if there is a backup, put the folder in its place"
NOT_OURS = "the writer did not write this: please report it"
NEWER = "use the metricsmith that wrote it"


def verify_block(folder: Path, entry: BlockEntry | None, advance: Advance) -> Iterator[Fault]:
    """Yield what is wrong with a block; row group by row group, so that memory is bounded.

    Without an entry of the manifest, its checksum of `meta.json` is not known.
    """
    where = f"{folder.parent.name}/{folder.name}"
    try:
        meta, crc32 = read_meta(folder)
    except FormatTooNew as error:
        yield Fault(f"{where}/{META_FILE}", "", str(error), NEWER)
        return
    except BlockCorrupt as error:
        yield Fault(f"{where}/{META_FILE}", "", _without_path(error, folder / META_FILE), BLOCK_LOST)
        return
    except StoreError as error:
        yield Fault(f"{where}/{META_FILE}", "", _without_path(error, folder / META_FILE), UNREADABLE)
        return
    if entry is not None and crc32 != entry.meta_crc32:
        what = f"got checksum {crc32:08x}, wanted {entry.meta_crc32:08x} as in the manifest"
        yield Fault(f"{where}/{META_FILE}", "", what, BLOCK_LOST)
    if meta.name != folder.name:
        yield Fault(where, "", f"got a folder of this name, wanted {meta.name}", f"rename it to {meta.name}")
    series: _Series | None = None
    try:
        series = _read_series(folder, meta)
        for what in series.wrong:
            yield Fault(f"{where}/{SERIES_FILE}", "", what, NOT_OURS)
        if len(series.counts) != meta.series:
            return  # `meta.json` is not of this block
    except (BlockCorrupt, OSError) as error:
        advice = _advice(error, BLOCK_LOST)
        yield Fault(f"{where}/{SERIES_FILE}", "", _without_path(error, folder / SERIES_FILE), advice)
    advance(meta.series_file.bytes)
    for part, what, advice in _samples(folder / SAMPLES_FILE, meta, series, advance):
        yield Fault(f"{where}/{SAMPLES_FILE}", part, what, advice)


@dataclass(slots=True)
class _Series:
    """What `series.parquet` says of the samples.

    Shapes:
        counts, first, last: (S,)
    """

    counts: I64
    first: I64
    last: I64
    wrong: list[str] = field(default_factory=list)


def _read_series(folder: Path, meta: BlockMeta) -> _Series:
    path = folder / SERIES_FILE
    with _open(path) as file:
        length = file.seek(0, os.SEEK_END)
        file.seek(0)
        data = file.read(min(meta.series_file.bytes, length) + 1)
    _check(data, meta.series_file.bytes, meta.series_file.crc32)
    try:
        table = pq.read_table(pa.BufferReader(data), use_threads=False).combine_chunks()
        column = {name: table[name].combine_chunks() for name in table.column_names}
        numbers = {
            name: np.asarray(column[name]).astype(np.int64)
            for name in ("series", "first_row", "row_count", "min_time_ms", "max_time_ms")
        }
        keys = columns_to_keys(column["name"], column["labels"])
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise BlockCorrupt(f"cannot be decoded: {error}") from error
    counts = numbers["row_count"]
    found = _Series(counts, numbers["min_time_ms"], numbers["max_time_ms"])
    metadata: Any = {name: column[name].dictionary_encode() for name in ("family", "type", "unit", "help")}
    promises = {
        "series are not numbered from 0": np.array_equal(numbers["series"], np.arange(len(counts))),
        "series are not in the order of their keys": all(a < b for a, b in pairwise(keys)),
        "rows of series do not follow one another": np.array_equal(
            numbers["first_row"], np.cumsum(counts) - counts
        ),
        "a series has no samples": bool((counts > 0).all()),
        f"got {len(counts)} series, wanted {meta.series}": len(counts) == meta.series,
        f"got {counts.sum()} samples, wanted {meta.samples}": counts.sum() == meta.samples,
        "the catalogue is not the one that meta.json names": fingerprint(keys, metadata) == meta.catalogue,
    }
    found.wrong += [what for what, kept in promises.items() if not kept]
    return found


def _samples(
    path: Path, meta: BlockMeta, series: _Series | None, advance: Advance
) -> Iterator[tuple[str, str, str]]:
    """Yield part, fault and advice of what is wrong with `samples.parquet`."""
    parts = meta.samples_file
    at, broken = 0, set()
    try:
        with _open(path) as file:
            length = file.seek(0, os.SEEK_END)
            for number, (size, crc32) in enumerate(
                zip(parts.row_group_bytes, parts.row_group_crc32, strict=True)
            ):
                try:
                    file.seek(at)
                    _check(file.read(min(size, length)), size, crc32)
                except (BlockCorrupt, OSError) as error:
                    broken.add(number)
                    yield f"row group {number}", str(error), _advice(error, GROUP_LOST)
                at += size
                advance(size)
            file.seek(at)
            _check(file.read(min(parts.footer_bytes, length) + 1), parts.footer_bytes, parts.footer_crc32)
            advance(parts.footer_bytes)
            parquet = _parquet(path)
    except (BlockCorrupt, OSError) as error:
        yield "footer", str(error), _advice(error, BLOCK_LOST)
        return
    with parquet:
        yield from _Order(meta, series).check(parquet, broken)


class _Order:
    """Holds the decoded samples of a block against what it says of them."""

    def __init__(self, meta: BlockMeta, series: _Series | None) -> None:
        self._meta, self._said = meta, series
        count = 0 if series is None else meta.series
        self._counts = np.zeros(count, np.int64)
        self._first = np.full(count, np.iinfo(np.int64).max)
        self._last = np.full(count, np.iinfo(np.int64).min)
        self._before = (-1, 0)

    def check(self, parquet: Any, broken: set[int]) -> Iterator[tuple[str, str, str]]:
        wanted = self._meta.samples_file.row_group_samples
        if parquet.metadata.num_row_groups != len(wanted):
            got = parquet.metadata.num_row_groups
            yield "footer", f"got {got} row groups, wanted {len(wanted)}", NOT_OURS
            return
        for number in [n for n in range(len(wanted)) if n not in broken]:
            if (got := parquet.metadata.row_group(number).num_rows) != wanted[number]:
                yield f"row group {number}", f"got {got} samples, wanted {wanted[number]}", NOT_OURS
                broken.add(number)
                continue
            try:
                table = parquet.read_row_group(number, columns=["series", "time_ms"], use_threads=False)
                parquet.read_row_group(number, columns=["value"], use_threads=False)
            except (pa.ArrowException, OSError) as error:
                yield f"row group {number}", f"cannot be decoded: {error}", GROUP_LOST
                broken.add(number)
                continue
            rows, times = (np.asarray(table[name].combine_chunks()) for name in ("series", "time_ms"))
            for what in self._group(rows.astype(np.int64), times):
                yield f"row group {number}", what, NOT_OURS
        if self._said is not None and not broken:
            for what in self._whole(self._said):
                yield "", what, NOT_OURS

    def _group(self, rows: I64, times: I64) -> Iterator[str]:
        if len(rows) == 0:
            return
        first, last = int(rows.min()), int(rows.max())
        if last >= self._meta.series:
            yield f"got a sample of series {last}, wanted series below {self._meta.series}"
            return
        same, later = rows[1:] == rows[:-1], times[1:] > times[:-1]
        follows = self._before < (int(rows[0]), int(times[0]))
        if not (follows and bool(((rows[1:] > rows[:-1]) | (same & later)).all())):
            yield "samples are not in the order of series and time"
        self._before = int(rows[-1]), int(times[-1])
        if times.min() < self._meta.window_start_ms or times.max() >= self._meta.window_end_ms:
            yield f"got times from {times.min()} to {times.max()}, wanted them in the block's window"
        if self._said is None:
            return
        own, at = slice(first, last + 1), rows - first
        self._counts[own] += np.bincount(at, minlength=last + 1 - first)
        np.minimum.at(self._first[own], at, times)
        np.maximum.at(self._last[own], at, times)

    def _whole(self, said: _Series) -> Iterator[str]:
        meta = self._meta
        if not np.array_equal(self._counts, said.counts):
            yield f"series have other numbers of samples than {SERIES_FILE} says"
        elif not (np.array_equal(self._first, said.first) and np.array_equal(self._last, said.last)):
            yield f"series have other times than {SERIES_FILE} says"
        times = int(self._first.min()), int(self._last.max())
        if times != (meta.min_time_ms, meta.max_time_ms):
            yield f"got times from {times[0]} to {times[1]}, wanted {meta.min_time_ms} to {meta.max_time_ms}"


def _open(path: Path) -> BinaryIO:
    try:
        return fsutil.open_regular(path)
    except FileNotFoundError as error:
        raise BlockCorrupt("the file is missing") from error
    except fsutil.NoRegularFile as error:
        raise BlockCorrupt(str(error.strerror)) from error


def _parquet(path: Path) -> Any:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:  # its bytes have just been read, and were right
        raise BlockCorrupt(str(error)) from error


def _check(data: bytes, size: int, crc32: int) -> None:
    got = zlib.crc32(data[:size])
    if len(data) != size or got != crc32:
        more = "more than " if len(data) > size else ""
        raise BlockCorrupt(
            f"got {more}{min(len(data), size)} bytes with checksum {got:08x}, wanted {size} with {crc32:08x}"
        )


def _advice(error: Exception, if_damaged: str) -> str:
    """Return what becomes of a part: what the system cannot read now is not known to be damaged."""
    return UNREADABLE if isinstance(error, OSError) else if_damaged


def _without_path(error: Exception, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ")
