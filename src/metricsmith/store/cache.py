"""A cache of decoded parts of blocks, bounded by bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Protocol, TypeVar

from metricsmith.model.telemetry import Telemetry


class Sized(Protocol):
    """What can be cached: it knows its memory."""

    @property
    def nbytes(self) -> int:
        """Return the bytes that it keeps alive."""
        ...


T = TypeVar("T", bound=Sized)

KEPT_ROUNDS = 8
"""An entry stays until the cache was asked this many times for each entry, and never for this one."""


class ByteCache:
    """Keeps what is used within a budget of bytes; shared by all blocks, safe from any thread.

    A full cache takes something new only for what has not been asked for in a
    while. If the oldest went at once, a query over a little more than the
    cache holds, asked again and again, would find nothing each time.

    Two threads that miss the same key both load it: that costs less than
    making every reader wait for another's disk.
    """

    def __init__(self, budget_bytes: int, telemetry: Telemetry) -> None:
        self._budget = budget_bytes
        self._telemetry = telemetry
        self._entries: OrderedDict[Hashable, Sized] = OrderedDict()
        self._used: dict[Hashable, int] = {}
        self._asked = 0
        self._bytes = 0
        self._lock = threading.Lock()
        telemetry.watch("metricsmith_store_cache_bytes", lambda: self._bytes)

    def get(self, key: Hashable, load: Callable[[], T]) -> T:
        """Return what is cached under a key, loading it when absent."""
        with self._lock:
            self._asked += 1
            found: Any = self._entries.get(key)
            if found is not None:
                self._entries.move_to_end(key)
                self._used[key] = self._asked
        self._telemetry.count(
            "metricsmith_store_cache_lookups_total", result="miss" if found is None else "hit"
        )
        if found is not None:
            return found  # type: ignore[no-any-return]
        loaded = load()
        self._put(key, loaded)
        return loaded

    def drop(self, belongs: Callable[[Any], bool]) -> None:
        """Forget the entries whose key belongs to something that has gone."""
        with self._lock:
            for key in [k for k in self._entries if belongs(k)]:
                self._remove(key)

    def _put(self, key: Hashable, value: Sized) -> None:
        with self._lock:
            self._remove(key)
            if not self._make_room(value.nbytes):
                return
            self._bytes += value.nbytes
            self._entries[key] = value
            self._used[key] = self._asked

    def _make_room(self, wanted: int) -> bool:
        """Return whether so many bytes fit now, older entries removed for them."""
        if wanted > self._budget:
            return False
        while self._bytes + wanted > self._budget:
            oldest = next(iter(self._entries))
            if self._asked - self._used[oldest] <= KEPT_ROUNDS * len(self._entries):
                return False
            self._remove(oldest)
        return True

    def _remove(self, key: Hashable) -> None:
        gone = self._entries.pop(key, None)
        if gone is not None:
            self._bytes -= gone.nbytes
            del self._used[key]
