"""The last messages of a bus, for people who want to see what comes."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

KEPT = 1000
LONGEST_BYTES = 16 << 10
"""So much of a message is kept."""


@dataclass(frozen=True, slots=True)
class RecentMessage:
    """A message as it came; `body` is its beginning. Numbers go up, over all sources of a process."""

    number: int
    topic: str
    body: bytes


class RecentMessages:
    """The last KEPT messages. Safe to read from any thread while one writes."""

    def __init__(self) -> None:
        self._last = 0
        self._kept: deque[RecentMessage] = deque(maxlen=KEPT)
        self._lock = threading.Lock()

    def note(self, topic: str, body: bytes) -> None:
        """Keep a message in place of the oldest."""
        self._last = max(self._last + 1, time.time_ns())
        message = RecentMessage(self._last, topic, body[:LONGEST_BYTES])
        with self._lock:
            self._kept.append(message)

    def after(self, number: int) -> list[RecentMessage]:
        """Return the messages kept whose numbers are higher, in order."""
        with self._lock:
            kept = list(self._kept)
        return [message for message in kept if message.number > number]
