"""What goes wrong in the SDK: counted by kind, logged once for each, and never raised into the application."""

from __future__ import annotations

from threading import Lock

MAX_KINDS = 1000


class Problems:
    """Counts by kind. A kind is from a fixed set; what changes from time to time belongs into the text."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: dict[str, int] = {}
        self._last: dict[str, str] = {}

    def note(self, kind: str, text: str, amount: int = 1, *, trace: bool = False) -> None:
        """Count a problem; the first of its kind is logged, with the exception being handled if `trace`."""
        with self._lock:
            if kind not in self._counts and len(self._counts) >= MAX_KINDS:
                kind = "other"
            first = kind not in self._counts
            self._counts[kind] = self._counts.get(kind, 0) + amount
            self._last[kind] = text[:500]
        if first:
            import logging

            log = logging.getLogger("metricsmith.sdk")
            log.warning("%s (%s; further ones are only counted)", text, kind, exc_info=trace)

    def counts(self) -> dict[str, int]:
        """Return how many there were of each kind."""
        with self._lock:
            return dict(self._counts)

    def last(self) -> dict[str, str]:
        """Return what the last one of each kind said."""
        with self._lock:
            return dict(self._last)
