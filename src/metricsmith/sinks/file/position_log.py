"""The file that says how far a folder is written; one process has it open at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from metricsmith.errors import RetryLater
from metricsmith.model.durable_files import sync_folder
from metricsmith.wire.sample_files.position import (
    MAX_BYTES,
    POSITION_FILE,
    Position,
    pack_position,
    read_position,
)


class PositionLog:
    """Notes positions durably: the last line that is whole counts."""

    def __init__(self, folder: Path) -> None:
        """Open and lock it, and cut a line that was not written whole.

        Raises:
            RetryLater: somebody else writes to this folder.
            OSError: it cannot be opened.
        """
        self._path = folder / POSITION_FILE
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _lock(self._file, folder)
            if not os.path.samestat(os.fstat(self._file), self._path.stat()):
                raise _taken(folder)  # who has it replaced the file just now
            self.position = read_position(folder)
            self._length = 0
            if self.position is not None:
                self.note(self.position)
            sync_folder(folder)
        except BaseException:
            os.close(self._file)
            raise

    def note(self, position: Position) -> None:
        """Make a position durable.

        Raises:
            OSError: the one before it holds.
        """
        line = pack_position(position)
        taken_away = os.fstat(self._file).st_nlink == 0  # what is written there nobody would find
        if self._length == 0 or self._length + len(line) > MAX_BYTES or taken_away:
            self._begin_anew(line)
        else:
            try:
                _write(self._file, line, self._length)
                os.fsync(self._file)
            except OSError:
                os.ftruncate(self._file, self._length)
                raise
            self._length += len(line)
        self.position = position

    def close(self) -> None:
        """Let somebody else write."""
        os.close(self._file)

    def _begin_anew(self, line: bytes) -> None:
        aside = self._path.with_name(f"{POSITION_FILE}.new")
        file = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            _lock(file, self._path.parent)
            _write(file, line, 0)
            os.fsync(file)
            aside.replace(self._path)
            sync_folder(self._path.parent)
        except BaseException:
            os.close(file)
            raise
        os.close(self._file)
        self._file, self._length = file, len(line)


def _lock(file: int, folder: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _taken(folder) from None


def _taken(folder: Path) -> RetryLater:
    return RetryLater(
        f"{folder}: another sink or process writes there; give each a folder of its own", reason="locked"
    )


def _write(file: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, at)
        view, at = view[written:], at + written
