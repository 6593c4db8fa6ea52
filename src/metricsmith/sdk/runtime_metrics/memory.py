"""The heap in use and its maximum.

CPython asks the system for its objects' memory as anonymous pages, so what of these is resident is the heap
in use; files and shared memory are not. The maximum is the smallest of the limits that would end the process.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from metricsmith.sdk.reading import Reading
from metricsmith.sdk.runtime_metrics.families import gauge, gauges

_NO_LIMIT = 1 << 60
"""Version 1 of control groups says "no limit" as the largest multiple of a page."""


class MemoryMetrics:
    """Heap, the rest, and limits."""

    def read(self) -> Iterator[Reading]:
        """Yield what can be read here."""
        status = process_status()
        if "RssAnon" in status:
            yield gauge(
                "python_memory_heap_used_bytes", "Resident anonymous memory: objects.", status["RssAnon"]
            )
            other = status.get("RssFile", 0) + status.get("RssShmem", 0)
            yield gauge("python_memory_non_heap_used_bytes", "Resident files and shared memory.", other)
        limits = memory_limits()
        if limits:
            most = min(limits.values())
            yield gauge("python_memory_heap_max_bytes", "Smallest of the limits of memory.", most)
            help = "Limits of memory, by what sets them."
            yield gauges("process_memory_limit_bytes", help, "limit", limits.items())


def process_status(file: str = "/proc/self/status") -> dict[str, int]:
    """Return memory in bytes, and threads, by the names that Linux gives them."""
    if sys.platform != "linux":
        return portable_status()
    found = {}
    try:
        with open(file, "rb") as lines:
            for line in lines:
                name, _, rest = line.partition(b":")
                if name.startswith((b"Vm", b"Rss")):
                    found[name.decode()] = int(rest.split()[0]) * 1024
                elif name == b"Threads":
                    found["Threads"] = int(rest)
    except (OSError, ValueError, IndexError):
        return {}
    return found


def portable_status() -> dict[str, int]:
    """Return the same from psutil; there all that is resident counts as heap."""
    import psutil

    process = psutil.Process()
    memory = process.memory_info()
    sizes = {"VmSize": memory.vms, "VmRSS": memory.rss, "RssAnon": memory.rss}
    return {**sizes, "Threads": process.num_threads()}


def memory_limits() -> dict[str, int]:
    """Return limits in bytes: `cgroup`, `address_space` and `data` where set, and the `machine`'s memory."""
    limits = {}
    group = cgroup_limit()
    if group is not None:
        limits["cgroup"] = group
    for name, which in (("address_space", resource.RLIMIT_AS), ("data", resource.RLIMIT_DATA)):
        soft = resource.getrlimit(which)[0]
        if soft != resource.RLIM_INFINITY:
            limits[name] = soft
    with suppress(ValueError, OSError):
        limits["machine"] = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return limits


def cgroup_limit(
    groups: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """Return the memory limit of this process's control group and those above it, versions 1 and 2.

    In a container the path is often that of the host, and what is mounted is the
    container's own group: so the root is looked at, too.
    """
    found = []
    for number, controllers, path in _memberships(groups):
        if number == "0" and not controllers:
            found += _limits(mounted, path, "memory.max")
        elif "memory" in controllers.split(","):
            found += _limits(mounted / "memory", path, "memory.limit_in_bytes")
    return min(found, default=None)


def _memberships(groups: Path) -> Iterator[tuple[str, str, str]]:
    try:
        lines = groups.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        yield number, controllers, path


def _limits(root: Path, path: str, file: str) -> list[int]:
    group = root / path.strip("/")
    if ".." in group.parts:  # a group outside of what this container sees
        group = root
    found = []
    for each in (group, *group.parents):
        try:
            text = (each / file).read_text().strip()
        except OSError:
            text = ""
        if text.isdigit() and int(text) < _NO_LIMIT:
            found.append(int(text))
        if each == root:
            break
    return found
