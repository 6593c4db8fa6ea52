"""The manifest: which blocks exist and from where the journal must be replayed, changed together."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

from metricsmith.errors import DiskFull, StoreError
from metricsmith.store import fsutil
from metricsmith.store.tombstones import Tombstone, decode_selectors, encode_selectors

_SCHEMA = """
CREATE TABLE blocks (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    meta_crc32 INTEGER NOT NULL
) STRICT;
CREATE TABLE store (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    cursor INTEGER NOT NULL,
    next_number INTEGER NOT NULL
) STRICT;
INSERT INTO store VALUES (1, 0, 1);
"""
_TOMBSTONES = """
CREATE TABLE IF NOT EXISTS tombstones (
    number INTEGER PRIMARY KEY,
    start_ms INTEGER NOT NULL,
    end_ms INTEGER NOT NULL,
    selectors TEXT NOT NULL
) STRICT
"""
_ADD_BLOCK = "INSERT INTO blocks VALUES (?, ?, ?)"
_ADD_TOMBSTONE = "INSERT INTO tombstones VALUES (?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class BlockEntry:
    """A block that exists. A higher number was written later and wins where two hold the same sample."""

    number: int
    name: str
    meta_crc32: int


def create_manifest(
    path: Path, blocks: Sequence[BlockEntry], tombstones: Sequence[Tombstone] = (), cursor: int = 0
) -> None:
    """Write a new manifest that names the given blocks; by default the cursor is at the journal's beginning.

    It is made aside and renamed: a manifest that exists is complete.
    """
    aside = path.with_name(path.name + ".new")
    for leftover in (
        aside,
        _journal_of(aside),
        _journal_of(path),
    ):  # an old journal must not be rolled back into a new file
        leftover.unlink(missing_ok=True)
    with _sqlite_errors(path):
        fsutil.make_private_file(aside)
        database = sqlite3.connect(aside, isolation_level=None)
        database.executescript(f"BEGIN; {_SCHEMA} {_TOMBSTONES}; COMMIT;")
        database.executemany(_ADD_BLOCK, [astuple(entry) for entry in blocks])
        database.executemany(_ADD_TOMBSTONE, [_row(tombstone) for tombstone in tombstones])
        numbers = [entry.number for entry in blocks] + [tombstone.number for tombstone in tombstones]
        next_number = 1 + max(numbers, default=0)
        database.execute("UPDATE store SET cursor = ?, next_number = ?", (cursor, next_number))
        database.close()
    with aside.open("rb") as file:
        fsutil.sync_file(file)
    fsutil.rename(aside, path)
    fsutil.sync_folder(path.parent)


class Manifest:
    """The SQLite file beside the blocks. Every change is one transaction, durable when `commit` returns.

    SQLite keeps its rollback journal's file from commit to commit, so that
    deleting blocks needs no new space on a full disk. That costs two more
    fsyncs than a write-ahead log, once in minutes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        with _sqlite_errors(path):
            self._db = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA journal_mode = PERSIST")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute(_TOMBSTONES)  # a manifest of before there were deletes has none
            row = self._db.execute("SELECT cursor, next_number FROM store").fetchone()
        self._cursor: int = row[0]
        self._next_number: int = row[1]

    @property
    def cursor(self) -> int:
        """The journal sequence from which a restart must replay."""
        return self._cursor

    def blocks(self) -> list[BlockEntry]:
        """Return the blocks that exist, oldest first."""
        return _blocks(self._db)

    def tombstones(self) -> list[Tombstone]:
        """Return what was deleted and may be in blocks still, oldest first; their series are not known."""
        return _tombstones(self._db)

    def take_number(self) -> int:
        """Return a number for a new block, higher than that of every block so far."""
        with self._lock:
            number = self._next_number
            self._next_number += 1
            return number

    def commit(
        self,
        add: Sequence[BlockEntry] = (),
        remove: Sequence[int] = (),
        cursor: int | None = None,
        entomb: Sequence[Tombstone] = (),
        exhume: Sequence[int] = (),
    ) -> None:
        """Add and remove blocks and tombstones and move the cursor, all or nothing.

        Raises:
            DiskFull: no space for the transaction; nothing has changed.
            StoreError: SQLite refuses; nothing has changed.
        """
        with self._lock:
            cursor = self._cursor if cursor is None else cursor
            with _sqlite_errors(self._path):
                try:
                    self._db.execute("BEGIN IMMEDIATE")
                    self._db.executemany("DELETE FROM blocks WHERE number = ?", [(n,) for n in remove])
                    self._db.executemany(_ADD_BLOCK, [astuple(e) for e in add])
                    self._db.executemany("DELETE FROM tombstones WHERE number = ?", [(n,) for n in exhume])
                    self._db.executemany(_ADD_TOMBSTONE, [_row(t) for t in entomb])
                    self._db.execute(
                        "UPDATE store SET cursor = ?, next_number = ?", (cursor, self._next_number)
                    )
                    self._db.execute("COMMIT")
                except sqlite3.Error:
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
                    raise
            self._cursor = cursor

    def copy_to(self, path: Path) -> None:
        """Write all of it to a new file, durable when this returns but for the file's name.

        The cursor is at the beginning there: the journal stays here.

        Raises:
            DiskFull, StoreError: it cannot be written.
        """
        with self._lock, _sqlite_errors(path):
            copy = sqlite3.connect(path)
            try:
                self._db.backup(copy)
                with copy:
                    copy.execute("UPDATE store SET cursor = 0")
            finally:
                copy.close()
        with path.open("rb") as file:
            fsutil.sync_file(file)

    def close(self) -> None:
        """Close the file."""
        self._db.close()


@dataclass(frozen=True, slots=True)
class ManifestState:
    """What a manifest says at one moment; blocks and tombstones are oldest first."""

    blocks: list[BlockEntry]
    tombstones: list[Tombstone]
    cursor: int


def look_into(path: Path) -> ManifestState:
    """Return what a manifest says, also while an agent uses it; nothing changes.

    Raises:
        StoreError: it cannot be read.
    """
    with _sqlite_errors(path):
        database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            database.execute("BEGIN")  # all as of one moment
            # A manifest of before there were deletes has no such table.
            known = database.execute("SELECT 1 FROM sqlite_schema WHERE name = 'tombstones'").fetchone()
            (cursor,) = database.execute("SELECT cursor FROM store").fetchone()
            return ManifestState(_blocks(database), _tombstones(database) if known else [], cursor)
        finally:
            database.close()


def _blocks(database: sqlite3.Connection) -> list[BlockEntry]:
    rows = database.execute("SELECT number, name, meta_crc32 FROM blocks ORDER BY number")
    return [BlockEntry(*row) for row in rows]


def _tombstones(database: sqlite3.Connection) -> list[Tombstone]:
    rows = database.execute("SELECT number, start_ms, end_ms, selectors FROM tombstones ORDER BY number")
    return [Tombstone(number, start, end, decode_selectors(text)) for number, start, end, text in rows]


def _row(tombstone: Tombstone) -> tuple[int, int, int, str]:
    return tombstone.number, tombstone.start_ms, tombstone.end_ms, encode_selectors(tombstone.selectors)


@contextmanager
def _sqlite_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise DiskFull(
                f"writing {path}: {error}; wanted free space; samples stay in the journal"
            ) from error
        raise StoreError(
            f"{path}: {error} (with the agent stopped, `metricsmith store verify --rebuild` makes it anew)"
        ) from error


def _journal_of(path: Path) -> Path:
    return path.with_name(path.name + "-journal")
