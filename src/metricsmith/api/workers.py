"""Worker threads for queries, so that the event loop goes on taking samples meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from metricsmith.api.errors import unavailable

T = TypeVar("T")


MAX_WAITING = 200
"""Requests that wait for a thread; more are sent away, as each holds memory and its answer comes late."""


class Workers:
    """Runs functions in threads, a bounded number at once; the others wait their turn."""

    def __init__(self, at_once: int) -> None:
        self._limiter = CapacityLimiter(at_once)
        self._most, self._present = at_once + MAX_WAITING, 0

    async def run(self, work: Callable[[], T]) -> T:
        """Return what `work` returns.

        When the caller is cancelled (the client went away) the work ends on its
        own within its time-out, and nobody waits for it.

        Raises:
            ApiError: too many wait already.
        """
        if self._present >= self._most:
            raise unavailable(f"{MAX_WAITING} requests wait already; send fewer at once")
        self._present += 1
        try:
            return await to_thread.run_sync(work, limiter=self._limiter, abandon_on_cancel=True)
        finally:
            self._present -= 1
