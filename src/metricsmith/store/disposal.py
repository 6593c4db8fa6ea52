"""What becomes of blocks that serve no more: deleted, or kept aside for a person."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

from metricsmith.errors import BlockCorrupt
from metricsmith.model.telemetry import Telemetry
from metricsmith.store import fsutil
from metricsmith.store.block_reader import Block
from metricsmith.store.cache import ByteCache
from metricsmith.store.datadir import DataDir

log = logging.getLogger(__name__)


class Disposal:
    """Moves and removes folders; the manifest has forgotten them before. From any thread."""

    def __init__(self, dirs: DataDir, cache: ByteCache, telemetry: Telemetry) -> None:
        self._dirs, self._cache, self._telemetry = dirs, cache, telemetry
        self._left: set[Path] = set()

    def note_damage(self, block: Block, error: BlockCorrupt) -> None:
        """Count and log that a row group of a block is left out."""
        self._telemetry.problem(
            log,
            "metricsmith_store_row_groups_damaged_total",
            f"left out, the rest of the block serves: {error}",
            level=logging.ERROR,
            subject=str(error),
        )

    def note_set_aside(self, reason: str, message: str) -> None:
        """Count and log that something was set aside."""
        self._telemetry.problem(
            log,
            "metricsmith_store_blocks_set_aside_total",
            f"set aside under {self._dirs.strays}: {message}",
            level=logging.WARNING if reason == "unknown" else logging.ERROR,
            subject=message,
            reason=reason,
        )

    def note_left_in_place(self, error: BlockCorrupt, failure: Exception) -> None:
        """Count and log that a damaged block could not be set aside; queries pass over it, and try again."""
        self._telemetry.problem(
            log,
            "metricsmith_store_blocks_set_aside_total",
            f"a damaged block stays in its place until the manifest can be written: {error}; {failure}",
            level=logging.ERROR,
            subject=str(error),
            reason="failed",
        )

    def delete(self, block: Block) -> None:
        """Delete the folder of a block."""
        self._cache.drop(lambda key: key[0] == block.entry.number)
        going = self._dirs.tmp / block.folder.name  # half a block would look like a damaged one
        try:
            fsutil.rename(block.folder, going)
            fsutil.remove_tree(going)
        except OSError as error:  # the manifest has forgotten it: the next start finds it
            log.warning("could not delete %s: %s", block.folder, error)

    def keep(self, block: Block) -> None:
        """Set the folder of a block aside."""
        self._cache.drop(lambda key: key[0] == block.entry.number)
        self.move_to_strays(block.folder)

    def move_to_strays(self, path: Path) -> None:
        """Set a folder aside, in place of one of its name; that one stays when there is none to be moved."""
        target = self._dirs.strays / path.name
        if not os.path.lexists(path):
            return
        try:
            fsutil.remove_tree(target)
            fsutil.rename(path, target)
            # Kept for the retention from now on, not from when it was written, by whatever clock that was.
            os.utime(target, times=(now := max(time.time(), target.stat().st_mtime), now))
            fsutil.sync_folder(self._dirs.strays)
        except OSError as error:
            log.warning("could not move %s to %s: %s", path, target, error)
        else:
            log.info("moved %s to %s", path, target)

    def delete_strays(self, cutoff_ms: int) -> None:
        """Delete what was set aside before a time."""
        for path in self._dirs.strays.iterdir():
            try:
                if path.lstat().st_mtime * 1000 >= cutoff_ms:
                    continue
                fsutil.remove_tree(path)
            except OSError as error:  # somebody else's file must not keep blocks from being merged
                if path not in self._left:  # it is tried every minute, and told once
                    self._left.add(path)
                    log.warning("could not delete %s, older than the retention: %s", path, error)
            else:
                log.info("deleted %s, older than the retention", path)
