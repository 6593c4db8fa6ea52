"""Worker threads for queries, so that the event loop goes on taking samples meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from metricsmith.api.errors import unavailable

T = TypeVar("T")


class Workers:
    """Runs functions in threads, a bounded number at once; a bounded number of others wait their turn.

    A request that waits holds memory, and its answer comes late: more are sent
    away at once.
    """

    def __init__(self, at_once: int, most_waiting: int) -> None:
        self.at_once = at_once
        self._most_waiting = most_waiting
        self._turns, self._threads = asyncio.Semaphore(at_once), CapacityLimiter(at_once)
        self.running, self.waiting = 0, 0

    async def run(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, once it is its turn.

        Raises:
            ApiError: too many wait already.
        """
        await self.take_turn()
        return await self.use_turn(work)

    async def take_turn(self) -> None:
        """Wait until a thread is free; `use_turn` must follow.

        Raises:
            ApiError: too many wait already.
        """
        if self._turns.locked() and self.waiting >= self._most_waiting:
            raise unavailable(f"{self.waiting} requests wait already; send fewer at once")
        self.waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self.waiting -= 1
        self.running += 1

    async def use_turn(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, from a thread. Work that nobody waits for must end by itself."""
        try:
            return await to_thread.run_sync(work, limiter=self._threads, abandon_on_cancel=True)
        finally:
            self.running -= 1
            self._turns.release()
