"""One total over network interfaces that come, go and wrap."""

from __future__ import annotations

from collections.abc import Mapping

WRAP = 1 << 32
NEAR = WRAP // 16
"""How far a counter of 32 bits goes at most between two readings: 200 Mbit/s for 10 s."""
FORGET_AFTER = 360
"""Readings until an interface that has gone is forgotten; one that comes back before goes on."""


class Total:
    """The bytes that passed interfaces: begins at what their counters say, and only ever grows.

    The plain sum falls when an interface goes, and a falling counter looks
    like a restart: all bytes of all others would be counted again.
    """

    def __init__(self) -> None:
        self._total: int | None = None
        self._last: dict[str, tuple[int, int]] = {}
        self._reading = 0

    def add(self, counters: Mapping[str, int]) -> int:
        """Take a reading of each interface's counter and return the total."""
        self._reading += 1
        if self._total is None:
            self._total = sum(counters.values())
        else:
            self._total += sum(self._growth(name, now) for name, now in counters.items())
        self._last.update({name: (now, self._reading) for name, now in counters.items()})
        for name in [n for n, (_, at) in self._last.items() if self._reading - at > FORGET_AFTER]:
            del self._last[name]
        return self._total

    def _growth(self, name: str, now: int) -> int:
        last = self._last.get(name, (0, 0))[0]
        return growth(last, now)


def growth(last: int, now: int) -> int:
    """Return how much a counter has grown between two readings.

    Counters have 64 bits but for old drivers and machines. One that fell has
    wrapped at 32 bits when it was near that and is not far beyond now; else it
    belongs to an interface made anew, and began at zero.

    >>> growth(5, 9), growth(2**32 - 10, 5), growth(3_500_000_000, 1000), growth(2**40, 7)
    (4, 15, 1000, 7)
    """
    if now >= last:
        return now - last
    wrapped = now + WRAP - last
    return wrapped if last < WRAP and wrapped < NEAR else now
