"""The modules of runtime metrics as one collector of a registry."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Protocol

from metricsmith.sdk.reading import Reading
from metricsmith.sdk.registry import REGISTRY, Registry
from metricsmith.sdk.runtime_metrics.allocations import AllocationMetrics
from metricsmith.sdk.runtime_metrics.event_loop import EventLoopMetrics
from metricsmith.sdk.runtime_metrics.garbage import GarbageMetrics
from metricsmith.sdk.runtime_metrics.jvm import as_of_a_jvm
from metricsmith.sdk.runtime_metrics.memory import MemoryMetrics
from metricsmith.sdk.runtime_metrics.process import ProcessMetrics
from metricsmith.sdk.runtime_metrics.threads import ThreadMetrics
from metricsmith.sdk.settings import DEFAULT_MODULES, MODULES

JVM = "jvm"
_BEHIND_JVM = ("memory", "gc", "threads")
_MAKERS = {
    "process": ProcessMetrics,
    "memory": MemoryMetrics,
    "gc": GarbageMetrics,
    "threads": ThreadMetrics,
    "asyncio": EventLoopMetrics,
    "allocations": AllocationMetrics,
}


class _Module(Protocol):
    def read(self) -> Iterator[Reading]: ...


class RuntimeMetrics:
    """A collector of what the process tells of itself."""

    def __init__(self, modules: Iterable[str] = DEFAULT_MODULES) -> None:
        """`modules` are some of MODULES.

        Raises:
            ValueError: there is no module of that name.
        """
        self.modules = tuple(dict.fromkeys(modules))
        for name in self.modules:
            if name not in MODULES:
                raise ValueError(f"got the module {name!r}, wanted some of {', '.join(MODULES)}")
        needed = {*self.modules, *(_BEHIND_JVM if JVM in self.modules else ())} - {JVM}
        self._parts: dict[str, _Module] = {name: make() for name, make in _MAKERS.items() if name in needed}
        self._registry: Registry | None = None

    def start(self, registry: Registry = REGISTRY) -> None:
        """Register, and begin to hear of what modules must hear of."""
        if self._registry is None:
            registry.register(self)
            self._registry = registry
            for part in self._parts.values():
                if isinstance(part, GarbageMetrics | AllocationMetrics):
                    part.start()

    def stop(self) -> None:
        """Leave the registry, and hear of nothing more."""
        if self._registry is not None:
            self._registry.unregister(self)
            self._registry = None
            for part in self._parts.values():
                if isinstance(part, GarbageMetrics | AllocationMetrics | EventLoopMetrics):
                    part.stop()

    def watch_event_loop(self, name: str = "main", loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Measure tasks and lag of an event loop, the running one unless another is given.

        Nothing happens when the module `asyncio` is off.

        Raises:
            RuntimeError: no loop is running and none was given.
        """
        part = self._parts.get("asyncio")
        if isinstance(part, EventLoopMetrics):
            part.watch(name, loop)

    def read(self) -> Iterator[Reading]:
        """Yield what the modules read, the names of a JVM last."""
        for name, part in self._parts.items():
            readings = list(part.read())
            if name in self.modules:
                yield from readings
            if JVM in self.modules and name in _BEHIND_JVM:
                yield from as_of_a_jvm(readings)

    def describe(self) -> tuple[()]:
        """Return nothing: a registry need not read everything to learn the names."""
        return ()
