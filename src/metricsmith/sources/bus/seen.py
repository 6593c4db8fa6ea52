"""The topics that have been seen on a bus, with their rates."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass
from typing import Any

from metricsmith.model.clock import Clock
from metricsmith.model.targets import LastScrape, TargetStatus
from metricsmith.net.door import target

MAX_TOPICS = 10_000


@dataclass(frozen=True, slots=True)
class SeenTopic:
    """A topic, and what came on it.

    Units:
        rate: messages a second, since the topic was first seen.
    """

    topic: str
    messages: int
    size_bytes: int
    rate: float
    last_ms: int

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


class SeenTopics:
    """Counts messages by topic, of the first MAX_TOPICS topics. Safe to read from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[str, list[float]] = {}  # messages, bytes, first and last time in ms
        self.left_out = 0
        """Messages on topics that there was no room for."""

    def note(self, topic: str, size_bytes: int) -> None:
        """Count a message."""
        now_ms = self._clock.now_ms()
        with self._lock:
            found = self._seen.get(topic)
            if found is None:
                if len(self._seen) >= MAX_TOPICS:
                    self.left_out += 1
                    return
                found = self._seen[topic] = [0, 0, now_ms, now_ms]
            found[0] += 1
            found[1] += size_bytes
            found[3] = now_ms

    def topics(self) -> list[SeenTopic]:
        """Return what was seen, by topic."""
        now_ms = self._clock.now_ms()
        with self._lock:
            found = {topic: list(counts) for topic, counts in self._seen.items()}
        return [
            SeenTopic(topic, int(n), int(size), n / max((now_ms - first) / 1000, 1.0), int(last))
            for topic, (n, size, first, last) in sorted(found.items())
        ]

    def targets(self, source: str) -> list[TargetStatus]:
        """Return each topic as a target of a source: heard, and when last."""
        return [target(source, seen.topic, LastScrape(seen.last_ms, 0.0, "")) for seen in self.topics()]
