"""Which series a rule has seen, so that it can miss them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

MISSED_FOR_MS = 24 * 3_600_000
"""A series without data is missed that long; then it is taken to be gone for good."""
MAX_SERIES = 10_000
NOTED_EVERY_MS = 600_000
"""The time of the last data is written down that often; a restart need not know it better."""


@dataclass(slots=True)
class _Series:
    last_ms: int
    noted_ms: int
    value: float = math.nan


class SeenSeries:
    """The series of one rule that had data, by key without name. What is beyond MAX_SERIES is not missed.

    `refused` counts those.
    """

    def __init__(self) -> None:
        self.refused = 0
        self._series: dict[bytes, _Series] = {}
        self._changed: set[bytes] = set()

    def missing(
        self, holding: Mapping[bytes, float], with_data: frozenset[bytes], now_ms: int
    ) -> dict[bytes, float]:
        """Note which series have data now; return those that had and have not, with their last values."""
        for key in with_data | holding.keys():
            self._see(key, holding.get(key), now_ms)
        found = {}
        for key, series in list(self._series.items()):
            if series.last_ms == now_ms:
                continue
            if now_ms - series.last_ms > MISSED_FOR_MS:
                del self._series[key]
                self._changed.add(key)
            else:
                found[key] = series.value
        return found

    def restore(self, key: bytes, last_ms: int) -> None:
        """Remember a series from before a restart."""
        self._series[key] = _Series(last_ms, last_ms)

    def drop(self, key: bytes) -> None:
        """Have a series from before a restart forgotten: the rule does not look at it any more."""
        self._changed.add(key)

    def replace(self, former: SeenSeries) -> None:
        """Have all forgotten that a rule had seen which looked at something else."""
        self._changed |= former._changed | former._series.keys()

    def take_changed(self) -> dict[bytes, int | None]:
        """Return the time of the last data of each series that must be written down; None: forget it."""
        changed, self._changed = self._changed, set()
        return {key: s.last_ms if (s := self._series.get(key)) else None for key in changed}

    def _see(self, key: bytes, value: float | None, now_ms: int) -> None:
        series = self._series.get(key)
        if series is None:
            if len(self._series) >= MAX_SERIES:
                self.refused += 1
                return
            series = self._series[key] = _Series(now_ms, 0)
        series.last_ms = now_ms
        if value is not None:
            series.value = value
        if now_ms - series.noted_ms >= NOTED_EVERY_MS:
            series.noted_ms = now_ms
            self._changed.add(key)
