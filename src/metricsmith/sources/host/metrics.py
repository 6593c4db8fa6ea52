"""The metrics of the `host` source besides the well-known ones: type, unit, help."""

from __future__ import annotations

from collections.abc import Mapping

from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.model.well_known import WELL_KNOWN


def _gauge(help: str, unit: str = "") -> Metadata:
    return Metadata(MetricType.GAUGE, unit, help)


def _counter(help: str, unit: str = "") -> Metadata:
    return Metadata(MetricType.COUNTER, unit, help)


DEVICE_METRICS: Mapping[str, Metadata] = {
    "host_cpu_seconds_total": _counter("Time of each CPU in each mode.", "seconds"),
    "host_memory_total_bytes": _gauge("Memory of the machine.", "bytes"),
    "host_memory_available_bytes": _gauge("Memory that programs can get without swapping.", "bytes"),
    "host_swap_total_bytes": _gauge("Swap space.", "bytes"),
    "host_swap_free_bytes": _gauge("Swap space that is free.", "bytes"),
    "host_filesystem_size_bytes": _gauge("Size of a file system.", "bytes"),
    "host_filesystem_free_bytes": _gauge("Free bytes, those only root may use included.", "bytes"),
    "host_filesystem_available_bytes": _gauge("Bytes that ordinary users can write.", "bytes"),
    "host_filesystem_files": _gauge("Files that a file system can have."),
    "host_filesystem_files_free": _gauge("Files that can still be made."),
    "host_network_receive_bytes_total": _counter("Bytes received.", "bytes"),
    "host_network_transmit_bytes_total": _counter("Bytes sent.", "bytes"),
    "host_network_receive_packets_total": _counter("Packets received."),
    "host_network_transmit_packets_total": _counter("Packets sent."),
    "host_network_receive_errors_total": _counter("Packets received with errors."),
    "host_network_transmit_errors_total": _counter("Packets that could not be sent."),
    "host_network_receive_drops_total": _counter("Received packets that were dropped."),
    "host_network_transmit_drops_total": _counter("Packets dropped before they were sent."),
    "host_disk_reads_total": _counter("Reads completed."),
    "host_disk_read_bytes_total": _counter("Bytes read.", "bytes"),
    "host_disk_writes_total": _counter("Writes completed."),
    "host_disk_written_bytes_total": _counter("Bytes written.", "bytes"),
    "host_disk_busy_seconds_total": _counter("Time in which a disk had something to do.", "seconds"),
}
SYSTEM_METRICS = (
    "cpu_usage_percent",
    "memory_usage_bytes",
    "memory_usage_percent",
    "disk_usage_bytes",
    "disk_usage_percent",
    "network_rx_bytes",
    "network_tx_bytes",
    "process_count",
    "load_average_1m",
    "load_average_5m",
    "load_average_15m",
)
METADATA: Mapping[str, Metadata] = {**{name: WELL_KNOWN[name] for name in SYSTEM_METRICS}, **DEVICE_METRICS}
