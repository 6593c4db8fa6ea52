"""What is in a data directory at a start: blocks that serve, leftovers of a crash, what nobody knows."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping, Sequence
from contextlib import suppress
from pathlib import Path

from metricsmith.errors import BlockCorrupt, StoreError
from metricsmith.model.series import SeriesTable
from metricsmith.store import fsutil
from metricsmith.store.block_files import read_meta
from metricsmith.store.block_reader import Block, Catalogue, open_block
from metricsmith.store.datadir import DataDir
from metricsmith.store.disposal import Disposal
from metricsmith.store.manifest import Manifest

log = logging.getLogger(__name__)


def open_blocks(
    dirs: DataDir,
    manifest: Manifest,
    series: SeriesTable,
    known: MutableMapping[str, Catalogue],
    disposal: Disposal,
) -> list[Block]:
    """Return the blocks that the manifest names, oldest first; set aside what is damaged or unknown.

    Raises:
        FormatTooNew: a newer metricsmith wrote one.
        DiskFull, StoreError: one cannot be read now, which is no damage; or the manifest cannot be written.
    """
    blocks, damaged = [], []
    for entry in manifest.blocks():
        try:
            blocks.append(open_block(dirs.blocks / entry.name, entry, series, known, disposal.note_damage))
        except BlockCorrupt as error:
            damaged.append((entry, str(error)))
    if damaged:
        manifest.commit(remove=[entry.number for entry, _ in damaged])
    for entry, why in damaged:
        disposal.move_to_strays(dirs.blocks / entry.name)
        disposal.note_set_aside("damaged", why)
    _clear_leftovers(dirs, blocks, disposal)
    return blocks


def _clear_leftovers(dirs: DataDir, blocks: Sequence[Block], disposal: Disposal) -> None:
    """Remove what a crash left in `tmp` and what a merge replaced; set aside what nobody knows."""
    for path in dirs.tmp.iterdir():
        if not fsutil.is_held(path):  # by a session of SQL
            _remove(path, "left unfinished by the last run")
    known = {block.entry.name for block in blocks}
    replaced = {name for block in blocks for name in block.meta.sources}
    for path in dirs.blocks.iterdir():
        if path.name in known:
            continue
        if path.name in replaced:
            _remove(path, "which a merge has replaced")
        else:
            reason, why = _why_aside(path, dirs, blocks)
            disposal.move_to_strays(path)
            disposal.note_set_aside(reason, f"{path.name} {why}")


def _remove(path: Path, what: str) -> None:
    try:
        fsutil.remove_tree(path)
    except OSError as error:  # of another user, as root's session of SQL that was killed
        log.warning("could not remove %s, %s: %s", path, what, error)
    else:
        log.info("removed %s, %s", path, what)


def _why_aside(path: Path, dirs: DataDir, blocks: Sequence[Block]) -> tuple[str, str]:
    """Return the reason to count, and in words, why a folder that the manifest does not name is set aside."""
    with suppress(StoreError):
        meta, _ = read_meta(path)
        if any(meta.clashes_with(block.meta) for block in blocks):
            what = "has the number of another block, and its samples are not shown"
            return "same_number", f"{what} (metricsmith store import {dirs.strays / path.name})"
    return "unknown", (
        "is not in the manifest: a crash left it, and its samples are in the journal"
        " (if you put it there: metricsmith store verify --rebuild)"
    )
