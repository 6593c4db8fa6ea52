"""Cursors that no reader has open: they hold the journal, for a day once it is clear that nobody comes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from metricsmith.errors import JournalError
from metricsmith.journal.cursor_file import CURSOR_SUFFIX, StoredCursor, read_cursor, write_cursor

HELD_MS = 86_400_000
"""So long the journal is held for a reader that is gone: coming back, it goes on where it was."""


@dataclass(frozen=True, slots=True)
class GoneReader:
    """A reader that nobody opens any more, and until when the journal is held for it."""

    name: str
    cursor: int
    until_ms: int


class ClosedCursors:
    """The cursor files of a folder whose readers are not open. Used on the event loop alone.

    When one was first found to be gone stands in its file: restarts do not begin the day anew.
    """

    def __init__(self, folder: Path, first_sequence: int) -> None:
        """Find the files; one that cannot be read holds everything, as it does when its reader opens."""
        self._folder = folder
        self._cursors: dict[str, StoredCursor] = {}
        for path in sorted(folder.glob(f"*{CURSOR_SUFFIX}")):
            try:
                found = read_cursor(path)
            except ValueError:
                found = StoredCursor(first_sequence)
            if found is not None:
                self._cursors[path.name.removesuffix(CURSOR_SUFFIX)] = found

    def path(self, name: str) -> Path:
        """Return the cursor file of a reader."""
        return self._folder / f"{name}{CURSOR_SUFFIX}"

    def opened(self, name: str) -> None:
        """Note that a reader is open and says itself where it is."""
        self._cursors.pop(name, None)

    def closed(self, name: str, cursor: int) -> None:
        """Note that a reader is not open any more."""
        self._cursors[name] = StoredCursor(cursor)

    def lowest(self) -> int | None:
        """Return the first sequence number that one of them needs; None without any."""
        return min((each.sequence for each in self._cursors.values()), default=None)

    def before(self, sequence: int) -> list[tuple[str, int]]:
        """Return name and cursor of those that need something before a number."""
        return [(name, each.sequence) for name, each in self._cursors.items() if each.sequence < sequence]

    def advance(self, name: str, sequence: int) -> None:
        """Move one forward."""
        self._cursors[name] = replace(self._cursors[name], sequence=sequence)
        self._write(name)

    def gone(self, now_ms: int) -> list[GoneReader]:
        """Return those that are closed, noting durably of each when this was first asked."""
        found = []
        for name, cursor in self._cursors.items():
            if cursor.left_ms is None or cursor.left_ms > now_ms:  # a clock that was set back
                self._cursors[name] = cursor = replace(cursor, left_ms=now_ms)
                self._write(name)
            assert cursor.left_ms is not None
            found.append(GoneReader(name, cursor.sequence, cursor.left_ms + HELD_MS))
        return found

    def drop(self, name: str) -> None:
        """Forget one, and its file."""
        del self._cursors[name]
        self.path(name).unlink(missing_ok=True)

    def _write(self, name: str) -> None:
        cursor = self._cursors[name]
        with suppress(JournalError):  # the disk is full: the day may begin anew after a restart
            write_cursor(self.path(name), cursor.sequence, cursor.left_ms)
