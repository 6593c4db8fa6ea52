"""The series table: label sets interned once, at the edge, to small integers.

Ids are never used again. A series that has no samples any more is retired: its key gets a new id when it
comes back, and the old one still tells the key, to whoever holds it; `current` says the new one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

import numpy as np

from metricsmith.model.arrays import U32, Bool
from metricsmith.model.key_pages import PAGE_KEYS, KeyPages
from metricsmith.model.labels import decode_labels


class SeriesTable:
    """Maps canonical keys to dense ids 0, 1, 2… and back.

    One table per runtime. Lookups need no lock (dict reads are atomic); new
    keys take one, so several threads may intern at once.
    """

    def __init__(self) -> None:
        self._ids: dict[bytes, int] = {}
        self._keys = KeyPages()
        self._pages = self._keys.pages
        self._retired: Bool = np.zeros(0, np.bool_)
        self._lock = threading.Lock()
        self.generation = 0
        """Grows when series are retired."""
        self._in_use: Bool = np.zeros(0, np.bool_)
        self.watch = 0
        """Grows when `take_in_use` begins anew; 0 while nobody asks which series are in use."""

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def alive(self) -> int:
        """The number of series that are not retired."""
        return len(self._ids)

    def intern(self, key: bytes) -> int:
        """Return the id of a key, giving it one if it is new."""
        found = self._ids.get(key)
        return self._add(key) if found is None else found

    def intern_many(self, keys: Iterable[bytes]) -> U32:
        """Return the ids of many keys, in order.

        Shapes:
            returns: (S,)
        """
        get, add = self._ids.get, self._add
        ids = [add(k) if (i := get(k)) is None else i for k in keys]
        return np.array(ids, dtype=np.uint32)

    def find(self, key: bytes) -> int | None:
        """Return the id of a key, or None if it was never interned."""
        return self._ids.get(key)

    def key(self, series: int) -> bytes:
        """Return the canonical key of a series id."""
        return self._pages[series // PAGE_KEYS][series % PAGE_KEYS]

    def keys(self, start: int = 0, stop: int | None = None) -> list[bytes]:
        """Return the keys of ids [start, stop), in id order."""
        return self._keys.between(start, stop)

    def labels(self, series: int) -> dict[str, str]:
        """Return the label set of a series id."""
        return decode_labels(self._keys[series])

    def retired(self) -> Bool:
        """Return which ids are retired; those beyond its end are not.

        Shapes:
            returns: (≤ len(self),)
        """
        return self._retired

    def retire(self, series: U32) -> None:
        """Let go of series that nobody has samples of; `pack` frees their memory later."""
        with self._lock:
            if len(self._retired) < len(self._keys):
                grown = np.zeros(len(self._keys) + len(self._keys) // 2, np.bool_)
                grown[: len(self._retired)] = self._retired
                self._retired = grown
            for number in series.tolist():
                key = self._keys[number]
                if self._ids.get(key) == number:
                    del self._ids[key]
            self._retired[series] = True
            self.generation += 1

    def pack(self) -> None:
        """Free the memory of retired series; takes longer than a thread that others wait for may."""
        self._keys.pack(self._retired)

    def current(self, series: U32) -> U32:
        """Return the ids that the same keys have now; the same array where none of them is retired.

        Shapes:
            series, returns: (S,)
        """
        known = np.minimum(series, max(len(self._retired) - 1, 0))
        gone = (self._retired[known] & (known == series)) if len(self._retired) else None
        if gone is None or not gone.any():
            return series
        now = series.copy()
        now[gone] = self.intern_many(self._keys[number] for number in series[gone].tolist())
        return now

    def note_in_use(self, series: U32) -> None:
        """Note that samples of series come, whether these are stored or not."""
        if not len(series):
            return
        with self._lock:
            if (highest := int(series.max())) >= len(self._in_use):
                self._in_use = np.append(self._in_use, np.zeros(highest + 1 + highest // 2, np.bool_))
            self._in_use[series] = True

    def in_use(self, series: U32) -> Bool:
        """Return which series were noted since `take_in_use` was called last.

        Shapes:
            series, returns: (S,)
        """
        marks = self._in_use
        if not len(marks):
            return np.zeros(len(series), np.bool_)
        found: Bool = marks[np.minimum(series, len(marks) - 1)] & (series < len(marks))
        return found

    def take_in_use(self) -> Bool:
        """Return which ids were noted since the last call, and begin anew; those beyond its end were not.

        Shapes:
            returns: (any,)
        """
        with self._lock:
            taken, self._in_use = self._in_use, np.zeros(len(self._in_use), np.bool_)
            self.watch += 1
        return taken

    def _add(self, key: bytes) -> int:
        with self._lock:
            found = self._ids.get(key)
            if found is None:
                found = len(self._keys)
                self._keys.append(key)  # before the id is published, so that a reader finds the key
                self._ids[key] = found
            return found
