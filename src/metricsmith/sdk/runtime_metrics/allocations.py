"""Memory by where it was allocated, on demand: tracing slows allocation, so it is off unless asked for."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Iterator
from typing import NamedTuple

from metricsmith.sdk.reading import Reading
from metricsmith.sdk.runtime_metrics.families import gauge


class Site(NamedTuple):
    """A line of code and what it allocated that is still in use."""

    place: str
    bytes: int
    blocks: int


class AllocationMetrics:
    """Traces allocations while it is started."""

    def __init__(self) -> None:
        self._started = False

    def start(self) -> None:
        """Trace from now on, one frame deep; what was traced already stays as it is."""
        if not tracemalloc.is_tracing():
            tracemalloc.start(1)
            self._started = True

    def stop(self) -> None:
        """Trace no more, unless somebody else began it."""
        if self._started:
            tracemalloc.stop()
            self._started = False

    def read(self) -> Iterator[Reading]:
        """Yield blocks in use; sizes while allocations are traced."""
        if hasattr(sys, "getallocatedblocks"):
            yield gauge(
                "python_allocated_blocks", "Blocks of memory that objects use.", sys.getallocatedblocks()
            )
        if tracemalloc.is_tracing():
            now, peak = tracemalloc.get_traced_memory()
            yield gauge("python_traced_memory_bytes", "Memory in use of what was traced.", now)
            yield gauge("python_traced_memory_peak_bytes", "Most memory in use of what was traced.", peak)


def top_allocations(limit: int = 20) -> list[Site]:
    """Return the lines that hold most memory, largest first; nothing while allocations are not traced."""
    if not tracemalloc.is_tracing():
        return []
    statistics = tracemalloc.take_snapshot().statistics("lineno")[:limit]
    return [Site(str(each.traceback), each.size, each.count) for each in statistics]
