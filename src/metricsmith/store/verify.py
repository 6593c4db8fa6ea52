"""Looks through a data directory without changing it: format, manifest, folders and every block."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from metricsmith.errors import StoreError
from metricsmith.model.faults import Advance, Fault
from metricsmith.store import fsutil
from metricsmith.store.block_files import read_meta
from metricsmith.store.block_meta import META_FILE, BlockMeta
from metricsmith.store.datadir import (
    DataDir,
    current_version,
    lock_holder,
    note_holder,
    take_lock,
    version_of,
)
from metricsmith.store.manifest import BlockEntry, ManifestState, look_into
from metricsmith.store.rebuild import IMPORT
from metricsmith.store.verify_block import BLOCK_LOST, NEWER, verify_block

REBUILD = "stop the agent, then `metricsmith store verify --rebuild`"
MAX_DATABASE_BYTES = 1 << 30
"""Larger ones are not ours: they are copied to be looked into."""
NEXT_START = "nothing: the next start removes it"
SET_ASIDE = (
    "nothing: the next start moves it to strays/, as its samples are in the journal or in other blocks"
)


@dataclass(slots=True)
class Contents:
    """What a data directory says that it has; `cursor` is None where no manifest tells it."""

    entries: list[BlockEntry] = field(default_factory=list)
    cursor: int | None = None
    metas: dict[str, BlockMeta] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """The size of all blocks whose `meta.json` can be read."""
        return sum(meta.disk_bytes for meta in self.metas.values())


@contextmanager
def kept_from_others(folder: Path) -> Iterator[str]:
    """Keep an agent from starting on a data directory meanwhile; yield who uses it already, empty for nobody.

    Raises:
        StoreError: the folder is no data directory.
    """
    if not folder.is_dir() or not any((folder / name).exists() for name in ("FORMAT", "blocks", "LOCK")):
        raise StoreError(f"got {folder}, wanted a data directory (storage.path of an agent, or a copy of it)")
    try:
        descriptor = _open_lock(folder / "LOCK")
    except FileNotFoundError:  # a copy, or blocks alone: nobody uses it
        yield ""
        return
    except OSError as error:
        what = f"got {error.strerror or error} at {folder / 'LOCK'}, wanted to see who uses the directory"
        raise StoreError(f"{what} (of a copy, remove LOCK)") from error
    try:
        try:
            free = take_lock(descriptor)
        except OSError as error:  # such as a network file system without locks
            what = f"got {error.strerror or error} at {folder / 'LOCK'}, wanted a file system with flock"
            raise StoreError(f"{what} (copy the directory to a local disk)") from error
        if free:
            with suppress(OSError):  # a disk that is read-only or full
                note_holder(descriptor)
        yield "" if free else lock_holder(descriptor)
    finally:
        os.close(descriptor)


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError:  # a disk, or rights, to read only
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def read_contents(dirs: DataDir, in_use: bool) -> tuple[Contents, list[Fault]]:
    """Return what the manifest and the folders say, and what is wrong with the manifest itself."""
    found, faults = Contents(), list(_format(dirs.folder))
    if dirs.manifest.exists():
        try:
            manifest = _read_manifest(dirs.manifest, in_use)
            found.entries, found.cursor = manifest.blocks, manifest.cursor
        except (sqlite3.Error, StoreError, ValueError) as error:
            faults.append(Fault(dirs.manifest.name, "", str(error), REBUILD))
    else:
        what = "is missing: the next start makes one of the blocks"
        faults.append(Fault(dirs.manifest.name, "", what, "nothing", harmless=True))
    for folder in _blocks_in(dirs):
        with suppress(StoreError):  # told when the block is verified
            found.metas[folder.name] = read_meta(folder)[0]
    return found, faults


def verify_blocks(dirs: DataDir, found: Contents, in_use: bool, advance: Advance) -> Iterator[Fault]:
    """Yield what is wrong with blocks, and with what lies beside them.

    An agent that runs may merge or delete blocks meanwhile: these are passed over.
    """
    known = found.cursor is not None
    for entry in found.entries:
        faults = list(verify_block(dirs.blocks / entry.name, entry, advance))
        if faults and in_use and entry not in _read_manifest(dirs.manifest, in_use).blocks:
            continue
        if faults and not (dirs.blocks / entry.name).exists():
            faults = [Fault(f"blocks/{entry.name}", "", "the folder is missing", BLOCK_LOST)]
        yield from faults
    if in_use:
        return
    names = {entry.name for entry in found.entries}
    replaced = {name for meta in found.metas.values() for name in meta.sources}
    for folder in _blocks_in(dirs):
        if folder.name in names:
            continue
        if folder.name in replaced:
            yield Fault(
                f"blocks/{folder.name}", "", "has been merged into another", NEXT_START, harmless=True
            )
        elif not (folder / META_FILE).exists():
            yield Fault(f"blocks/{folder.name}", "", "is only a part of a block", SET_ASIDE, harmless=True)
        elif known and _number_is_taken(folder.name, found):
            yield Fault(f"blocks/{folder.name}", "", "has the number of another block", IMPORT)
        elif known and folder.name in found.metas:
            yield Fault(f"blocks/{folder.name}", "", "is not in the manifest", SET_ASIDE, harmless=True)
        else:
            yield from verify_block(folder, None, advance)
    if dirs.tmp.is_dir():
        for path in sorted(path for path in dirs.tmp.iterdir() if not fsutil.is_held(path)):
            yield Fault(f"tmp/{path.name}", "", "was not finished", NEXT_START, harmless=True)


def _number_is_taken(name: str, found: Contents) -> bool:
    served = [found.metas[entry.name] for entry in found.entries if entry.name in found.metas]
    return name in found.metas and any(found.metas[name].clashes_with(meta) for meta in served)


@contextmanager
def copied(path: Path) -> Iterator[Path]:
    """Yield a copy of an SQLite file that nobody uses, checked by SQLite; the file stays as it is.

    With it is copied what a crash left to be rolled back or forward.

    Raises:
        sqlite3.Error: it is damaged, or no database.
        StoreError: it is damaged.
    """
    with tempfile.TemporaryDirectory(prefix="metricsmith-verify-") as folder:
        for suffix in ("", "-journal", "-wal"):
            beside = path.with_name(path.name + suffix)
            if beside.exists():
                _copy(beside, Path(folder) / beside.name)
        copy = Path(folder) / path.name
        with closing(sqlite3.connect(copy)) as database:
            _check(database)
        yield copy


def _copy(path: Path, target: Path) -> None:
    try:
        with fsutil.open_regular(path) as file, target.open("wb") as copy:
            if (size := os.fstat(file.fileno()).st_size) > MAX_DATABASE_BYTES:
                raise StoreError(f"got {size} bytes, wanted {MAX_DATABASE_BYTES} at most")
            shutil.copyfileobj(file, copy)
    except OSError as error:
        raise StoreError(f"cannot be read or copied to {target.parent}: {error.strerror or error}") from error


def _check(database: sqlite3.Connection) -> None:
    wrong = [row[0] for row in database.execute("PRAGMA integrity_check(5)") if row[0] != "ok"]
    if wrong:
        raise StoreError("; ".join(" ".join(text.split()) for text in wrong))


def _read_manifest(path: Path, in_use: bool) -> ManifestState:
    """Return all that a manifest says; of deletes too, so that selectors that cannot be read are found."""
    if not in_use:
        with copied(path) as copy:
            return look_into(copy)
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        _check(database)
    return look_into(path)


def _format(folder: Path) -> Iterator[Fault]:
    try:
        version, newest = version_of(folder), current_version()
    except (StoreError, OSError) as error:
        yield Fault(
            "FORMAT", "", str(error), f'write the line "metricsmith data {current_version()}" into it'
        )
        return
    if version is None:
        yield Fault("FORMAT", "", "is missing", "nothing: the next start writes it", harmless=True)
    elif version > newest:
        yield Fault("FORMAT", "", f"got version {version}, wanted {newest} or older", NEWER)


def _blocks_in(dirs: DataDir) -> Sequence[Path]:
    return sorted(path for path in dirs.blocks.iterdir() if path.is_dir()) if dirs.blocks.is_dir() else ()
