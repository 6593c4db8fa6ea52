"""Telemetry that also keeps what it is told of problems, for those who run a part once and look."""

from __future__ import annotations

import asyncio
import copy
import logging
from typing import Any

from metricsmith.model.telemetry import Telemetry

MAX_HEARD = 1000


class Overheard(Telemetry):
    """Telemetry whose problems are kept instead of logged; from any thread."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []
        self._loop, self._news = asyncio.get_running_loop(), asyncio.Event()

    def apart(self) -> Overheard:
        """Return one that hears for itself, and counts in the same metrics, which take long to make."""
        other = copy.copy(self)
        other.heard, other._news = [], asyncio.Event()
        return other

    def problem(self, log: logging.Logger, name: str, message: str, **rest: Any) -> None:
        """Keep the message."""
        if len(self.heard) < MAX_HEARD and message not in self.heard:
            self.heard.append(message)
        self._loop.call_soon_threadsafe(self._news.set)

    async def until_heard(self) -> None:
        """Return when there has been a problem."""
        await self._news.wait()
