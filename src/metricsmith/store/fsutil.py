"""What the store does to files and folders, in one place: tests make each step fail."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metricsmith.errors import DiskFull
from metricsmith.model.durable_files import NoRegularFile as NoRegularFile
from metricsmith.model.durable_files import make_private as make_private
from metricsmith.model.durable_files import make_private_file as make_private_file
from metricsmith.model.durable_files import open_regular as open_regular
from metricsmith.model.durable_files import replace_file as replace_file
from metricsmith.model.durable_files import sync_file as sync_file
from metricsmith.model.durable_files import sync_folder as sync_folder
from metricsmith.model.durable_files import write_synced as write_synced

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


def rename(source: Path, target: Path) -> None:
    """Rename within the file system; durable after `sync_folder` of both parents."""
    source.rename(target)


def remove_tree(path: Path) -> None:
    """Remove a file or folder with all that is in it; nothing there is no error."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def hold(folder: Path) -> int:
    """Return a descriptor of a folder: until it is closed, or the process ends, the folder `is_held`.

    Raises:
        OSError: it is not there, may not be opened, or its file system has no locks.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def is_held(folder: Path) -> bool:
    """Return whether a process holds a folder; one that may not be opened is not known to be."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


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
