"""An open block: its series, its row groups decoded on demand, and the samples of a selection."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from metricsmith.errors import BlockCorrupt, StoreError
from metricsmith.model.arrays import F64, I64, U32, Bool, look_up
from metricsmith.model.metadata import Metadata
from metricsmith.model.selection import UNLIMITED, SampleLimit
from metricsmith.model.series import SeriesTable
from metricsmith.store.block_files import corrupt, read_meta, read_part, read_series, whole
from metricsmith.store.block_groups import MatrixPart, SampleGroup, append_small, make_group, select, stack
from metricsmith.store.block_meta import META_FILE, SAMPLES_FILE, SERIES_FILE, BlockMeta
from metricsmith.store.cache import ByteCache
from metricsmith.store.catalogue import columns_to_keys, metadata_of
from metricsmith.store.manifest import BlockEntry
from metricsmith.store.pieces import Piece, RaggedPiece
from metricsmith.store.ragged import EMPTY, joined_stale, offsets_of

OnDamage: TypeAlias = Callable[["Block", BlockCorrupt], None]
"""Told of each row group that is found to be damaged."""
Loaded = TypeVar("Loaded")


class Catalogue:
    """The series of a block: process-wide ids in key order. Blocks with the same series share one.

    Shapes:
        ids: (S,)
    """

    def __init__(self, ids: U32, metadata: dict[str, Metadata]) -> None:
        self.ids = ids
        self.metadata = metadata
        self._row_by_id = np.argsort(ids).astype(np.uint32)
        self.sorted_ids: U32 = ids[self._row_by_id]

    def rows(self, series: U32) -> I64:
        """Return the sorted block rows of those given series that are here.

        Shapes:
            series: sorted, each once.
        """
        if len(series) == len(self.sorted_ids) and np.array_equal(series, self.sorted_ids):
            return np.arange(len(series))
        at, there = look_up(self.sorted_ids, series)
        found: I64 = self._row_by_id[at[there]].astype(np.int64)
        found.sort()
        return found


class _Rows:
    """Where each series' samples lie in `samples.parquet`."""

    def __init__(self, offsets: I64) -> None:
        self.offsets = offsets
        self.nbytes = offsets.nbytes


@dataclass(frozen=True, slots=True)
class Samples:
    """A decoded row group."""

    times: I64
    values: F64
    stale: Bool | None

    def cut(self, start: int, end: int) -> Samples:
        """Return the samples at [start, end)."""
        return Samples(
            self.times[start:end],
            self.values[start:end],
            None if self.stale is None else self.stale[start:end],
        )


