"""The manifest: which blocks exist and from where the journal must be replayed, changed together."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from metricsmith.errors import DiskFull, StoreError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS blocks (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    meta_crc32 INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS store (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    cursor INTEGER NOT NULL,
    next_number INTEGER NOT NULL
) STRICT;
INSERT OR IGNORE INTO store VALUES (1, 0, 1);
"""


@dataclass(frozen=True, slots=True)
class BlockEntry:
    """A block that exists. A higher number was written later and wins where two hold the same sample."""

    number: int
    name: str
    meta_crc32: int


class Manifest:
    """The SQLite file beside the blocks. Every change is one transaction, durable when `commit` returns.

    Write-ahead mode with full sync: one fsync for each commit, where the
    rollback journal needs several and may undo the last commit at a power loss.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
            row = self._db.execute("SELECT cursor, next_number FROM store").fetchone()
        except sqlite3.Error as error:
            raise _translated(error, path) from error
        self._cursor: int = row[0]
        self._next_number: int = row[1]

    @property
    def cursor(self) -> int:
        """The journal sequence from which a restart must replay."""
        return self._cursor

    def blocks(self) -> list[BlockEntry]:
        """Return the blocks that exist, oldest first."""
        rows = self._db.execute("SELECT number, name, meta_crc32 FROM blocks ORDER BY number")
        return [BlockEntry(*row) for row in rows]

    def take_number(self) -> int:
        """Return a number for a new block, higher than that of every block so far."""
        with self._lock:
            number = self._next_number
            self._next_number += 1
            return number

    def commit(
        self, add: Sequence[BlockEntry] = (), remove: Sequence[int] = (), cursor: int | None = None
    ) -> None:
        """Add and remove blocks and move the cursor, all or nothing.

        Raises:
            DiskFull: no space for the transaction; nothing has changed.
            StoreError: SQLite refuses; nothing has changed.
        """
        with self._lock:
            cursor = self._cursor if cursor is None else cursor
            try:
                self._db.execute("BEGIN IMMEDIATE")
                self._db.executemany("DELETE FROM blocks WHERE number = ?", [(n,) for n in remove])
                self._db.executemany(
                    "INSERT INTO blocks VALUES (?, ?, ?)", [(e.number, e.name, e.meta_crc32) for e in add]
                )
                self._db.execute("UPDATE store SET cursor = ?, next_number = ?", (cursor, self._next_number))
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise _translated(error, self._path) from error
            self._cursor = cursor

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _translated(error: sqlite3.Error, path: Path) -> Exception:
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        return DiskFull(f"writing {path}: {error}; wanted free space; samples stay in the journal")
    return StoreError(f"{path}: {error} (see docs/formats/data-directory.md for how to rebuild it)")
