"""Metrics whose meaning is agreed although messages do not carry it: type, unit and help.

A message says only name and value, but a counter must be exposed as one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from metricsmith.model.metadata import Metadata, MetricType


def _gauge(help: str, unit: str = "") -> Metadata:
    return Metadata(MetricType.GAUGE, unit, help)


def _counter(help: str, unit: str = "") -> Metadata:
    return Metadata(MetricType.COUNTER, unit, help)


WELL_KNOWN: Mapping[str, Metadata] = {
    "cpu_usage_percent": _gauge("CPU usage percentage", "percent"),
    "memory_usage_bytes": _gauge("Memory usage in bytes", "bytes"),
    "memory_usage_percent": _gauge("Memory usage percentage", "percent"),
    "disk_usage_bytes": _gauge("Disk usage in bytes", "bytes"),
    "disk_usage_percent": _gauge("Disk usage percentage", "percent"),
    "network_rx_bytes": _counter("Bytes received over the network", "bytes"),
    "network_tx_bytes": _counter("Bytes sent over the network", "bytes"),
    "process_count": _gauge("Number of processes"),
    "load_average_1m": _gauge("Load average over 1 minute"),
    "load_average_5m": _gauge("Load average over 5 minutes"),
    "load_average_15m": _gauge("Load average over 15 minutes"),
    "message_count": _counter("Total number of messages processed"),
    "message_rate": _gauge("Messages processed per second"),
    "queue_depth": _gauge("Messages waiting"),
    "connection_count": _gauge("Open connections"),
    "error_count": _counter("Total number of errors"),
    "response_time_ms": _gauge("Response time in milliseconds", "ms"),
    "uptime_seconds": _gauge("Time since the start", "seconds"),
}
"""By metric name. Source: the metric module's documented system and application metrics."""


def known_metadata(names: Iterable[str]) -> dict[str, Metadata]:
    """Return what is agreed of those among the names that are well known."""
    return {name: WELL_KNOWN[name] for name in names if name in WELL_KNOWN}
