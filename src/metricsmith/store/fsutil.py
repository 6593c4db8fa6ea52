"""Files that survive a crash: what is written is synced, then renamed, then its folder is synced."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from metricsmith.errors import DiskFull

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


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


def rename(source: Path, target: Path) -> None:
    """Rename within the file system; durable after `sync_folder` of both parents."""
    source.rename(target)


def remove_tree(path: Path) -> None:
    """Remove a file or folder with all that is in it; nothing there is no error."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def disk_full(doing: str) -> Iterator[None]:
    """Turn "no space left" and "quota exceeded" into DiskFull: senders are asked to try again later."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise DiskFull(
                f"{doing}: {error.strerror or error}; wanted free space; samples stay in the journal"
            ) from error
        raise
