"""What garbage collection does: pauses by generation, collections, and what was collected."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator

from metricsmith.sdk.histogram import Histogram
from metricsmith.sdk.reading import Reading
from metricsmith.sdk.runtime_metrics.families import counter, counters

PAUSE_BOUNDS = (0.00001, 0.00005, 0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)
_STATISTICS = (
    ("python_gc_objects_collected", "collected", "Objects collected during gc."),
    ("python_gc_objects_uncollectable", "uncollectable", "Uncollectable objects found during gc."),
    ("python_gc_collections", "collections", "Times that a generation was collected."),
)


class GarbageMetrics:
    """Hears of each collection while it is started."""

    def __init__(self) -> None:
        self._pauses = Histogram(
            "python_gc_pause_seconds",
            "Pauses for garbage collection.",
            ["generation"],
            buckets=PAUSE_BOUNDS,
            registry=None,
        )
        self._pause = [self._pauses.labels(str(each)) for each in range(len(gc.get_threshold()))]
        self._promoted = 0
        self._began = 0.0
        self._young = 0

    def start(self) -> None:
        """Hear of collections from now on."""
        if self._hear not in gc.callbacks:
            gc.callbacks.append(self._hear)

    def stop(self) -> None:
        """Hear of no more."""
        if self._hear in gc.callbacks:
            gc.callbacks.remove(self._hear)

    def read(self) -> Iterator[Reading]:
        """Yield the names that prometheus_client has, pauses, and promotions."""
        statistics = gc.get_stats() if hasattr(gc, "get_stats") else []
        for name, field, help in _STATISTICS if statistics else ():
            values = [(str(generation), each[field]) for generation, each in enumerate(statistics)]
            yield counters(name, help, "generation", values)
        yield self._pauses.read()
        help = "Objects that outlived a collection of the youngest generation, about."
        yield counter("python_gc_promoted_objects", help, self._promoted)

    def _hear(self, phase: str, info: dict[str, int]) -> None:
        # Runs inside any allocation of any thread: no locks, no I/O, no exceptions.
        if phase == "start":
            self._young = gc.get_count()[0]
            self._began = time.perf_counter()
        elif self._began:  # else it was under way when we began to hear
            self._pause[info["generation"]].observe(time.perf_counter() - self._began)
            if info["generation"] == 0:
                self._promoted += max(0, self._young - info["collected"])