class Block:
    """A block on disk, immutable. Files are opened for each read and closed after it.

    So thousands of blocks need no file descriptors; whoever reads holds a
    lease (see `leases`), and files are deleted only after the last lease.
    """

    def __init__(
        self, folder: Path, entry: BlockEntry, meta: BlockMeta, catalogue: Catalogue, on_damage: OnDamage
    ) -> None:
        self.folder, self.entry, self.meta, self.catalogue = folder, entry, meta, catalogue
        samples = meta.samples_file
        self._group_rows = offsets_of(np.array(samples.row_group_samples, np.int64))
        self._group_bytes = offsets_of(np.array(samples.row_group_bytes, np.int64))
        self._footer: Any = None
        self._on_damage = on_damage
        self.damaged: dict[int, BlockCorrupt] = {}
        """Row groups found to be damaged, and what is wrong with each: the others serve."""

    @property
    def lost(self) -> bool:
        """Whether every row group is damaged."""
        return len(self.damaged) == len(self.meta.samples_file.row_group_samples)

    def lies_within(self, start_ms: int, end_ms: int) -> bool:
        """Return whether all samples are in the closed range."""
        return start_ms <= self.meta.min_time_ms and self.meta.max_time_ms <= end_ms

    def samples_of(self, series: U32, cache: ByteCache) -> int:
        """Return how many samples some series have, without decoding them.

        Shapes:
            series: sorted ids, each once.
        Raises:
            BlockCorrupt: a file is damaged.
        """
        rows = self.catalogue.rows(series)
        offsets = cache.get((self.entry.number, -1), self._load_rows).offsets
        return int((offsets[rows + 1] - offsets[rows]).sum())

    def pieces(
        self, series: U32, start_ms: int, end_ms: int, cache: ByteCache, limit: SampleLimit = UNLIMITED
    ) -> list[Piece]:
        """Return the samples of some series in the closed range; each sample stands in one piece.

        Samples of a block that `lies_within` the range are not counted here:
        that is done beforehand. Damaged row groups are noted and left out.

        Shapes:
            series: sorted ids, each once.
        Raises:
            BlockCorrupt: a file is damaged.
            StoreError: a file cannot be read now.
            QueryLimitExceeded: there are too many samples.
        """
        rows = self.catalogue.rows(series)
        if len(rows) == 0:
            return []
        offsets = cache.get((self.entry.number, -1), self._load_rows).offsets
        counted = self.lies_within(start_ms, end_ms)
        matrices: list[MatrixPart] = []
        ragged: list[RaggedPiece] = []
        for number in self._groups_of(offsets[rows], offsets[rows + 1]).tolist():
            first, last = self._series_in_group(offsets, number)
            inside = rows[np.searchsorted(rows, first) : np.searchsorted(rows, last)]
            load = partial(self._load_group, offsets, number)
            group = self._unless_damaged(number, partial(cache.get, (self.entry.number, number), load))
            if group is None:
                continue
            parts, rest = select(group, inside - first, self.catalogue.ids[inside], start_ms, end_ms)
            if not counted:
                limit.add(sum(p.values.size for p in parts) + (0 if rest is None else len(rest.times)))
            matrices.extend(parts)
            if rest is not None:
                ragged.append(rest)
        return [*stack(matrices), *append_small(ragged)]

    def offsets(self) -> I64:
        """Return where the samples of each series begin in `samples.parquet`, and the end, past the cache.

        Shapes:
            returns: (S + 1,)
        """
        return self._load_rows().offsets

    def scan(
        self, offsets: I64, first: int, last: int, decode: Callable[[int], Samples] | None = None
    ) -> RaggedPiece:
        """Return all samples of the series at rows [first, last), in key order, past the cache.

        Damaged row groups are noted and left out, with the series that are in no other.
        Who reads neighbours one after another keeps row groups: `decode` returns them.

        Shapes:
            offsets: (S + 1,) those of the block.
        Raises:
            BlockCorrupt: a file is damaged.
        """
        lo, hi = int(offsets[first]), int(offsets[last])
        first_group = int(np.searchsorted(self._group_rows, lo, "right")) - 1
        last_group = int(np.searchsorted(self._group_rows, hi, "left"))
        bounds = offsets[first : last + 1] - lo
        kept, parts = self._whole_parts(range(first_group, last_group), lo, hi, decode or self.decode)
        counts = np.diff(bounds)
        if len(parts) < last_group - first_group:
            counts[:] = 0
            for part in kept:
                counts += np.diff(np.clip(bounds, *part))
        there = counts > 0
        if not there.any():
            return EMPTY
        return RaggedPiece(
            self.catalogue.ids[first:last][there],
            offsets_of(counts[there]),
            np.concatenate([p.times for p in parts]),
            np.concatenate([p.values for p in parts]),
            joined_stale([(p.stale, len(p.times)) for p in parts]),
        )

    def _whole_parts(
        self, groups: range, lo: int, hi: int, decode: Callable[[int], Samples]
    ) -> tuple[list[tuple[int, int]], list[Samples]]:
        """Return what can be read of rows [lo, hi): bounds of each part, counted from `lo`, and samples."""
        kept, parts = [], []
        for number in groups:
            samples = self._unless_damaged(number, partial(decode, number))
            if samples is not None:
                start = int(self._group_rows[number])
                first, last = max(lo, start), min(hi, int(self._group_rows[number + 1]))
                kept.append((first - lo, last - lo))
                parts.append(samples.cut(first - start, last - start))
        return kept, parts

    def _unless_damaged(self, number: int, load: Callable[[], Loaded]) -> Loaded | None:
        """Return what a row group loads as; None where it is damaged, of which the first finder tells."""
        if number in self.damaged:
            return None
        try:
            return load()
        except BlockCorrupt as error:
            if error.row_group is None:
                raise
            if self.damaged.setdefault(number, error) is error:
                self._on_damage(self, error)
            return None

    def check_frame(self) -> None:
        """Read what every row group depends on.

        Raises:
            BlockCorrupt: that is damaged, so the block is lost as a whole.
        """
        self._load_rows()
        self._file_metadata()

    def _load_rows(self) -> _Rows:
        counts = np.asarray(read_series(self.folder, self.meta, ["row_count"])["row_count"].combine_chunks())
        offsets = offsets_of(counts)
        if len(counts) != self.meta.series or offsets[-1] != self.meta.samples:
            raise corrupt(
                self.folder / SERIES_FILE,
                f"{len(counts)} series with {offsets[-1]} samples, not as in {META_FILE}",
            )
        return _Rows(offsets)

    def _groups_of(self, starts: I64, ends: I64) -> I64:
        """Return the row groups that hold any of these ranges of samples."""
        change = np.zeros(len(self._group_rows) + 1, np.int64)
        np.add.at(change, np.searchsorted(self._group_rows, starts, "right") - 1, 1)
        np.add.at(change, np.searchsorted(self._group_rows, ends, "left"), -1)
        return np.flatnonzero(np.cumsum(change) > 0)

    def _series_in_group(self, offsets: I64, number: int) -> tuple[int, int]:
        start, end = self._group_rows[number], self._group_rows[number + 1]
        return int(np.searchsorted(offsets, start, "right")) - 1, int(np.searchsorted(offsets, end, "left"))

    def _load_group(self, offsets: I64, number: int) -> SampleGroup:
        first, last = self._series_in_group(offsets, number)
        start, end = self._group_rows[number], self._group_rows[number + 1]
        samples = self.decode(number)
        own = np.clip(offsets[first : last + 1], start, end) - start
        return make_group(own, samples.times, samples.values, samples.stale)

    def decode(self, number: int) -> Samples:
        """Return the samples of a row group, past the cache.

        Raises:
            BlockCorrupt: it is damaged.
            StoreError: it cannot be read now.
        """
        samples = self.meta.samples_file
        start = int(self._group_bytes[number])
        where = f"row group {number}"
        path, crc32 = self.folder / SAMPLES_FILE, samples.row_group_crc32[number]
        read_part(path, start, samples.row_group_bytes[number], crc32, where, number)
        try:
            with pa.OSFile(str(path), "rb") as file:
                # Reading ahead would be done by a thread of its own, for which this one waits.
                parquet = pq.ParquetFile(file, metadata=self._file_metadata(), pre_buffer=False)
                columns = parquet.read_row_group(number, columns=["time_ms", "value"], use_threads=False)
            times, values = whole(columns["time_ms"]), whole(columns["value"])
        except OSError as error:  # its bytes were right a moment ago: the system's trouble, not the block's
            raise StoreError(f"{path}: {where}: {error}") from error
        except pa.ArrowException as error:
            raise corrupt(path, f"{where}: {error}", number) from error
        if len(times) != samples.row_group_samples[number]:
            raise corrupt(path, f"{where}: {len(times)} samples, not as in {META_FILE}", number)
        stale = None if values.null_count == 0 else values.is_null().to_numpy(zero_copy_only=False)
        decoded = values.to_numpy(zero_copy_only=False)
        decoded.flags.writeable = False  # readers get views of what the cache keeps
        return Samples(times.to_numpy(), decoded, stale)

    def _file_metadata(self) -> Any:
        if self._footer is None:
            samples = self.meta.samples_file
            start = int(self._group_bytes[-1])
            data = read_part(
                self.folder / SAMPLES_FILE, start, samples.footer_bytes, samples.footer_crc32, "footer"
            )
            try:
                self._footer = pq.read_metadata(pa.BufferReader(data))
            except (pa.ArrowException, OSError) as error:
                raise corrupt(self.folder / SAMPLES_FILE, f"footer: {error}") from error
        return self._footer


