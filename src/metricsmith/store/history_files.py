"""The blocks of a data directory as files for other engines to read, while an agent may use it.

What is deleted or merged meanwhile must not pull a file from under a reader, so the files are linked
into a folder of their own.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from metricsmith.errors import BlockCorrupt, StoreError
from metricsmith.store import fsutil
from metricsmith.store.block_files import link_block, read_meta
from metricsmith.store.block_meta import SAMPLES_FILE, SERIES_FILE, BlockMeta
from metricsmith.store.datadir import DataDir
from metricsmith.store.manifest import look_into
from metricsmith.store.tombstones import Tombstone

TRIES = 5
"""A merge may delete blocks between a look into the manifest and the links."""


@dataclass(frozen=True, slots=True)
class HistoryFiles:
    """A block as a folder that stays, and what it says of itself."""

    folder: Path
    meta: BlockMeta

    @property
    def samples(self) -> Path:
        """Its samples."""
        return self.folder / SAMPLES_FILE

    @property
    def series(self) -> Path:
        """Its series."""
        return self.folder / SERIES_FILE


@dataclass(frozen=True, slots=True)
class History:
    """The blocks that a manifest names, oldest number first, and what is deleted of them."""

    blocks: Sequence[HistoryFiles]
    tombstones: Sequence[Tombstone]


def read_history(folder: Path) -> History:
    """Return what the manifest of a data directory names, as it is now.

    Raises:
        StoreError: it is no data directory, or cannot be read.
    """
    dirs = DataDir(folder)
    if not dirs.manifest.is_file():
        raise StoreError(
            f"got {folder}, wanted a data directory or a snapshot (no {dirs.manifest.name} there)"
        )
    for last in range(TRIES):
        manifest = look_into(dirs.manifest)
        try:
            metas = [read_meta(dirs.blocks / entry.name)[0] for entry in manifest.blocks]
        except BlockCorrupt:
            if last == TRIES - 1:
                raise
            continue
        named = zip(manifest.blocks, metas, strict=True)
        blocks = [HistoryFiles(dirs.blocks / entry.name, meta) for entry, meta in named]
        return History(blocks, manifest.tombstones)
    raise AssertionError


@contextmanager
def held_history(folder: Path) -> Iterator[History]:
    """Hold the files of all blocks for the time of the block; where they cannot be linked, as they lie.

    Raises:
        StoreError: it is no data directory, or cannot be read.
    """
    aside = DataDir(folder).tmp / f"sql-{os.getpid()}-{secrets.token_hex(4)}"
    with ExitStack() as held:
        held.callback(shutil.rmtree, aside, ignore_errors=True)
        yield _linked(folder, aside, held)


def _linked(folder: Path, aside: Path, held: ExitStack) -> History:
    for _ in range(TRIES):
        history = read_history(folder)
        try:
            aside.mkdir(mode=0o700, exist_ok=True)
            held.callback(os.close, fsutil.hold(aside))  # a start leaves it alone
            return History([_link(block, aside) for block in history.blocks], history.tombstones)
        except FileNotFoundError:  # a block is gone, or the folder `tmp` is
            shutil.rmtree(aside, ignore_errors=True)
        except OSError:  # a disk that is read-only, a folder of somebody else
            break
    return read_history(folder)


def _link(block: HistoryFiles, aside: Path) -> HistoryFiles:
    target = aside / block.meta.name
    link_block(block.folder, target)
    return HistoryFiles(target, block.meta)
