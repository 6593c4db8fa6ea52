"""The typed settings of the `host` source."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from metricsmith.contracts import PartConfig
from metricsmith.model.relabel import LABEL_NAME
from metricsmith.model.settings_types import DurationMs
from metricsmith.sources.kafka.settings import Filter

DAY_MS = 86_400_000
Group = Literal["cpu_usage", "memory_usage", "disk_usage", "network_io", "process_count"]
Device = Literal["cpu", "filesystem", "network", "disk", "memory"]
LabelValue = Annotated[str, Field(max_length=1024)]

PSEUDO_TYPES = (
    "autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs"
    "|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|sysfs|tracefs"
)
SYSTEM_MOUNTS = "/(dev|proc|sys|run/credentials|var/lib/docker|var/lib/containers/storage)(/.*)?"


class HostConfig(PartConfig):
    """Settings of the `host` source."""

    interval: DurationMs = Field(10_000, ge=100, le=DAY_MS, description="Time between readings.")
    groups: tuple[Group, ...] = Field(
        ("cpu_usage", "memory_usage", "disk_usage", "network_io", "process_count"),
        description="Groups of metrics of the whole machine; load averages always come.",
    )
    devices: tuple[Device, ...] = Field(
        ("cpu", "filesystem", "network", "disk", "memory"),
        description="Of what there are series for each single one, under names that begin with `host_`.",
    )
    cpus: Filter = Field(Filter(), description="CPUs, by number.")
    interfaces: Filter = Field(Filter(), description="Network interfaces, by name.")
    disks: Filter = Field(
        Filter(exclude="(ram|loop|fd|sr)[0-9]+|(h|s|v|xv)d[a-z]+[0-9]+|(nvme[0-9]+n|mmcblk)[0-9]+p[0-9]+"),
        description="Disks, by name; partitions are left out.",
    )
    mounts: Filter = Field(Filter(exclude=SYSTEM_MOUNTS), description="File systems, by mount point.")
    filesystem_types: Filter = Field(Filter(exclude=PSEUDO_TYPES), description="File systems, by type.")
    mount_timeout: DurationMs = Field(
        2000, ge=10, le=60_000, description="Longest wait for all file systems; one that hangs is left out."
    )
    labels: dict[str, LabelValue] = Field(
        default_factory=dict, max_length=100, description="Labels of all series, besides `service`."
    )
    proc_path: str | None = Field(
        None, max_length=4096, description="Where `/proc` is; default `/host/proc` if that is there."
    )
    host_root: str | None = Field(
        None,
        max_length=4096,
        description="Where `/` of the machine is; default `/host/root` if that is there.",
    )

    @field_validator("labels")
    @classmethod
    def _label_names(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if not LABEL_NAME.fullmatch(name) or name in ("service", "__name__"):
                raise ValueError(f'got the label "{name[:100]}", wanted a name such as environment')
        return value
