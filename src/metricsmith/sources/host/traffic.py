"""One total over network interfaces that come, go and wrap."""

from __future__ import annotations

from collections.abc import Mapping

WRAP = 1 << 32
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

    One that fell has wrapped at 32 bits when that means less than half of the
    range, as it does when read often; else it began anew, from zero.

    >>> growth(5, 9), growth(2**32 - 10, 5), growth(1000, 7), growth(2**40, 7)
    (4, 15, 7, 7)
    """
    if now >= last:
        return now - last
    wrapped = now + WRAP - last
    return wrapped if last < WRAP and wrapped < WRAP // 2 else now
