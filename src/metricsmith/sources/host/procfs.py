"""Linux: what /proc says, wherever it is mounted.

psutil has one path of /proc for the whole process, and takes the network of the namespace that it runs in.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from metricsmith.sources.host.readings import Cpus, Disk, Memory, Mount, Traffic

MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
SECTOR_BYTES = 512
"""Of the kernel's statistics, whatever a disk has."""
MAX_BYTES = 16 << 20
_OCTAL = re.compile(r"\\([0-7]{3})")


class Procfs:
    """A Linux machine. `proc` and `root` are where its /proc and its / are found."""

    def __init__(self, proc: str, root: str) -> None:
        self.root = root
        self._proc = Path(proc)
        # In a container the machine's own namespaces are those of its first process.
        self._first = self._proc / "1" if proc != "/proc" else self._proc / "self"

    def cpus(self) -> Cpus:
        """Return CPU times; time of guests is in user and nice already."""
        each: dict[str, Mapping[str, float]] = {}
        total: Mapping[str, float] = {}
        for line in self._text(self._proc / "stat").splitlines():
            name, *ticks = line.split()
            if not name.startswith("cpu"):
                break
            times = {mode: int(t) / TICKS_PER_S for mode, t in zip(MODES, ticks, strict=False)}
            if name == "cpu":
                total = times
            else:
                each[name.removeprefix("cpu")] = times
        if not total:
            raise ValueError(f"{self._proc}/stat has no CPUs")
        return Cpus(total, each)

    def memory(self) -> Memory:
        """Return memory and swap."""
        found = {}
        for line in self._text(self._proc / "meminfo").splitlines():
            name, _, rest = line.partition(":")
            found[name] = rest
        names = ("MemTotal", "MemAvailable", "SwapTotal", "SwapFree")
        missing = [name for name in names if name not in found]
        if missing:
            raise ValueError(f"{self._proc}/meminfo has no {', '.join(missing)}")
        memory = Memory(*(int(found[name].split()[0]) * 1024 for name in names))
        if memory.total <= 0:
            raise ValueError(f"{self._proc}/meminfo says that there is no memory")
        return memory

    def load(self) -> tuple[float, float, float]:
        """Return the three load averages."""
        one, five, fifteen = self._text(self._proc / "loadavg").split()[:3]
        return float(one), float(five), float(fifteen)

    def processes(self) -> int:
        """Return the number of processes."""
        return sum(name.isdigit() for name in os.listdir(self._proc))  # noqa: PTH208 - a name needs no Path

    def interfaces(self) -> Mapping[str, Traffic]:
        """Return the traffic of each network interface of the machine."""
        found = {}
        for line in self._text(self._first / "net" / "dev").splitlines()[2:]:
            name, _, rest = line.rpartition(":")
            n = [int(field) for field in rest.split()]
            found[name.strip()] = Traffic(n[0], n[8], n[1], n[9], n[2], n[10], n[3], n[11])
        return found

    def disks(self) -> Mapping[str, Disk]:
        """Return what was read and written of each block device."""
        found = {}
        for line in self._text(self._proc / "diskstats").splitlines():
            _, _, name, *rest = line.split()
            n = [int(field) for field in rest]
            found[name] = Disk(n[0], n[2] * SECTOR_BYTES, n[4], n[6] * SECTOR_BYTES, n[9] / 1000)
        return found

    def mounts(self) -> list[Mount]:
        """Return what is mounted, the last at each point: it hides those before."""
        found = {}
        for line in self._text(self._first / "mounts").splitlines():
            device, point, type_, *_ = (_OCTAL.sub(_character, field) for field in line.split(" "))
            path = point if self.root == "/" else f"{self.root.rstrip('/')}{point}"
            found[point] = Mount(device, point, type_, path)
        return list(found.values())

    def _text(self, path: Path) -> str:
        with path.open("rb") as file:
            return file.read(MAX_BYTES).decode(errors="replace")


def _character(match: re.Match[str]) -> str:
    return chr(int(match[1], 8))
