"""Which metrics that others send are taken: by group, and those of applications by name."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from metricsmith.contracts import PartConfig
from metricsmith.model.aliases import ALIASES

SYSTEM_SERVICE = "system"
KNOWN_APPLICATION = frozenset(
    (
        *("message_count", "message_rate", "queue_depth", "connection_count", "error_count"),
        *("response_time_ms", "uptime_seconds", "request_count", "error_rate"),
    )
)
"""Metrics that services are known to send of themselves. Source: the metric module's documentation."""

SystemGroup = Literal["cpu_usage", "memory_usage", "disk_usage", "network_io", "process_count"]


class CollectionSettings(PartConfig):
    """What a producer collects and what a consumer takes."""

    system_metrics: bool = Field(True, description="Collect system metrics.")
    application_metrics: bool = Field(True, description="Take application metrics.")
    custom_metrics: bool = Field(True, description="Take metrics that belong to neither group.")
    system: tuple[SystemGroup, ...] = Field(
        ("cpu_usage", "memory_usage", "disk_usage", "network_io", "process_count"),
        description="Groups of system metrics.",
    )
    application: tuple[str, ...] = Field(
        (), max_length=10_000, description="Application metrics to take; empty takes all."
    )

    def takes(self, service: str, name: str) -> bool:
        """Return whether a metric of a service is taken.

        An application metric is one that services are known to send, or that
        `application` names; short names such as `response_time` mean the long ones.
        """
        if service == SYSTEM_SERVICE:
            return self.system_metrics
        chosen = {*self.application, *(ALIASES[n] for n in self.application if n in ALIASES)}
        if name in chosen:
            return self.application_metrics
        if name in KNOWN_APPLICATION:
            return self.application_metrics and not self.application
        return self.custom_metrics
