"""What can be read of a machine, whatever the system."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Cpus:
    """Seconds since the start of the machine by mode: of all CPUs together, and of each by its number."""

    total: Mapping[str, float]
    each: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes. Available is what programs can get without swapping."""

    total: int
    available: int
    swap_total: int
    swap_free: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """Of one network interface, since it is there."""

    rx_bytes: int
    tx_bytes: int
    rx_packets: int
    tx_packets: int
    rx_errors: int
    tx_errors: int
    rx_dropped: int
    tx_dropped: int


@dataclass(frozen=True, slots=True)
class Disk:
    """Of one disk, since the start of the machine."""

    reads: int
    read_bytes: int
    writes: int
    written_bytes: int
    busy_s: float


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system; `path` is where the agent finds it, `point` where the machine has it."""

    device: str
    point: str
    type: str
    path: str


class Machine(Protocol):
    """Reads a machine; an OSError or ValueError means that it cannot be read now."""

    root: str
    """The machine's `/` as the agent finds it."""

    def cpus(self) -> Cpus: ...
    def memory(self) -> Memory: ...
    def load(self) -> tuple[float, float, float]: ...
    def processes(self) -> int: ...
    def interfaces(self) -> Mapping[str, Traffic]: ...
    def disks(self) -> Mapping[str, Disk]: ...
    def mounts(self) -> list[Mount]: ...
