"""The data directory as a whole: who may use it, and in which version its contents are written."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

from metricsmith.errors import DataDirLocked, FormatTooNew, StoreError
from metricsmith.store import fsutil

Migration = Callable[[Path], None]

MIGRATIONS: tuple[Migration, ...] = ()
"""`MIGRATIONS[n - 1]` turns a data directory of version n into one of version n + 1.

A migration may be interrupted and started again, so each must leave what it has already done alone.
"""


def version_of(folder: Path) -> int | None:
    """Return the format version of a data directory, None when it has none yet.

    Raises:
        StoreError: its FORMAT file is not one of ours.
        OSError: it cannot be read.
    """
    try:
        return _read_version(folder / "FORMAT")
    except FileNotFoundError:
        return None


def current_version() -> int:
    """Return the version that this metricsmith writes."""
    return len(MIGRATIONS) + 1


_TRIES, _PAUSE_S = 10, 0.02
"""How often, and after which pause, the lock is asked for: who looks at it shares it for an instant."""


class DataDir:
    """The folders of a data directory, held by one process at a time.

    `blocks` holds what the manifest names, `tmp` what is being written, and
    links that sessions of SQL hold, `strays` what was set aside for a person,
    `snapshots` copies that a person asked for.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blocks = folder / "blocks"
        self.tmp = folder / "tmp"
        self.strays = folder / "strays"
        self.snapshots = folder / "snapshots"
        self.manifest = folder / "manifest.sqlite"
        self._lock: int | None = None

    def open(self) -> None:
        """Take the lock, bring the contents to the current version and create what is missing.

        Raises:
            DataDirLocked: another process uses the directory.
            FormatTooNew: a newer metricsmith wrote it.
            StoreError: its FORMAT file is not one of ours, or it cannot be written.
        """
        try:
            fsutil.make_private(self.folder)
            self._take_lock()
            self._migrate()
            for folder in (self.blocks, self.tmp, self.strays):
                fsutil.make_private(folder)
            fsutil.sync_folder(self.folder)
        except OSError as error:
            self.close()
            raise StoreError(
                f"got {self.folder}: {error.strerror or error}, wanted a folder to write to"
                " (check storage.path)"
            ) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take_lock(self) -> None:
        descriptor = os.open(self.folder / "LOCK", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if not take_lock(descriptor):
            holder = lock_holder(descriptor)
            os.close(descriptor)
            raise DataDirLocked(
                f"got {self.folder} in use by process {holder}, wanted it for this process alone"
                " (stop that process, or give this one another storage.path)"
            )
        self._lock = descriptor
        note_holder(descriptor)

    def _migrate(self) -> None:
        file = self.folder / "FORMAT"
        wanted = current_version()
        try:
            version = _read_version(file)
        except FileNotFoundError:
            version = wanted
            fsutil.replace_file(file, _version_text(version))
        if version > wanted:
            raise FormatTooNew(
                f"got {self.folder} in format version {version}, wanted {wanted} or older"
                " (a newer metricsmith wrote it: use that version, or another storage.path)"
            )
        while version < wanted:
            MIGRATIONS[version - 1](self.folder)
            version += 1
            fsutil.replace_file(file, _version_text(version))


def holder(folder: Path) -> str | None:
    """Return the id of the process that uses a data directory, None when none does; nothing is changed."""
    try:
        descriptor = os.open(folder / "LOCK", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return lock_holder(descriptor)
    finally:
        os.close(descriptor)
    return None


def write_format(folder: Path) -> None:
    """Mark a folder as a data directory of the current version."""
    fsutil.write_synced(folder / "FORMAT", _version_text(current_version()))


def note_holder(descriptor: int) -> None:
    """Write into an open LOCK who has it, for the error message of the next process."""
    # Over what the last process wrote: a full disk has no room for what was emptied before.
    os.pwrite(descriptor, f"{os.getpid():<15}\n".encode(), 0)


def take_lock(descriptor: int) -> bool:
    """Return whether an open LOCK is this process's now; it is not when another one uses the directory."""
    for _ in range(_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE_S)
        else:
            return True
    return False


def lock_holder(descriptor: int) -> str:
    """Return the id of the process that has written itself into an open LOCK, "unknown" where none has."""
    return os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"


def _version_text(version: int) -> bytes:
    return f"metricsmith data {version}\n".encode()


def _read_version(file: Path) -> int:
    with fsutil.open_regular(file) as opened:
        text = opened.read(64)
    words = text.split()
    if (
        len(words) != 3
        or words[:2] != [b"metricsmith", b"data"]
        or not words[2].isdigit()
        or words[2] == b"0"
    ):
        raise StoreError(f'got {text!r} in {file}, wanted a line such as "metricsmith data 1"')
    return int(words[2])
