"""The series table: label sets interned once, at the edge, to small integers."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import numpy as np

from metricsmith.model.arrays import U32
from metricsmith.model.labels import decode_labels


class SeriesTable:
    """Maps canonical keys to dense ids 0, 1, 2… and back; ids live as long as the process.

    One table per runtime. Lookups need no lock (dict reads are atomic); new
    keys take one, so several threads may intern at once.
    """

    def __init__(self) -> None:
        self._ids: dict[bytes, int] = {}
        self._keys: list[bytes] = []
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._keys)

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
        return self._keys[series]

    def keys(self, start: int = 0, stop: int | None = None) -> list[bytes]:
        """Return the keys of ids [start, stop), in id order."""
        return self._keys[start:stop]

    def labels(self, series: int) -> dict[str, str]:
        """Return the label set of a series id."""
        return decode_labels(self._keys[series])

    def _add(self, key: bytes) -> int:
        with self._lock:
            found = self._ids.get(key)
            if found is None:
                found = len(self._keys)
                self._keys.append(key)  # before the id is published, so that a reader finds the key
                self._ids[key] = found
            return found
