"""Event loops: their tasks, and how late they come to what is due."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterator
from contextlib import suppress

from metricsmith.sdk.histogram import Histogram
from metricsmith.sdk.reading import Reading
from metricsmith.sdk.runtime_metrics.families import gauges

PROBE_S = 0.5
LAG_BOUNDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
MAX_LOOPS = 16


class _Watch:
    """A loop that is probed until `ended`."""

    __slots__ = ("_loop", "ended", "lag")

    def __init__(self, loop: asyncio.AbstractEventLoop, lag: Histogram) -> None:
        self._loop = weakref.ref(loop)
        self.lag = lag
        self.ended = False

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """Return the loop while it lives and is open."""
        found = self._loop()
        return None if found is None or found.is_closed() else found


class EventLoopMetrics:
    """Probes the loops that it is told of. One that closes is forgotten; its histogram stays."""

    def __init__(self, probe_s: float = PROBE_S) -> None:
        self._probe_s = probe_s
        self._loops: dict[str, _Watch] = {}
        self._lags = Histogram(
            "python_asyncio_loop_lag_seconds",
            "How late the event loop comes to what is due.",
            ["loop"],
            buckets=LAG_BOUNDS,
            registry=None,
        )
        self._names: set[str] = set()

    def watch(self, name: str = "main", loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Probe a loop, the running one unless another is given, as `name`.

        Raises:
            RuntimeError: no loop is running and none was given.
            ValueError: more than MAX_LOOPS names.
        """
        watched = loop or asyncio.get_running_loop()
        known = self._loops.get(name)
        if known is not None and known.loop is watched:
            return
        if name not in self._names and len(self._names) >= MAX_LOOPS:
            raise ValueError(f"got a further loop {name!r}, wanted at most {MAX_LOOPS} names of loops")
        self._names.add(name)
        watch = _Watch(watched, self._lags.labels(name))
        watched.call_soon_threadsafe(self._arm, watched, watch)
        self._loops[name] = watch
        if known is not None:
            known.ended = True

    def stop(self) -> None:
        """Let the probes end. Loops that are to be watched later on have to be told again."""
        for watch in list(self._loops.values()):
            watch.ended = True
        self._loops.clear()

    def read(self) -> Iterator[Reading]:
        """Yield tasks of the loops that live, and the lag of all."""
        tasks = []
        for name, watch in list(self._loops.items()):
            loop = watch.loop
            if loop is None:
                self._loops.pop(name, None)
                continue
            with suppress(RuntimeError):  # the set of tasks changed all the time while it was copied
                tasks.append((name, len(asyncio.all_tasks(loop))))
        if tasks:
            yield gauges("python_asyncio_tasks", "Tasks that have not ended.", "loop", tasks)
        if self._names:
            yield self._lags.read()

    def _arm(self, loop: asyncio.AbstractEventLoop, watch: _Watch) -> None:
        due = loop.time() + self._probe_s
        loop.call_at(due, self._probe, watch, due)

    def _probe(self, watch: _Watch, due: float) -> None:
        loop = watch.loop
        if loop is not None and not watch.ended:
            watch.lag.observe(max(0.0, loop.time() - due))
            self._arm(loop, watch)
