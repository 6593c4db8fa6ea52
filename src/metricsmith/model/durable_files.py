"""Files that survive a crash: what is written is synced, then renamed, then its folder is synced."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO


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
