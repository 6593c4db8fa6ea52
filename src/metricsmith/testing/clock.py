"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class FakeClock:
    """A `Clock` whose time passes only in `advance`.

    `sleeping` waits for the code under test to have come to rest, so that a
    test never has to wait by real time. For use within one event loop.
    """

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._wall_us = now_ms * 1000  # integers, so that waking times are met exactly
        self._passed_us = 0
        self._waiting: dict[asyncio.Future[None], int] = {}
        self._changed = asyncio.Event()

    def now_ms(self) -> int:
        """Return wall time."""
        return (self._wall_us + self._passed_us) // 1000

    def monotonic(self) -> float:
        """Return seconds since the clock was made."""
        return self._passed_us / 1e6

    async def sleep(self, seconds: float) -> None:
        """Wait until time has been advanced by `seconds`."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        self._waiting[woken] = self._passed_us + round(seconds * 1e6)
        self._changed.set()
        try:
            await woken
        finally:
            self._waiting.pop(woken, None)

    def advance(self, seconds: float) -> None:
        """Move time forward and wake, in order, those whose waiting ends."""
        self._passed_us += round(seconds * 1e6)
        due = [woken for woken, until in self._waiting.items() if until <= self._passed_us]
        for woken in sorted(due, key=self._waiting.__getitem__):
            del self._waiting[woken]
            if not woken.done():
                woken.set_result(None)

    def set_wall(self, now_ms: int) -> None:
        """Change wall time as an administrator or NTP would; who waits waits as long as before."""
        self._wall_us = now_ms * 1000 - self._passed_us

    async def sleeping(self, count: int | Callable[[], int] = 1) -> None:
        """Return as soon as at least `count` are waiting for time to pass; a callable is asked each time."""
        while len(self._waiting) < (count() if callable(count) else count):
            self._changed.clear()
            await self._changed.wait()

    def next_wake_s(self) -> float:
        """Return the seconds until the first of those that wait wakes."""
        return (min(self._waiting.values()) - self._passed_us) / 1e6
