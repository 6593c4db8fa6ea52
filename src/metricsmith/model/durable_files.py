"""Files that survive a crash: what is written is synced, then renamed, then its folder is synced."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import IO, BinaryIO


def make_private(folder: Path) -> None:
    """Create a folder that only its owner may enter, whatever the umask; one that is there stays as it is."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def make_private_file(path: Path) -> None:
    """Create an empty file that only its owner may read; one that is there stays as it is.

    What keeps it from being made is told by whoever opens it next. SQLite gives
    the files beside a database the permissions of the database.
    """
    with suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


class NoRegularFile(OSError):
    """A folder, pipe or device has the name of a file."""


def open_regular(path: Path) -> BinaryIO:
    """Return a file opened to be read; of a pipe nobody waits for the other end.

    Raises:
        NoRegularFile: it is something else.
        OSError: it is missing, or cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NoRegularFile(errno.EINVAL, "is no regular file", str(path))
    return os.fdopen(descriptor, "rb")


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(file: IO[bytes]) -> None:
    """Make what has been written to a file durable."""
    file.flush()
    os.fsync(file.fileno())


def write_synced(path: Path, data: bytes) -> None:
    """Create a file whose bytes are durable; its name is durable after `sync_folder`."""
    with path.open("wb") as file:
        file.write(data)
        sync_file(file)


def replace_file(path: Path, data: bytes) -> None:
    """Replace a file as a whole: after a crash it holds the old bytes or the new ones."""
    aside = path.with_name(path.name + ".new")
    write_synced(aside, data)
    aside.replace(path)
    sync_folder(path.parent)
