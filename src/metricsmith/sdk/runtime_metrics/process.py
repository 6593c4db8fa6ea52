"""The process as its system sees it: CPU, files, start, and the names that prometheus_client gives these."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from metricsmith.sdk.reading import Reading
from metricsmith.sdk.runtime_metrics.families import counter, gauge
from metricsmith.sdk.runtime_metrics.memory import process_status

MIN_USAGE_S = 1.0
"""CPU usage is of at least so long a time; who reads more often reads the last figure again."""


class ProcessMetrics:
    """CPU time and usage, memory of the process, open files, start time."""

    def __init__(
        self, monotonic: Callable[[], float] = time.monotonic, cpu: Callable[[], float] = time.process_time
    ) -> None:
        self._monotonic, self._cpu = monotonic, cpu
        self._at, self._used = monotonic(), cpu()
        self._usage = 0.0
        self._start = start_time()

    def read(self) -> Iterator[Reading]:
        """Yield what can be read here."""
        yield counter("process_cpu_seconds", "CPU time of user and system, in seconds.", self._cpu())
        yield gauge(
            "process_cpu_usage",
            "CPU time over the time passed, of all CPUs it may use: 0 to 1.",
            self.usage(),
        )
        status = process_status()
        for name, field, help in (
            ("process_virtual_memory_bytes", "VmSize", "Virtual memory size in bytes."),
            ("process_resident_memory_bytes", "VmRSS", "Resident memory size in bytes."),
        ):
            if field in status:
                yield gauge(name, help, status[field])
        if self._start is not None:
            yield gauge(
                "process_start_time_seconds", "Start of the process, Unix time in seconds.", self._start
            )
        with suppress(OSError):
            open_fds = len(os.listdir("/dev/fd")) - 1  # noqa: PTH208  (less the one that looks)
            yield gauge("process_open_fds", "Open file descriptors.", open_fds)
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if most != resource.RLIM_INFINITY:
            yield gauge("process_max_fds", "Most file descriptors that may be open.", most)

    def usage(self) -> float:
        """Return the share of the CPUs used since it was last asked for, MIN_USAGE_S ago or longer."""
        now = self._monotonic()
        if now - self._at >= MIN_USAGE_S:
            used = self._cpu()
            self._usage = max(0.0, (used - self._used) / (now - self._at) / usable_cpus())
            self._at, self._used = now, used
        return self._usage


def usable_cpus() -> int:
    """Return the number of CPUs that this process may run on."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


def start_time() -> float | None:
    """Return when the process started, in Unix seconds, or None where that cannot be known."""
    if sys.platform != "linux":
        import psutil

        return psutil.Process().create_time()
    try:
        with open("/proc/self/stat", "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[19])
        with open("/proc/stat", "rb") as file:
            boot = next(int(line.split()[1]) for line in file if line.startswith(b"btime "))
    except (OSError, ValueError, IndexError, StopIteration):
        return None
    return boot + ticks / os.sysconf("SC_CLK_TCK")
