"""A cursor file: where a reader of the journal goes on, and since when it is nobody's."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from metricsmith.journal.segment import sync_folder
from metricsmith.journal.writer import journal_error
from metricsmith.model.durable_files import NoRegularFile, open_regular

CURSOR_SUFFIX = ".cursor"
_LEFT = "left "
_MAX_BYTES = 4096


@dataclass(frozen=True, slots=True)
class StoredCursor:
    """A sequence number, and the wall time at which the reader was found to be gone; None while it is not."""

    sequence: int
    left_ms: int | None = None


def write_cursor(path: Path, sequence: int, left_ms: int | None = None) -> None:
    """Replace a cursor file durably: after a power cut it holds the old content or the new.

    Raises:
        DiskFull, JournalError: it could not be written; the old content stays.
    """
    beside = path.with_name(f"{path.name}.tmp")
    try:
        with beside.open("w") as out:
            out.write(f"{sequence}\n" + ("" if left_ms is None else f"{_LEFT}{left_ms}\n"))
            out.flush()
            os.fsync(out.fileno())
        beside.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise journal_error(error, path) from error


def read_cursor(path: Path) -> StoredCursor | None:
    """Return what a cursor file holds, None when there is no such file.

    Raises:
        ValueError: the file holds something else.
    """
    try:
        with open_regular(path) as file:
            text = file.read(_MAX_BYTES).decode("ascii")
    except FileNotFoundError:
        return None
    except NoRegularFile as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    sequence, _, left = text.strip().partition("\n")
    left = left.removeprefix(_LEFT)
    if not sequence.isdecimal() or (left and not left.isdecimal()):
        raise ValueError(f"{path}: got {text[:40]!r}, wanted a sequence number")
    return StoredCursor(int(sequence), int(left) if left else None)
