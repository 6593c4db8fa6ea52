"""Systems without /proc: what psutil says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psutil

from metricsmith.sources.host.readings import Cpus, Disk, Memory, Mount, Traffic


class Portable:
    """The machine that the agent runs on."""

    root = "/"

    def cpus(self) -> Cpus:
        """Return CPU times."""
        each = {str(i): _modes(times) for i, times in enumerate(psutil.cpu_times(percpu=True))}
        return Cpus(_modes(psutil.cpu_times()), each)

    def memory(self) -> Memory:
        """Return memory and swap."""
        memory, swap = psutil.virtual_memory(), psutil.swap_memory()
        return Memory(memory.total, memory.available, swap.total, swap.free)

    def load(self) -> tuple[float, float, float]:
        """Return the three load averages."""
        return psutil.getloadavg()

    def processes(self) -> int:
        """Return the number of processes."""
        return len(psutil.pids())

    def interfaces(self) -> Mapping[str, Traffic]:
        """Return the traffic of each network interface; wraps are for those who read it."""
        found = psutil.net_io_counters(pernic=True, nowrap=False)
        return {
            name: Traffic(
                n.bytes_recv,
                n.bytes_sent,
                n.packets_recv,
                n.packets_sent,
                n.errin,
                n.errout,
                n.dropin,
                n.dropout,
            )
            for name, n in found.items()
        }

    def disks(self) -> Mapping[str, Disk]:
        """Return what was read and written of each disk."""
        found = psutil.disk_io_counters(perdisk=True, nowrap=False) or {}
        return {
            name: Disk(
                n.read_count,
                n.read_bytes,
                n.write_count,
                n.write_bytes,
                getattr(n, "busy_time", n.read_time + n.write_time) / 1000,
            )
            for name, n in found.items()
        }

    def mounts(self) -> list[Mount]:
        """Return what is mounted."""
        return [
            Mount(p.device, p.mountpoint, p.fstype, p.mountpoint) for p in psutil.disk_partitions(all=True)
        ]


def _modes(times: Any) -> dict[str, float]:
    return {mode: value for mode, value in times._asdict().items() if not mode.startswith("guest")}
