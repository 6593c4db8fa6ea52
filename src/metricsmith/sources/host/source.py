"""The `host` source: CPU, memory, file systems, network, processes and load of the machine."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar, TypeAlias, TypeVar

from metricsmith.contracts import Context
from metricsmith.model.batch import Batch
from metricsmith.model.findings import Findings
from metricsmith.model.labels import encode_labels
from metricsmith.sources.host import devices
from metricsmith.sources.host.filesystems import FileSystems, Space
from metricsmith.sources.host.metrics import METADATA
from metricsmith.sources.host.portable import Portable
from metricsmith.sources.host.procfs import Procfs
from metricsmith.sources.host.readings import Machine, Mount
from metricsmith.sources.host.settings import Device, Group, HostConfig
from metricsmith.sources.host.traffic import Total
from metricsmith.sources.stream import SeriesStream

log = logging.getLogger(__name__)

SERVICE = "system"
LOOPBACK = ("lo", "lo0")
IDLE_MODES = ("idle", "iowait")
Name: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]
"""A metric's name and the labels that tell its series apart."""
Value: TypeAlias = tuple[Name, float]
T = TypeVar("T")


class HostSource:
    """Reads the machine each time that it is asked. What cannot be read is counted, the rest is told."""

    Config: ClassVar[type[HostConfig]] = HostConfig

    @classmethod
    async def examine(cls, config: HostConfig, context: Context, findings: Findings) -> None:
        """Read the machine once."""
        from metricsmith.sources.host.examination import examine

        await examine(config, context, findings)

    def __init__(self, config: HostConfig, context: Context, machine: Machine | None = None) -> None:
        self.interval_ms = config.interval
        self._config, self._context = config, context
        self._machine = machine or machine_of(config)
        self._file_systems = FileSystems()
        self._received, self._sent = Total(), Total()
        # Read now, so that the first reading has a usage: it is that of the time since.
        cpus = self._try("cpu", self._machine.cpus) if "cpu_usage" in config.groups else None
        self._cpu = None if cpus is None else cpus.total
        self._stream = SeriesStream[Name](context.name, context.series, METADATA, self._key)

    def collect(self, now_ms: int) -> Batch:
        """Return what is true now; series that were there the last time and have gone get markers."""
        found = list(self._values())
        batch = self._stream.batch([name for name, _ in found], [number for _, number in found], now_ms)
        self._stream.accepted()  # whether it is, nobody tells a polled source
        return batch

    def _values(self) -> Iterator[Value]:
        yield from self._cpus()
        yield from self._memory()
        yield from self._disk_usage()
        yield from self._network()
        yield from self._rest()

    def _wants(self, group: Group | None, device: Device) -> bool:
        return group in self._config.groups or device in self._config.devices

    def _cpus(self) -> Iterator[Value]:
        cpus = self._try("cpu", self._machine.cpus) if self._wants("cpu_usage", "cpu") else None
        if cpus is None:
            return
        if "cpu_usage" in self._config.groups:
            yield from self._cpu_usage(cpus.total)
        if "cpu" in self._config.devices:
            yield from devices.cpus(cpus, self._config.cpus)

    def _cpu_usage(self, now: Mapping[str, float]) -> Iterator[Value]:
        """Yield the share of the time since the last reading that no CPU was idle in."""
        last, self._cpu = self._cpu, now
        if last is None:
            return
        # The kernel's iowait may fall a little; a mode never takes back time.
        spent = {mode: max(0.0, now[mode] - last.get(mode, 0.0)) for mode in now}
        total = sum(spent.values())
        if total > 0:
            idle = sum(spent.get(mode, 0.0) for mode in IDLE_MODES)
            yield _plain("cpu_usage_percent", 100 * (total - idle) / total)

    def _memory(self) -> Iterator[Value]:
        memory = self._try("memory", self._machine.memory) if self._wants("memory_usage", "memory") else None
        if memory is None:
            return
        if "memory_usage" in self._config.groups:
            used = memory.total - memory.available
            yield _plain("memory_usage_bytes", used)
            yield _plain("memory_usage_percent", 100 * used / memory.total)
        if "memory" in self._config.devices:
            yield from devices.memory(memory)

    def _disk_usage(self) -> Iterator[Value]:
        whole = "disk_usage" in self._config.groups
        mounts = self._mounts() if "filesystem" in self._config.devices else []
        root = self._machine.root
        paths = [*([root] if whole else []), *(mount.path for mount in mounts)]
        if not paths:
            return
        spaces = self._file_systems.read(paths, self._config.mount_timeout / 1000)
        for path, space in spaces.items():
            if not isinstance(space, Space):
                why = "gave no answer in time" if space is None else str(space.strerror)
                reason = "timeout" if space is None else "unreadable"
                self._failed("filesystem", reason, f"{path}: {why}", path)
        root_space = spaces.get(root)
        if whole and isinstance(root_space, Space):
            used = root_space.size_bytes - root_space.free_bytes
            yield _plain("disk_usage_bytes", used)
            if used + root_space.available_bytes > 0:
                yield _plain("disk_usage_percent", 100 * used / (used + root_space.available_bytes))
        found = {mount: space for mount in mounts if isinstance(space := spaces[mount.path], Space)}
        yield from devices.file_systems(found)

    def _mounts(self) -> list[Mount]:
        config = self._config
        found = self._try("mounts", self._machine.mounts) or []
        return [m for m in found if config.filesystem_types.wants(m.type) and config.mounts.wants(m.point)]

    def _network(self) -> Iterator[Value]:
        wanted = self._wants("network_io", "network")
        traffic = self._try("network", self._machine.interfaces) if wanted else None
        if traffic is None:
            return
        if "network_io" in self._config.groups:
            counted = {name: t for name, t in traffic.items() if name not in LOOPBACK}
            yield _plain("network_rx_bytes", self._received.add({n: t.rx_bytes for n, t in counted.items()}))
            yield _plain("network_tx_bytes", self._sent.add({n: t.tx_bytes for n, t in counted.items()}))
        if "network" in self._config.devices:
            yield from devices.interfaces(traffic, self._config.interfaces)

    def _rest(self) -> Iterator[Value]:
        disks = self._try("disk", self._machine.disks) if self._wants(None, "disk") else None
        if disks is not None:
            yield from devices.disks(disks, self._config.disks)
        counted = "process_count" in self._config.groups
        processes = self._try("processes", self._machine.processes) if counted else None
        if processes is not None:
            yield _plain("process_count", processes)
        load = self._try("load", self._machine.load)
        for minutes, average in zip((1, 5, 15), load or (), strict=False):
            yield _plain(f"load_average_{minutes}m", average)

    def _try(self, part: str, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except (OSError, ValueError, IndexError) as error:
            reason = "unreadable" if isinstance(error, OSError) else "malformed"
            self._failed(part, reason, f"{part}: {error}")
            return None

    def _failed(self, part: str, reason: str, message: str, subject: str = "") -> None:
        self._context.telemetry.problem(
            log,
            "metricsmith_host_failures_total",
            f"{self._context.name}: {message}",
            subject=subject,
            source=self._context.name,
            part=part,
            reason=reason,
        )

    def _key(self, name: Name) -> bytes:
        metric, labels = name
        return encode_labels({**self._config.labels, **dict(labels), "service": SERVICE, "__name__": metric})


def machine_of(config: HostConfig) -> Machine:
    """Return the machine to read: in a container the one that runs it, where its /proc is mounted."""
    if not sys.platform.startswith("linux"):
        return Portable()
    proc = config.proc_path or ("/host/proc" if Path("/host/proc/stat").exists() else "/proc")
    root = config.host_root or ("/host/root" if Path("/host/root").is_dir() else "/")
    return Procfs(proc, root)


def _plain(name: str, value: float) -> Value:
    return (name, ()), value
