"""Whether a collector keeps ever more: objects, memory, threads, files, over many collections."""

from __future__ import annotations

import gc
import sys
import threading
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil

OBJECTS_EACH = 0.5
"""Objects that may stay for each collection, on average: one that keeps one each time is above it."""
OBJECTS_FREE = 100
BYTES_EACH = 128
"""Bytes of Python's memory that may stay for each collection that is traced."""
BYTES_FREE = 32 << 10
RSS_MORE = 32 << 20
HANDLES_MORE = 4
"""Threads, files, processes: pools that fill late."""
FLOOD = 100
"""Handles more than at the beginning: it is no use to go on."""
TRACED = 100
"""The last collections, in which every allocation is counted; that makes them slower."""
SETTLE = 3
"""Collections until what the one before left is counted, too."""
LOOK_EVERY = 50
FRAMES = 12
"""Of each allocation, when the lines are looked for."""
SEARCH = 100
"""Collections that look for the lines."""
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Held:
    """What the process holds at one time; `objects` are Python's small blocks of memory."""

    objects: int
    rss: int
    threads: int
    files: int
    processes: int


@dataclass(slots=True)
class Growth:
    """What has grown over `done` collections; of memory over the last `traced`; `lines` took it."""

    before: Held
    after: Held
    done: int = 0
    seconds: float = 0.0
    memory: int = 0
    traced: int = 0
    lines: list[str] = field(default_factory=list)

    @property
    def detail(self) -> str:
        """What was done and found, one line."""
        old, new = self.before, self.after
        rss = (new.rss - old.rss) / MIB
        return (
            f"{self.done:,} collections in {self.seconds:.1f} s: objects {new.objects - old.objects:+d},"
            f" memory {self.memory / 1024:+.0f} KiB in the last {self.traced}, RSS {rss:+.1f} MiB,"
            f" threads {new.threads - old.threads:+d}, files {new.files - old.files:+d}"
        )

    def findings(self) -> Iterator[str]:
        """Yield what has grown more than it may."""
        old, new, after = self.before, self.after, f"after {self.done:,} collections"
        allowed = int(OBJECTS_FREE + self.done * OBJECTS_EACH)
        if (more := new.objects - old.objects) > allowed:
            yield f"{more:,} objects more {after}, wanted at most {allowed:,}{self._where()}"
        if self.memory > (most := BYTES_FREE + self.traced * BYTES_EACH):
            kib = f"{self.memory / 1024:,.0f} KiB of memory more after {self.traced} collections"
            yield f"{kib}, wanted at most {most / 1024:,.0f}{self._where()}"
        if new.rss - old.rss > RSS_MORE:
            yield f"the process is {(new.rss - old.rss) / MIB:.0f} MiB larger {after}, wanted at most 32"
        for what in ("threads", "files", "processes"):
            more = getattr(new, what) - getattr(old, what)
            if more > HANDLES_MORE:
                yield f"{more} {what} more {after}, wanted at most {HANDLES_MORE}: are they closed?"

    def _where(self) -> str:
        return f"; kept by {', '.join(self.lines)}" if self.lines else ""


async def watch(
    collect: Callable[[], Awaitable[None]],
    processes: Callable[[], int],
    folder: Path,
    wanted: int,
    seconds: float,
) -> Growth:
    """Return what has grown over so many collections, or as many as there is time for.

    What a tenth as many before them keep does not count: caches fill,
    connections are made. What has grown too much is looked at once more: a
    leak goes on, and what Python keeps for later use does not.
    """
    growth = await _measured(collect, processes, wanted, seconds)
    if any(growth.findings()):
        growth = await _measured(collect, processes, growth.done, seconds / 2)
    if any(growth.findings()):
        growth.lines = await _search(collect, folder, min(SEARCH, growth.done), seconds / 4)
    return growth


async def _measured(
    collect: Callable[[], Awaitable[None]], processes: Callable[[], int], wanted: int, seconds: float
) -> Growth:
    began = time.monotonic()
    traced = min(TRACED, wanted // 2)
    await _collect(collect, max(1, min(100, wanted // 10)), began + seconds / 4)
    before = _held(processes())
    flooded = partial(_flooded, before, processes)
    done = await _collect(collect, wanted - traced, began + seconds / 2, flooded)
    growth = Growth(before, before, done)
    tracemalloc.start()
    try:
        await _collect(collect, SETTLE, began + seconds)
        first = _traced_bytes()
        growth.traced = await _collect(collect, 0 if flooded() else traced, began + seconds, flooded)
        growth.memory = _traced_bytes() - first
    finally:
        tracemalloc.stop()
    growth.done += growth.traced
    growth.after = _held(processes())
    growth.seconds = time.monotonic() - began
    return growth


async def _collect(
    collect: Callable[[], Awaitable[None]], times: int, until: float, stop: Callable[[], bool] = bool
) -> int:
    """Collect so often, or until it is late or told to stop; return how often."""
    for done in range(times):
        if time.monotonic() > until or (done and done % LOOK_EVERY == 0 and stop()):
            return done
        await collect()
    return times


async def _search(
    collect: Callable[[], Awaitable[None]], folder: Path, collections: int, seconds: float
) -> list[str]:
    """Return the project's lines that take memory and keep it."""
    tracemalloc.start(FRAMES)
    try:
        await _collect(collect, SETTLE, time.monotonic() + seconds)
        first = tracemalloc.take_snapshot()
        await _collect(collect, collections, time.monotonic() + seconds)
        gc.collect()
        return _grown_lines(first, tracemalloc.take_snapshot(), folder)
    finally:
        tracemalloc.stop()


def _traced_bytes() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def _held(processes: int) -> Held:
    gc.collect()
    process = psutil.Process()
    rss = process.memory_info().rss
    return Held(sys.getallocatedblocks(), rss, threading.active_count(), process.num_fds(), processes)


def _flooded(before: Held, processes: Callable[[], int]) -> bool:
    threads = threading.active_count() - before.threads
    files = psutil.Process().num_fds() - before.files
    return max(threads, files, processes() - before.processes) > FLOOD


def _grown_lines(first: tracemalloc.Snapshot, last: tracemalloc.Snapshot, folder: Path) -> list[str]:
    """Return the project's lines under which most memory was taken and is still held."""
    grown: dict[str, int] = {}
    inside = str(folder.resolve())
    for difference in last.compare_to(first, "traceback"):
        own = [frame for frame in difference.traceback if frame.filename.startswith(inside)]
        if own and difference.size_diff > 0:
            line = f"{Path(own[-1].filename).name}:{own[-1].lineno}"
            grown[line] = grown.get(line, 0) + difference.size_diff
    most = max(grown.values(), default=0)
    return sorted((line for line in grown if grown[line] > most / 10), key=lambda line: -grown[line])[:3]
