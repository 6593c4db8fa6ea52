"""Everything in a data directory, read whole and held against what is promised; nothing is changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from metricsmith.errors import StoreError
from metricsmith.journal.segment import list_segments
from metricsmith.journal.verify import verify_journal
from metricsmith.model.faults import Advance, Fault
from metricsmith.store.datadir import DataDir
from metricsmith.store.rebuild import Rebuilt, rebuild_manifest
from metricsmith.store.verify import copied, read_contents, verify_blocks

STATE_LOST = "stop the agent and remove it: alerts begin anew"


class Verification:
    """A look at one directory. While an agent uses it, only its blocks can be looked at.

    Use it within `store.verify.kept_from_others`.
    """

    def __init__(self, folder: Path, in_use: bool) -> None:
        self._dirs, self._in_use = DataDir(folder), in_use
        self._journal = folder / "journal"
        self._contents, self._early = read_contents(self._dirs, in_use)
        self.blocks = len(self._contents.metas)
        self.samples = sum(meta.samples for meta in self._contents.metas.values())
        self.bytes = self._contents.bytes + (0 if in_use else self._journal_bytes())
        """How much is read."""

    def run(self, advance: Advance) -> Iterator[Fault]:
        """Yield what is wrong, telling `advance` how much has been read."""
        yield from self._early
        yield from verify_blocks(self._dirs, self._contents, self._in_use, advance)
        if self._in_use:
            return
        if self._journal.is_dir():
            yield from verify_journal(self._journal, self._contents.cursor, advance)
        yield from _state(self._dirs.folder / "state.sqlite")

    def _journal_bytes(self) -> int:
        return sum(segment.size_bytes for segment in list_segments(self._journal))


def rebuild(folder: Path) -> Rebuilt:
    """Make the manifest of a data directory anew from its blocks.

    Raises:
        DataDirLocked: an agent uses it.
        StoreError: it cannot be written.
    """
    dirs = DataDir(folder)
    dirs.open()
    try:
        return rebuild_manifest(dirs)
    finally:
        dirs.close()


def _state(path: Path) -> Iterator[Fault]:
    if not path.exists():
        return
    try:
        with copied(path) as copy, closing(sqlite3.connect(copy)) as database:
            database.execute("SELECT count(*) FROM state").fetchone()
    except (sqlite3.Error, StoreError) as error:
        yield Fault(path.name, "", str(error), STATE_LOST)
