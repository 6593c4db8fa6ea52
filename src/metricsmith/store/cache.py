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


class ByteCache:
    """Keeps what was used last within a budget of bytes; shared by all blocks, safe from any thread.

    Two threads that miss the same key both load it: that costs less than
    making every reader wait for another's disk.
    """

    def __init__(self, budget_bytes: int, telemetry: Telemetry) -> None:
        self._budget = budget_bytes
        self._telemetry = telemetry
        self._entries: OrderedDict[Hashable, Sized] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        telemetry.watch("metricsmith_store_cache_bytes", lambda: self._bytes)

    def get(self, key: Hashable, load: Callable[[], T]) -> T:
        """Return what is cached under a key, loading it when absent."""
        with self._lock:
            found: Any = self._entries.get(key)
            if found is not None:
                self._entries.move_to_end(key)
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
                self._bytes -= self._entries.pop(key).nbytes

    def _put(self, key: Hashable, value: Sized) -> None:
        if value.nbytes > self._budget:
            return
        with self._lock:
            previous = self._entries.pop(key, None)
            self._bytes += value.nbytes - (previous.nbytes if previous is not None else 0)
            self._entries[key] = value
            while self._bytes > self._budget:
                _, evicted = self._entries.popitem(last=False)
                self._bytes -= evicted.nbytes
