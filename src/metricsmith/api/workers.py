"""Worker threads for queries, so that the event loop goes on taking samples meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

T = TypeVar("T")


class Workers:
    """Runs functions in threads, a bounded number at once; the others wait their turn."""

    def __init__(self, at_once: int) -> None:
        self._limiter = CapacityLimiter(at_once)

    async def run(self, work: Callable[[], T]) -> T:
        """Return what `work` returns.

        When the caller is cancelled (the client went away) the work ends on its
        own within its time-out, and nobody waits for it.
        """
        return await to_thread.run_sync(work, limiter=self._limiter, abandon_on_cancel=True)
