"""Whether the agent is ready: journal, store and sinks; and whether it lives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator

from metricsmith.delivery.status import SinkStatus
from metricsmith.model.clock import Clock
from metricsmith.model.duration import format_duration
from metricsmith.model.health import Check
from metricsmith.store_contracts import StoreStatus

FRESH_S = 5.0
"""What a store said of itself is good for that long, however often we are asked."""
PATIENCE_S = 1.0
"""Nobody who asks us waits longer for a store; it answers those that come later."""

LONGEST_TICK_S = 120.0
"""Housekeeping that took longer has stopped: blocks are not written any more, the journal is not trimmed."""


class StoreProbe:
    """Asks a store how it is: never twice at once, off the event loop, and seldom."""

    def __init__(self, status: Callable[[], StoreStatus], clock: Clock) -> None:
        self._status, self._clock = status, clock
        self._answer: Check | None = None
        self._asked_s = 0.0
        self._asking: asyncio.Task[Check] | None = None

    async def check(self) -> Check:
        """Return whether the store answers; what it said last, where that is not long ago."""
        now_s = self._clock.monotonic()
        if self._asking is None and (self._answer is None or now_s - self._asked_s >= FRESH_S):
            self._asked_s = now_s
            self._asking = asyncio.create_task(self._ask(), name="store probe")
        if (asking := self._asking) is not None:
            await asyncio.wait({asking}, timeout=PATIENCE_S)
            if not asking.done():
                return Check("storage", False, "the store has not answered yet")
            if self._asking is asking:  # nobody else who waited has taken the answer
                self._answer, self._asking = asking.result(), None
        assert self._answer is not None
        return self._answer

    async def _ask(self) -> Check:
        try:
            status = await asyncio.to_thread(self._status)
        except Exception as error:  # a defect of a store, which must not hide how the rest is
            return Check("storage", False, f"{type(error).__name__}: {error}")
        if status.status == "connected":
            return Check("storage")
        return Check("storage", False, status.detail or status.status)


def sink_checks(sinks: Iterable[SinkStatus]) -> Iterator[Check]:
    """Yield whether each sink runs, and is not further behind than it may be."""
    for sink in sinks:
        name = f"sink {sink.name}"
        if sink.state == "stopped":
            yield Check(name, False, "its task has ended", live=False)
        elif sink.late:
            waited = format_duration(sink.lag_ms // 1000 * 1000)
            allowed = format_duration(sink.allowed_lag_ms or 0)
            why = f" ({sink.last_error})" if sink.last_error else ""
            yield Check(name, False, f"samples have waited {waited}, longer than allowed_lag {allowed}{why}")
        elif sink.state != "removed":
            yield Check(name)


def housekeeping_check(silent_s: float) -> Check:
    """Return whether housekeeping goes on, which began a round so many seconds ago."""
    if silent_s <= LONGEST_TICK_S:
        return Check("housekeeping")
    return Check("housekeeping", False, f"has not ended a round for {silent_s:.0f}s", live=False)
