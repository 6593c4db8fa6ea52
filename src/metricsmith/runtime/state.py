"""What parts remember over restarts: one small SQLite file in the data directory."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from metricsmith.errors import DiskFull, StoreError
from metricsmith.model.durable_files import make_private, make_private_file

_SCHEMA = """
CREATE TABLE IF NOT EXISTS state (
    part TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (part, key)
) STRICT, WITHOUT ROWID;
"""
_VERSION = 1
_LAST = "\U0010ffff"


class StateFile:
    """The file. Each part sees its own keys only, through `of`.

    SQLite's write-ahead log makes a commit one fsync; writers are few and
    commits small, so the log stays short.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        make_private(path.parent)
        with self._sqlite_errors():
            make_private_file(path)
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            # Only the agent opens it; and the index of the log, which is shared memory in a file otherwise,
            # would end the process on a full disk.
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version > _VERSION:
                raise StoreError(
                    f"got {path} in version {version}, wanted {_VERSION} or older"
                    " (a newer metricsmith wrote it)"
                )
            if version < _VERSION:  # else nothing is written: it opens on a full disk too
                self._db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")

    def of(self, part: str) -> PartState:
        """Return the state of one part."""
        return PartState(self, part)

    def items(self, part: str, prefix: str) -> list[tuple[str, bytes]]:
        """Return a part's keys and values, in key order."""
        query = "SELECT key, value FROM state WHERE part = ? AND key >= ? AND key < ? ORDER BY key"
        with self._lock, self._sqlite_errors():
            return self._db.execute(query, (part, prefix, prefix + _LAST)).fetchall()

    def commit(self, part: str, put: Mapping[str, bytes], delete: Iterable[str]) -> None:
        """Change a part's values in one transaction."""
        with self._lock, self._sqlite_errors():
            try:
                self._db.execute("BEGIN IMMEDIATE")
                self._db.executemany(
                    "DELETE FROM state WHERE part = ? AND key = ?", [(part, k) for k in delete]
                )
                self._db.executemany(
                    "INSERT OR REPLACE INTO state VALUES (?, ?, ?)", [(part, k, v) for k, v in put.items()]
                )
                self._db.execute("COMMIT")
            except sqlite3.Error:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def _sqlite_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise DiskFull(f"writing {self._path}: {error}; wanted free space") from error
            raise StoreError(f"{self._path}: {error}") from error


class PartState:
    """`contracts.State` of one part."""

    def __init__(self, file: StateFile, part: str) -> None:
        self._file, self._part = file, part

    def items(self, prefix: str = "") -> list[tuple[str, bytes]]:
        """Return what is kept under keys that begin with `prefix`, in key order."""
        return self._file.items(self._part, prefix)

    def commit(self, put: Mapping[str, bytes], delete: Iterable[str] = ()) -> None:
        """Keep and forget values, all or nothing, durable when this returns."""
        self._file.commit(self._part, put, delete)
