"""What is remembered of series between documents, forgotten when they no longer come."""

from __future__ import annotations

from dataclasses import dataclass

WINDOW_MS = 3_600_000


@dataclass(slots=True)
class Remembered:
    """Of one series: its last raw value and time, and the sum of what was counted."""

    value: float = 0.0
    time_ms: int | None = None
    total: float = 0.0


class Memory:
    """Up to `limit` series in an hour. A series that has not come for one to two hours is forgotten."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._young: dict[bytes, Remembered] = {}
        self._old: dict[bytes, Remembered] = {}
        self._since_ms: int | None = None

    def turn(self, now_ms: int) -> None:
        """Forget what has not come for long; called before each document."""
        since = self._since_ms
        if since is None or not 0 <= now_ms - since < WINDOW_MS:
            self._old, self._young, self._since_ms = self._young, {}, now_ms

    def get(self, key: bytes) -> Remembered | None:
        """Return what is remembered of a series, empty for a new one; None when there are too many."""
        found = self._young.get(key)
        if found is None:
            if len(self._young) >= self._limit:
                return None
            found = self._young[key] = self._old.pop(key) if key in self._old else Remembered()
        return found
