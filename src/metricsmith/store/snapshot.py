"""Snapshots: a data directory of hard links to blocks, which never change."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from metricsmith.errors import StoreError
from metricsmith.store import fsutil
from metricsmith.store.block_files import link_block
from metricsmith.store.block_reader import Block
from metricsmith.store.datadir import DataDir, write_format

_ELSEWHERE = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP})
"""Why there may be no link: another file system, or one without links."""
COPY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class SnapshotMade:
    """A data directory with all that was in blocks at one moment."""

    path: Path
    blocks: int
    samples: int
    bytes: int


def make_snapshot(dirs: DataDir, blocks: Sequence[Block], manifest: Path) -> SnapshotMade:
    """Link blocks into a new folder of `snapshots/`; it is there as a whole or not at all.

    The blocks are leased; `manifest` is the file that names them, which is moved there.

    Raises:
        DiskFull: there is none.
        StoreError: there is none.
    """
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(8)}"
    aside, target = dirs.tmp / f"snapshot-{name}", dirs.snapshots / name
    try:
        with ExitStack() as undo, fsutil.disk_full("making a snapshot"):
            undo.callback(shutil.rmtree, aside, ignore_errors=True)
            fsutil.make_private(aside)
            fsutil.make_private(aside / "blocks")
            for block in blocks:
                linked = aside / "blocks" / block.folder.name
                link_block(block.folder, linked)
                fsutil.sync_folder(linked)
            fsutil.sync_folder(aside / "blocks")
            fsutil.rename(manifest, aside / dirs.manifest.name)
            write_format(aside)
            fsutil.sync_folder(aside)
            fsutil.make_private(dirs.snapshots)
            fsutil.rename(aside, target)
            fsutil.sync_folder(dirs.snapshots)
    except OSError as error:
        raise StoreError(f"got {error.strerror or error} at {target}, wanted to make a snapshot") from error
    return SnapshotMade(
        target,
        len(blocks),
        sum(block.meta.samples for block in blocks),
        sum(block.meta.disk_bytes for block in blocks),
    )


def refuse_place(target: Path, data: Path | None) -> None:
    """Raise unless a snapshot may come to lie there.

    Of a data directory only `snapshots/` is for others: the store empties and moves what is in the rest.

    Raises:
        StoreError: there is something already, or it is inside the data directory, or a file system's root.
    """
    if target.is_symlink() or (target.exists() and not (target.is_dir() and not any(target.iterdir()))):
        raise StoreError(f"got {target}, which exists, wanted a new or an empty folder")
    if target.is_mount():
        raise StoreError(f"got {target}, where a file system is mounted, wanted a new folder in it")
    if data is None:
        return
    place, root = target.resolve(), data.resolve()
    if place.is_relative_to(root) and root / "snapshots" not in place.parents:
        raise StoreError(f"got {target} inside the data directory {data}, wanted a folder elsewhere")


def move_snapshot(source: Path, target: Path, advance: Callable[[int], None]) -> bool:
    """Give a snapshot another place; return whether it had to be copied, as to another file system.

    `target` is there as a whole or not at all. `advance` is told of bytes.

    Raises:
        StoreError: there is something already, or it cannot be written; the snapshot stays where it was.
    """
    try:
        refuse_place(target, None)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            source.rename(target)
            fsutil.sync_folder(target.parent)
            return False
        except OSError as error:
            if error.errno not in _ELSEWHERE:
                raise
        with fsutil.disk_full(f"copying a snapshot to {target}"):
            _copy(source, target, advance)
    except OSError as error:
        raise StoreError(
            f"got {error.strerror or error} at {target}, wanted to put a snapshot there"
        ) from error
    shutil.rmtree(source, ignore_errors=True)
    return True


def _copy(source: Path, target: Path, advance: Callable[[int], None]) -> None:
    aside = target.with_name(f"{target.name}.partial-{secrets.token_hex(4)}")
    try:
        for folder, _, files in os.walk(source):
            into = aside / Path(folder).relative_to(source)
            into.mkdir(mode=0o700)
            for name in files:
                _copy_file(Path(folder) / name, into / name, advance)
            fsutil.sync_folder(into)
        aside.rename(target)
        fsutil.sync_folder(target.parent)
    except BaseException:
        with suppress(OSError):
            shutil.rmtree(aside)
        raise


def _copy_file(source: Path, target: Path, advance: Callable[[int], None]) -> None:
    with source.open("rb") as file, target.open("wb") as copy:
        while data := file.read(COPY_BYTES):
            copy.write(data)
            advance(len(data))
        fsutil.sync_file(copy)
