"""What webhooks and services have been told: when an alert fires, again now and then, and when it ends.

Kept under `outbox/told/DESTINATION/ALERT`, in one commit with the entries that tell it, so that a
restart tells nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import orjson

from metricsmith.rules.alerting import RESOLVED_KEPT_MS
from metricsmith.rules.model import Notification
from metricsmith.rules.notify.entries import digest

TOLD = "outbox/told/"
_ENDED_KEPT_MS = 4 * RESOLVED_KEPT_MS
"""Ends are told for RESOLVED_KEPT_MS again and again; for that long it must be known that they were."""


class Told:
    """When which destination was told of which alert last. Used under a lock of its owner."""

    def __init__(self, kept: Mapping[str, bytes]) -> None:
        self._last: dict[str, tuple[int, int, bool]] = {}
        self.damaged: list[str] = []
        for key, value in kept.items():
            try:
                starts_ms, at_ms, ended = orjson.loads(value)
                self._last[key] = (int(starts_ms), int(at_ms), bool(ended))
            except (ValueError, TypeError):
                self.damaged.append(key)

    def news(
        self, destination: str, alert: bytes, told: Notification, repeat_ms: int
    ) -> tuple[str, bytes] | None:
        """Return key and value to keep when this is news for a destination, None when it knows.

        The end of what it was never told of is no news.
        """
        key = f"{TOLD}{destination}/{digest(alert)}"
        starts_ms, at_ms, ended = self._last.get(key, (0, 0, False))
        same = key in self._last and starts_ms == told.starts_at_ms
        if told.resolved:
            if not same or ended:
                return None
        elif same and not ended and abs(told.sent_at_ms - at_ms) < repeat_ms:
            return None
        self._last[key] = (told.starts_at_ms, told.sent_at_ms, told.resolved)
        return key, orjson.dumps(self._last[key])

    def outdated(self, now_ms: int, repeat_ms: int) -> Iterator[str]:
        """Forget, and yield the keys of, what no notification can ask about any more."""
        for key, (_, at_ms, ended) in list(self._last.items()):
            if abs(now_ms - at_ms) > (_ENDED_KEPT_MS if ended else max(2 * repeat_ms, _ENDED_KEPT_MS)):
                del self._last[key]
                yield key
