"""The producers that a consumer knows, and when it heard of each."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from metricsmith.model.clock import Clock
from metricsmith.model.targets import LastScrape, TargetStatus
from metricsmith.net.door import target

MAX_PRODUCERS = 10_000


class HeardProducers:
    """The producers that were heard last, at most MAX_PRODUCERS. Safe to read from any thread."""

    def __init__(self, source: str, known: Iterable[str], clock: Clock) -> None:
        """`known` are those of earlier runs: they have not been heard in this one."""
        self._source, self._clock, self._lock = source, clock, threading.Lock()
        self._last: dict[str, LastScrape | None] = dict.fromkeys(list(known)[:MAX_PRODUCERS])

    def note(self, name: str, error: str = "") -> None:
        """Note that a producer was heard; `error` says why what it sent was not taken."""
        with self._lock:
            self._last.pop(name, None)  # so that the first is the one heard longest ago
            self._last[name] = LastScrape(self._clock.now_ms(), 0.0, error)
            if len(self._last) > MAX_PRODUCERS:
                del self._last[next(iter(self._last))]

    def targets(self) -> list[TargetStatus]:
        """Return the producers, by name."""
        with self._lock:
            found = dict(self._last)
        return [target(self._source, name, last) for name, last in sorted(found.items())]