def open_block(
    folder: Path,
    entry: BlockEntry,
    table: SeriesTable,
    known: MutableMapping[str, Catalogue],
    on_damage: OnDamage,
) -> Block:
    """Return a block whose series are interned; a catalogue that is already known is shared.

    Only the sizes of the files are checked here, and the checksum of what is
    read: reading all samples at every start would cost minutes on a full disk.
    Each part of `samples.parquet` is checked when it is first decoded.

    Raises:
        BlockCorrupt: a file is missing, damaged or of the wrong size.
        FormatTooNew: a newer metricsmith wrote it.
        StoreError: a file cannot be read now.
    """
    meta, crc32 = read_meta(folder)
    if crc32 != entry.meta_crc32:
        raise corrupt(folder / META_FILE, f"got checksum {crc32:08x}, wanted {entry.meta_crc32:08x}")
    try:
        for name, wanted in ((SAMPLES_FILE, meta.samples_bytes), (SERIES_FILE, meta.series_file.bytes)):
            size = (folder / name).stat().st_size
            if size != wanted:
                raise corrupt(folder / name, f"got {size} bytes, wanted {wanted}")
    except FileNotFoundError as error:
        raise BlockCorrupt(f"{error.filename}: the file is missing") from error
    except OSError as error:
        raise StoreError(f"{folder}: {error}, wanted to read it (look at the disk)") from error
    catalogue = known.get(meta.catalogue)
    if catalogue is None:
        catalogue = known[meta.catalogue] = load_catalogue(folder, meta, table)
    return Block(folder, entry, meta, catalogue, on_damage)


def load_catalogue(folder: Path, meta: BlockMeta, table: SeriesTable) -> Catalogue:
    """Return the series of a block, interned.

    Raises:
        BlockCorrupt: `series.parquet` is damaged.
        StoreError: it cannot be read now.
    """
    series = read_series(folder, meta, ["name", "labels", "family", "type", "unit", "help"])
    names, labels = series["name"].combine_chunks(), series["labels"].combine_chunks()
    return Catalogue(table.intern_many(columns_to_keys(names, labels)), metadata_of(series))
