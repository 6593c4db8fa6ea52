"""All samples of a data directory that nobody uses, read without changing it: a backup stays as it is.

Only LOCK notes who reads.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from metricsmith.errors import BlockCorrupt, DataDirLocked, FormatTooNew, StoreError
from metricsmith.journal.segment import list_segments
from metricsmith.journal.tail import Tail
from metricsmith.model.arrays import distinct
from metricsmith.model.metadata import Metadata
from metricsmith.model.series import SeriesTable
from metricsmith.store.block_samples import block_samples
from metricsmith.store.datadir import DataDir, current_version, version_of
from metricsmith.store.index import SeriesIndex
from metricsmith.store.manifest import BlockEntry, Manifest
from metricsmith.store.pieces import RaggedPiece
from metricsmith.store.tombstones import Tombstone, visible_samples
from metricsmith.store.verify import copied, kept_from_others
from metricsmith.wire.sample_files.columns import Columns, Damage, columns_of

Read = tuple[Columns, Mapping[str, Metadata], int]
"""Some samples, what is known of their families, and how many bytes more have been read."""
_END = 1 << 62
_TORN = {"header", "cut", "payload"}
"""How a journal ends that was being written: nobody was told that what is there was kept."""


def folder_samples(folder: Path, table: SeriesTable, tell: Callable[[Path, Damage], None]) -> Iterator[Read]:
    """Yield the samples of blocks, the oldest first, and then those that only the journal has.

    Later ones take the place of earlier ones of the same series and time. `tell` is told of what is damaged.

    Raises:
        DataDirLocked: an agent uses it.
        FormatTooNew, StoreError: it cannot be read.
    """
    with kept_from_others(folder) as user:
        if user:
            raise DataDirLocked(
                f"got {folder} in use by process {user}, wanted one that nobody uses (stop it)"
            )
        if (version_of(folder) or current_version()) > current_version():
            raise FormatTooNew(f"got {folder} in a newer format version, wanted {current_version()} or older")
        entries, tombstones, cursor = _manifest(DataDir(folder).manifest)
        deleted = _Deleted(tombstones, table)
        for entry in entries:
            yield from _block(DataDir(folder).blocks / entry.name, entry, deleted, table, tell)
        yield from _beyond(folder / "journal", cursor, table, tell)


def _manifest(path: Path) -> tuple[list[BlockEntry], list[Tombstone], int]:
    if not path.is_file():
        raise StoreError(
            f"got {path.parent}, wanted a data directory or a snapshot (no {path.name} there;"
            " `metricsmith store verify --rebuild` makes one of the blocks)"
        )
    try:
        with copied(path) as copy:
            manifest = Manifest(copy)
            try:
                return manifest.blocks(), manifest.tombstones(), manifest.cursor
            finally:
                manifest.close()
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {error} (`metricsmith store verify --rebuild` makes it anew)") from error


class _Deleted:
    """What a person has deleted, and is still in blocks."""

    def __init__(self, tombstones: list[Tombstone], table: SeriesTable) -> None:
        self._tombstones, self._index = tombstones, SeriesIndex(table)

    def of(self, number: int) -> list[Tombstone]:
        """Return what hides samples of a block whose series are known."""
        return [self._with_series(each) for each in self._tombstones if number <= each.number]

    def _with_series(self, tombstone: Tombstone) -> Tombstone:
        found = [self._index.match(matchers) for matchers in tombstone.selectors]
        return tombstone.of(distinct(np.concatenate([np.empty(0, np.uint32), *found])))


def _block(
    folder: Path,
    entry: BlockEntry,
    deleted: _Deleted,
    table: SeriesTable,
    tell: Callable[[Path, Damage], None],
) -> Iterator[Read]:
    tombstones: list[Tombstone] | None = None
    try:
        for piece, metadata, done in block_samples(
            folder, table, lambda what: tell(folder, Damage("", what))
        ):
            if tombstones is None:
                tombstones = deleted.of(entry.number)
            yield as_columns(visible_samples(piece, tombstones)), metadata, done
    except BlockCorrupt as error:
        tell(folder, Damage("", str(error)))


def _beyond(
    folder: Path, cursor: int, table: SeriesTable, tell: Callable[[Path, Damage], None]
) -> Iterator[Read]:
    """Yield what the journal has from a number on; a torn end is no damage."""
    segments = list_segments(folder) if folder.is_dir() and any(folder.iterdir()) else []
    if not segments:
        return
    damage: list[tuple[Path, int, str]] = []

    def tell_all(damage: list[tuple[Path, int, str]]) -> None:
        for path, at, reason in damage:
            tell(path, Damage(f"byte {at}", f"cannot be read: {reason}"))
        damage.clear()

    tail = Tail(lambda: segments, table, lambda *what: damage.append(what), cursor)
    try:
        for _, batch in tail.read(_END):
            tell_all(damage)
            if len(batch):
                yield columns_of([batch]), batch.layout.metadata, 0
    finally:
        tail.close()
    tell_all([each for each in damage if each[0] != segments[-1].path or each[2] not in _TORN])
    yield as_columns(None), {}, sum(segment.size_bytes for segment in segments)


def as_columns(piece: RaggedPiece | None) -> Columns:
    """Return the samples of a piece, none without one."""
    if piece is None:
        return Columns(np.empty(0, np.uint32), np.empty(0, np.int64), np.empty(0), None)
    series = np.repeat(piece.series, np.diff(piece.offsets))
    return Columns(series, piece.times, piece.values, piece.stale)
