"""What destinations refused for good: the last of each, for people to look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from metricsmith.rules.notify.entries import Entry

REFUSED = "outbox/refused/"
MAX_REFUSED = 100
"""Of each destination."""


@dataclass(frozen=True, slots=True)
class Refused:
    """An entry that was refused, and why. `payload` is what was sent."""

    destination: str
    at_ms: int
    reason: str
    payload: Any


class Quarantine:
    """The refused entries of all destinations; the oldest make room for new ones."""

    def __init__(self, kept: Mapping[str, bytes]) -> None:
        self._kept = dict(kept)

    def add(self, entry: Entry, reason: str, now_ms: int) -> tuple[dict[str, bytes], list[str]]:
        """Return what to keep, and which keys to forget."""
        folder = f"{REFUSED}{entry.destination}/"
        value = {"at_ms": now_ms, "reason": reason, "payload": orjson.Fragment(entry.payload)}
        put = {f"{folder}{now_ms:014d}-{entry.slot}": orjson.dumps(value)}
        self._kept |= put
        mine = sorted(key for key in self._kept if key.startswith(folder))
        gone = mine[: max(0, len(mine) - MAX_REFUSED)]
        for key in gone:
            del self._kept[key]
        return put, gone

    def all(self) -> list[Refused]:
        """Return them, those of each destination in order of time. What cannot be read is left out."""
        found = []
        for key, value in sorted(self._kept.copy().items()):
            destination = key.removeprefix(REFUSED).partition("/")[0]
            try:
                plain = orjson.loads(value)
                found.append(Refused(destination, plain["at_ms"], plain["reason"], plain["payload"]))
            except (ValueError, KeyError, TypeError):
                continue
        return found
