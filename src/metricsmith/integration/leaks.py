"""Whether a collector keeps ever more: objects, memory, threads, files, over many collections."""

from __future__ import annotations

import gc
import threading
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

OBJECTS_EACH = 0.5
"""Objects that may stay for each collection, on average: one that keeps one each time is above it."""
BYTES_EACH = 128
"""Bytes of Python's memory that may stay for each collection."""
BYTES_FREE = 64 << 10
"""Whatever the number of collections: caches that fill once."""
RSS_MORE = 32 << 20
HANDLES_MORE = 4
"""Threads, files, processes: pools that fill late."""
FLOOD = 100
"""Handles more than at the beginning: it is no use to go on."""
LOOK_EVERY = 50
FRAMES = 12
"""Of each allocation, when the lines are looked for; that makes collections four times slower."""
SEARCH = 200
"""Collections that look for the lines."""
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Held:
    """What the process holds at one time."""

    objects: int
    memory: int
    rss: int
    threads: int
    files: int
    processes: int


@dataclass(slots=True)
class Growth:
    """What has grown over `done` of `wanted` collections; `lines` are where the memory was taken."""

    wanted: int
    done: int = 0
    seconds: float = 0.0
    before: Held | None = None
    after: Held | None = None
    lines: list[str] = field(default_factory=list)

    @property
    def detail(self) -> str:
        """What was done and found, one line."""
        if self.before is None or self.after is None:
            return f"{self.done} collections"
        objects, memory = self.after.objects - self.before.objects, self.after.memory - self.before.memory
        return (
            f"{self.done:,} collections in {self.seconds:.1f} s: objects {objects:+d}, memory"
            f" {memory / 1024:+.0f} KiB, RSS {(self.after.rss - self.before.rss) / MIB:+.1f} MiB,"
            f" threads {self.after.threads - self.before.threads:+d},"
            f" files {self.after.files - self.before.files:+d}"
        )

    def findings(self) -> Iterator[str]:
        """Yield what has grown more than it may."""
        if self.before is None or self.after is None:
            return
        old, new = self.before, self.after
        after = f"after {self.done:,} collections"
        allowed = int(max(100.0, self.done * OBJECTS_EACH))
        if (more := new.objects - old.objects) > allowed:
            yield f"{more:,} objects more {after}, wanted at most {allowed:,}{self._where()}"
        bytes_allowed = BYTES_FREE + self.done * BYTES_EACH
        if new.memory - old.memory > bytes_allowed:
            kib, most = (new.memory - old.memory) / 1024, bytes_allowed / 1024
            yield f"{kib:,.0f} KiB of memory more {after}, wanted at most {most:,.0f}{self._where()}"
        if new.rss - old.rss > RSS_MORE:
            yield f"the process is {(new.rss - old.rss) / MIB:.0f} MiB larger {after}, wanted at most 32"
        for what in ("threads", "files", "processes"):
            more = getattr(new, what) - getattr(old, what)
            if more > HANDLES_MORE:
                yield f"{more} {what} more {after}, wanted at most {HANDLES_MORE}: are they closed?"

    def _where(self) -> str:
        return f"; most of it from {', '.join(self.lines)}" if self.lines else ""


async def watch(
    collect: Callable[[], Awaitable[None]],
    processes: Callable[[], int],
    folder: Path,
    wanted: int,
    seconds: float,
) -> Growth:
    """Return what has grown over so many collections, or as many as there is time for.

    What the first tenth of them keeps does not count: caches fill, connections are made.
    """
    growth = Growth(wanted)
    began = time.monotonic()
    for _ in range(max(1, min(100, wanted // 10))):
        await collect()
        if time.monotonic() - began > seconds / 2:
            break
    tracemalloc.start()
    try:
        growth.before = _held(processes())
        while growth.done < wanted and time.monotonic() - began < seconds:
            await collect()
            growth.done += 1
            if growth.done % LOOK_EVERY == 0 and _flooded(growth.before, processes()):
                break
        growth.after = _held(processes())
    finally:
        tracemalloc.stop()
    growth.seconds = time.monotonic() - began
    if any(growth.findings()):
        growth.lines = await _search(collect, folder, min(SEARCH, growth.done), seconds)
    return growth


async def _search(
    collect: Callable[[], Awaitable[None]], folder: Path, collections: int, seconds: float
) -> list[str]:
    """Return the project's lines that take memory and keep it."""
    until = time.monotonic() + seconds
    tracemalloc.start(FRAMES)
    try:
        first = tracemalloc.take_snapshot()
        for _ in range(collections):
            await collect()
            if time.monotonic() > until:
                break
        gc.collect()
        return _grown_lines(first, tracemalloc.take_snapshot(), folder)
    finally:
        tracemalloc.stop()


def _held(processes: int) -> Held:
    gc.collect()
    process = psutil.Process()
    memory, _ = tracemalloc.get_traced_memory()
    return Held(
        len(gc.get_objects()),
        memory,
        process.memory_info().rss,
        threading.active_count(),
        process.num_fds(),
        processes,
    )


def _flooded(before: Held, processes: int) -> bool:
    threads = threading.active_count() - before.threads
    return max(threads, psutil.Process().num_fds() - before.files, processes - before.processes) > FLOOD


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
