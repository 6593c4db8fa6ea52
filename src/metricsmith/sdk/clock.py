"""Time as instruments see it; tests put their own in its place."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Wall time and time that never runs backwards; `metricsmith.testing.clock.FakeClock` is one."""

    def now_ms(self) -> int:
        """Return wall time in milliseconds since the Unix epoch."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never run backwards."""
        ...


class SystemClock:
    """The machine's clock. `monotonic` is the C function itself: timers read it twice for each event."""

    monotonic = staticmethod(time.perf_counter)

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


SYSTEM_CLOCK = SystemClock()
