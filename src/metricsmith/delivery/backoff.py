"""Waiting: between sends that fail, and for an end that may come first."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any, TypeVar

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 60.0
T = TypeVar("T")


def next_wait_s(failures: int, after_s: float | None) -> float:
    """Return the wait after so many failures in a row: longer each time, random, and what was asked for."""
    longest_s = min(FIRST_WAIT_S * 2.0 ** min(failures - 1, 20), LONGEST_WAIT_S)
    return max(random.uniform(longest_s / 2, longest_s), after_s or 0.0)


class Ending:
    """An end that comes once, and cuts short what waits."""

    def __init__(self) -> None:
        self._come = asyncio.Event()

    def come(self) -> None:
        """Let it come."""
        self._come.set()

    def has_come(self) -> bool:
        """Return whether it has. From any thread."""
        return self._come.is_set()

    async def unless(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Return what comes of some work, or None once the end has come; then the work is cancelled."""
        task, ending = asyncio.ensure_future(work), asyncio.ensure_future(self._come.wait())
        try:
            await asyncio.wait({task, ending}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            for each in (task, ending):
                each.cancel()
            await asyncio.gather(task, ending, return_exceptions=True)
