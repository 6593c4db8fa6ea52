"""A manifest made anew from the blocks alone: when it is missing at a start, and when a person asks."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from metricsmith.errors import BlockCorrupt, StoreError
from metricsmith.store import fsutil
from metricsmith.store.block_meta import BlockMeta
from metricsmith.store.block_reader import read_meta
from metricsmith.store.datadir import DataDir
from metricsmith.store.manifest import BlockEntry, Manifest, create_manifest
from metricsmith.store.tombstones import Tombstone

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a new manifest names, and what was left out because another block has replaced it."""

    blocks: int
    samples: int
    replaced: int


def begin_manifest(dirs: DataDir, tombstones: Sequence[Tombstone] = ()) -> Rebuilt:
    """Name all blocks found; those that another says it has replaced are left over from a merge.

    The cursor is at the journal's beginning: replaying what is in blocks changes nothing.

    Raises:
        FormatTooNew: a newer metricsmith wrote a block.
    """
    found: dict[str, BlockMeta] = {}
    checksums: dict[str, int] = {}
    for folder in sorted(dirs.blocks.iterdir()):
        try:
            meta, crc32 = read_meta(folder)
        except BlockCorrupt as error:
            log.warning("not taken into the new manifest: %s", error)
        else:
            found[folder.name] = meta
            checksums[folder.name] = crc32
    replaced = {name for meta in found.values() for name in meta.sources}
    entries: dict[int, BlockEntry] = {}
    for name, meta in found.items():
        if name not in replaced:
            entries.setdefault(meta.number, BlockEntry(meta.number, name, checksums[name]))
    create_manifest(dirs.manifest, list(entries.values()), tombstones)
    metas = [found[entry.name] for entry in entries.values()]
    return Rebuilt(
        blocks=len(metas),
        samples=sum(meta.samples for meta in metas),
        replaced=len(replaced & found.keys()),
    )


def rebuild_manifest(dirs: DataDir) -> Rebuilt:
    """Replace the manifest by one made of the blocks; the old one is kept in `strays/`.

    Deletes that have not reached the blocks yet are taken over from it, if it
    can be read. Whoever calls it has opened the directory, so no agent uses it.
    """
    tombstones = _known_deletes(dirs)
    if dirs.manifest.exists():
        for path in (dirs.manifest, dirs.manifest.with_name(f"{dirs.manifest.name}-journal")):
            if path.exists():
                fsutil.rename(path, dirs.strays / path.name)
        fsutil.sync_folder(dirs.strays)
        fsutil.sync_folder(dirs.folder)
    return begin_manifest(dirs, tombstones)


def _known_deletes(dirs: DataDir) -> list[Tombstone]:
    try:
        manifest = Manifest(dirs.manifest)  # finishes what a crash left unfinished
        try:
            return manifest.tombstones()
        finally:
            manifest.close()
    except (StoreError, sqlite3.Error, ValueError) as error:
        if dirs.manifest.exists():
            log.warning("series that were deleted may come back, the old manifest cannot be read: %s", error)
        return []
