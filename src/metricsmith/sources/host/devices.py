"""Series of single CPUs, interfaces, disks and file systems."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from metricsmith.sources.host.filesystems import Space
from metricsmith.sources.host.readings import Cpus, Disk, Memory, Mount, Traffic
from metricsmith.sources.name_filter import Filter

Labels: TypeAlias = tuple[tuple[str, str], ...]
Values: TypeAlias = Iterator[tuple[tuple[str, Labels], float]]


def cpus(found: Cpus, wanted: Filter) -> Values:
    """Yield the time of each CPU by mode."""
    for cpu, modes in found.each.items():
        if wanted.wants(cpu):
            for mode, seconds in modes.items():
                yield ("host_cpu_seconds_total", (("cpu", cpu), ("mode", mode))), seconds


def memory(found: Memory) -> Values:
    """Yield memory and swap."""
    yield ("host_memory_total_bytes", ()), found.total
    yield ("host_memory_available_bytes", ()), found.available
    yield ("host_swap_total_bytes", ()), found.swap_total
    yield ("host_swap_free_bytes", ()), found.swap_free


def file_systems(found: Mapping[Mount, Space]) -> Values:
    """Yield size and space of each file system."""
    for mount, space in found.items():
        labels = (("device", mount.device), ("fstype", mount.type), ("mountpoint", mount.point))
        yield ("host_filesystem_size_bytes", labels), space.size_bytes
        yield ("host_filesystem_free_bytes", labels), space.free_bytes
        yield ("host_filesystem_available_bytes", labels), space.available_bytes
        yield ("host_filesystem_files", labels), space.files
        yield ("host_filesystem_files_free", labels), space.files_free


def interfaces(found: Mapping[str, Traffic], wanted: Filter) -> Values:
    """Yield the counters of each network interface as the system has them: they may begin anew."""
    for name, traffic in found.items():
        if wanted.wants(name):
            labels = (("device", name),)
            yield ("host_network_receive_bytes_total", labels), traffic.rx_bytes
            yield ("host_network_transmit_bytes_total", labels), traffic.tx_bytes
            yield ("host_network_receive_packets_total", labels), traffic.rx_packets
            yield ("host_network_transmit_packets_total", labels), traffic.tx_packets
            yield ("host_network_receive_errors_total", labels), traffic.rx_errors
            yield ("host_network_transmit_errors_total", labels), traffic.tx_errors
            yield ("host_network_receive_drops_total", labels), traffic.rx_dropped
            yield ("host_network_transmit_drops_total", labels), traffic.tx_dropped


def disks(found: Mapping[str, Disk], wanted: Filter) -> Values:
    """Yield the counters of each disk."""
    for name, disk in found.items():
        if wanted.wants(name):
            labels = (("device", name),)
            yield ("host_disk_reads_total", labels), disk.reads
            yield ("host_disk_read_bytes_total", labels), disk.read_bytes
            yield ("host_disk_writes_total", labels), disk.writes
            yield ("host_disk_written_bytes_total", labels), disk.written_bytes
            yield ("host_disk_busy_seconds_total", labels), disk.busy_s
