"""The memory that decoded samples of files may take together: those asked for longest ago go first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Protocol


class Droppable(Protocol):
    """A file whose samples can be decoded again."""

    def drop_pieces(self) -> None:
        """Free their memory."""
        ...


class PieceMemory:
    """Counts bytes by file. Safe from any thread."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._held: OrderedDict[Droppable, int] = OrderedDict()
        self._lock = threading.Lock()

    def used(self, file: Droppable) -> None:
        """Note that somebody asked for a file."""
        with self._lock:
            if file in self._held:
                self._held.move_to_end(file)

    def has_room(self, file: Droppable, size_bytes: int) -> bool:
        """Count a file's bytes, for which others may have to go; return False when it is too large alone."""
        with self._lock:
            self._held.pop(file, None)
            if size_bytes > self._most:
                return False
            going = []
            while self._held and sum(self._held.values()) + size_bytes > self._most:
                going.append(self._held.popitem(last=False)[0])
            self._held[file] = size_bytes
        for other in going:
            other.drop_pieces()
        return True

    def forget(self, file: Droppable) -> None:
        """Count a file no more."""
        with self._lock:
            self._held.pop(file, None)
