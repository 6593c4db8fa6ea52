"""The queue of one destination: bounded in number and bytes, in order, with the newest news of each slot."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable

from metricsmith.rules.notify.entries import Entry

MAX_ENTRIES = 20_000
MAX_BYTES = 64 << 20


class Waiting:
    """Entries that wait. Safe to use from any thread."""

    def __init__(self, max_entries: int = MAX_ENTRIES, max_bytes: int = MAX_BYTES) -> None:
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._bytes = 0
        self._max_entries, self._max_bytes = max_entries, max_bytes
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size_bytes(self) -> int:
        """Bytes of all entries."""
        return self._bytes

    def oldest_ms(self) -> int | None:
        """Return the time of the entry that has waited longest."""
        with self._lock:
            return min((entry.at_ms for entry in self._entries.values()), default=None)

    def add(self, entry: Entry) -> list[tuple[Entry, str]]:
        """Let an entry wait in the place of an older one in its slot; return what waits no more, and why."""
        with self._lock:
            older = self._entries.get(entry.slot)
            if older is not None and older.at_ms > entry.at_ms:
                return [(entry, "replaced")]
            gone = [] if older is None or older == entry else [(older, "replaced")]
            self._entries[entry.slot] = entry
            self._bytes += entry.size - (0 if older is None else older.size)
            while len(self._entries) > self._max_entries or self._bytes > self._max_bytes:
                _, oldest = self._entries.popitem(last=False)
                self._bytes -= oldest.size
                gone.append((oldest, "queue_full"))
            return gone

    def take(self, count: int) -> list[Entry]:
        """Remove and return the entries at the front."""
        with self._lock:
            taken = [self._entries.popitem(last=False)[1] for _ in range(min(count, len(self._entries)))]
            self._bytes -= sum(entry.size for entry in taken)
            return taken

    def put_back(self, taken: Iterable[Entry]) -> list[tuple[Entry, str]]:
        """Let entries wait at the front again, in their order; return those that newer ones replace."""
        gone = []
        with self._lock:
            for entry in reversed(list(taken)):
                if entry.slot in self._entries:
                    gone.append((entry, "replaced"))
                    continue
                self._entries[entry.slot] = entry
                self._entries.move_to_end(entry.slot, last=False)
                self._bytes += entry.size
        return gone
