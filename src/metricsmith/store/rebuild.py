"""A manifest made anew from the blocks alone: when it is missing at a start, and when a person asks."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from metricsmith.errors import BlockCorrupt, StoreError
from metricsmith.store import fsutil
from metricsmith.store.block_files import read_meta
from metricsmith.store.block_meta import BlockMeta
from metricsmith.store.datadir import DataDir
from metricsmith.store.manifest import BlockEntry, Manifest, create_manifest
from metricsmith.store.tombstones import Tombstone

log = logging.getLogger(__name__)

IMPORT = "move its folder elsewhere, then `metricsmith store import FOLDER`"
"""What becomes of a block whose number another has."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a new manifest names, and what was left out: another block has replaced it, or has its number."""

    blocks: int
    samples: int
    replaced: int
    same_number: int
    cursor: int
    """From where the journal is replayed; 0 for all of it."""


@dataclass(frozen=True, slots=True)
class Known:
    """What an old manifest says that blocks cannot tell."""

    blocks: Collection[str] = ()
    tombstones: Sequence[Tombstone] = ()
    cursor: int = 0


NOTHING = Known()


def begin_manifest(dirs: DataDir, known: Known = NOTHING) -> Rebuilt:
    """Name all blocks found; those that another says it has replaced are left over from a merge.

    What the old manifest names stays: of two with one number, which all directories count from 1,
    the other one is left out.

    The journal is replayed from where the old manifest says, so that what has been deleted
    stays so; all of it when that is not known or a block is gone, which may be in the journal still.

    Raises:
        FormatTooNew: a newer metricsmith wrote a block.
        DiskFull, StoreError: a block cannot be read now, or the manifest cannot be written.
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
    replaced = {name for meta in found.values() for name in meta.sources} - set(known.blocks)
    names: dict[int, str] = {}
    same_number = 0
    for name in sorted(found.keys() - replaced, key=lambda name: (name not in known.blocks, name)):
        meta = found[name]
        first = names.setdefault(meta.number, name)
        if meta.clashes_with(found[first]):
            same_number += 1
            log.warning("not taken into the new manifest: %s has the number of %s (%s)", name, first, IMPORT)
    entries = [BlockEntry(number, name, checksums[name]) for number, name in names.items()]
    cursor = known.cursor if found.keys() >= set(known.blocks) else 0
    create_manifest(dirs.manifest, entries, known.tombstones, cursor)
    metas = [found[entry.name] for entry in entries]
    return Rebuilt(
        blocks=len(metas),
        samples=sum(meta.samples for meta in metas),
        replaced=len(replaced & found.keys()),
        same_number=same_number,
        cursor=cursor,
    )


def rebuild_manifest(dirs: DataDir) -> Rebuilt:
    """Replace the manifest by one made of the blocks; the old one is kept in `strays/`.

    Cursor, and deletes that have not reached the blocks yet, are taken over from it,
    if it can be read. Whoever calls it has opened the directory, so no agent uses it.
    """
    known = _known(dirs)
    if dirs.manifest.exists():
        for path in (dirs.manifest, dirs.manifest.with_name(f"{dirs.manifest.name}-journal")):
            if path.exists():
                try:
                    _keep(path, dirs.strays / path.name)
                except OSError as error:
                    what = f"got {error.strerror or error} at {path}, wanted to keep it in {dirs.strays}"
                    raise StoreError(f"{what} (move it away, then try again)") from error
        fsutil.sync_folder(dirs.strays)
    return begin_manifest(dirs, known)


def _keep(path: Path, target: Path) -> None:
    """Give a file a second name: should this end halfway, the old manifest is in its place."""
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(path)
    except OSError:  # a file system without links
        shutil.copyfile(path, target)


def _known(dirs: DataDir) -> Known:
    try:
        manifest = Manifest(dirs.manifest)  # finishes what a crash left unfinished
        try:
            blocks = {entry.name for entry in manifest.blocks()}
            return Known(blocks, manifest.tombstones(), manifest.cursor)
        finally:
            manifest.close()
    except (StoreError, sqlite3.Error, ValueError, TypeError) as error:
        if dirs.manifest.exists():
            log.warning("series that were deleted may come back, the old manifest cannot be read: %s", error)
        return NOTHING
