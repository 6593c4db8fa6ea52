"""Calls in a second, held below a limit."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from weakref import WeakValueDictionary

from metricsmith.model.clock import Clock


class CallRate:
    """A bucket of tokens, each of which comes back a second after it was taken.

    So no second has more calls than there are tokens, wherever it begins.
    """

    def __init__(self, clock: Clock, calls_per_second: int) -> None:
        self._clock = clock
        self._back_at = deque([0.0] * calls_per_second, maxlen=calls_per_second)

    async def take(self) -> None:
        """Take a token, and return when it is there. Who asks first gets first."""
        now = self._clock.monotonic()
        there = max(self._back_at.popleft(), now)
        self._back_at.append(there + 1.0)
        if there > now:
            await self._clock.sleep(there - now)


_in_use: WeakValueDictionary[Hashable, CallRate] = WeakValueDictionary()


def rate_of(account: Hashable, clock: Clock, calls_per_second: int) -> CallRate:
    """Return the rate of an account: sinks with the same credentials share a tenancy, and its limit."""
    key = account, clock, calls_per_second
    found = _in_use.get(key)
    if found is None:
        found = _in_use[key] = CallRate(clock, calls_per_second)
    return found
