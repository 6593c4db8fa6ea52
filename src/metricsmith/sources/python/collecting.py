"""One collector, called once: in a thread of its own, within its time, and not again before it returns."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from metricsmith.errors import LimitExceeded
from metricsmith.model.clock import Clock
from metricsmith.sources.python.find import Unit
from metricsmith.sources.python.limits import Limits
from metricsmith.sources.python.load import where
from metricsmith.sources.python.threads import Threads
from metricsmith.sources.python.values import Rows, Taker, is_asynchronous

NOTHING = Rows()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a collection ended: `rows` are empty when it failed, which `reason` and `error` tell.

    Reasons: error, timeout, hung (an earlier one has not returned), too_many_samples.
    """

    rows: Rows
    duration_s: float
    reason: str = ""
    error: str = ""


class Collecting:
    """Calls one collector. One that hangs keeps its thread, and is not called again until it returns.

    When it is due again it is interrupted, so that a loop without end in Python does end.
    """

    def __init__(self, unit: Unit, limits: Limits, threads: Threads, clock: Clock) -> None:
        self.unit, self.limits = unit, limits
        self._threads, self._clock = threads, clock
        self._call = _Call(unit, limits)
        self._unreturned: asyncio.Future[Any] | None = None
        self._since_s = 0.0

    @property
    def hung(self) -> bool:
        """Whether a call is over its time and has not returned."""
        return self._unreturned is not None

    async def once(self) -> Outcome:
        """Return what the collector gives now, or why it does not."""
        clock, limit_s = self._clock, self.limits.timeout_ms / 1000
        if self._unreturned is not None:
            self._threads.interrupt(self._unreturned)
            passed_s = clock.monotonic() - self._since_s
            return Outcome(NOTHING, passed_s, "hung", f"has not returned for {passed_s:.0f} s")
        start = self._since_s = clock.monotonic()
        self._call.begin()
        returned = self._threads.submit(self._call)
        sleeping = asyncio.ensure_future(clock.sleep(limit_s))
        try:
            await asyncio.wait((returned, sleeping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            if not returned.done():  # too slow, or nobody wants to know any more
                self._give_up(returned)
        duration_s = clock.monotonic() - start
        if self.hung:
            return Outcome(NOTHING, duration_s, "timeout", f"took longer than its timeout of {limit_s:g} s")
        failure = returned.exception()
        if failure is None:
            return Outcome(returned.result(), duration_s)
        if isinstance(failure, LimitExceeded):
            return Outcome(NOTHING, duration_s, "too_many_samples", str(failure))
        told = f"{type(failure).__name__}: {failure!s:.500}"
        place = where(failure, self.unit.origin)
        return Outcome(
            NOTHING, duration_s, "error", told if place == self.unit.origin else f"{place}: {told}"
        )

    def close(self) -> None:
        """Release what the collector's own event loop holds."""
        self._call.close()

    def _give_up(self, returned: asyncio.Future[Any]) -> None:
        self._unreturned = returned
        returned.add_done_callback(self._returned)
        self._call.give_up()

    def _returned(self, future: asyncio.Future[Any]) -> None:
        self._unreturned = None
        if not future.cancelled():
            future.exception()  # it came too late to matter


class _Call:
    """Calls the author's code and takes what it gives; for worker threads, one call at a time.

    An asynchronous collector has an event loop of its own, which lasts from call to
    call, so that it may keep connections; one that blocks holds up nobody else.
    """

    def __init__(self, unit: Unit, limits: Limits) -> None:
        self._unit, self._limits = unit, limits
        self._lock = threading.Lock()
        self._given_up = self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    def __call__(self) -> Rows:
        taker = Taker(self._unit.plain, self._limits)
        result = self._unit.call()
        if is_asynchronous(result):
            self._run(taker.take_asynchronous(result))
        else:
            taker.take(result)
        return taker.rows

    def begin(self) -> None:
        """Forget that an earlier call was given up."""
        self._given_up = False

    def give_up(self) -> None:
        """Ask an asynchronous collector to end, as soon as there is something to end."""
        with self._lock:
            self._given_up = True
            if self._loop is not None and self._task is not None:
                self._loop.call_soon_threadsafe(self._task.cancel)

    def close(self) -> None:
        """Close the event loop, now or when the call returns."""
        with self._lock:
            self._closed = True
            self._close_when_idle()

    def _run(self, taking: Coroutine[Any, Any, None]) -> None:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
            loop, self._task = self._loop, self._loop.create_task(taking)
            if self._given_up:
                self._task.cancel()
        try:
            loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            raise TimeoutError("was cancelled") from None
        finally:
            with self._lock:
                self._task = None
                if self._closed:
                    self._close_when_idle()

    def _close_when_idle(self) -> None:
        if self._loop is not None and self._task is None:
            self._loop.close()
            self._loop = None
