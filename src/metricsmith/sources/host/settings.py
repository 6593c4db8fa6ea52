"""The typed settings of the `host` source."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from metricsmith.contracts import PartConfig
from metricsmith.model.relabel import LABEL_NAME
from metricsmith.model.settings_types import DurationMs
from metricsmith.sources.name_filter import Filter, Pattern

DAY_MS = 86_400_000
Group = Literal["cpu_usage", "memory_usage", "disk_usage", "network_io", "process_count"]
Device = Literal["cpu", "filesystem", "network", "disk", "memory"]
LabelValue = Annotated[str, Field(max_length=1024)]

_PSEUDO_TYPES = (
    "autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs"
    "|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|sysfs|tracefs"
)
_SYSTEM_MOUNTS = "/(dev|proc|sys|run/credentials|var/lib/docker|var/lib/containers/storage)(/.*)?"
_PARTITIONS = "(ram|loop|zram|fd|sr)[0-9]+|(h|s|v|xv)d[a-z]+[0-9]+|(nvme[0-9]+n|mmcblk)[0-9]+p[0-9]+"


class Disks(Filter):
    """Which disks are looked at."""

    exclude: Pattern = Field(_PARTITIONS, description="Names to leave out of those: partitions and the like.")


class MountPoints(Filter):
    """Which mount points are looked at."""

    exclude: Pattern = Field(_SYSTEM_MOUNTS, description="Mount points to leave out of those.")


class Types(Filter):
    """Which types of file systems are looked at."""

    exclude: Pattern = Field(_PSEUDO_TYPES, description="Types to leave out of those: they hold no files.")


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
    cpus: Filter = Field(default_factory=Filter, description="CPUs, by number.")
    interfaces: Filter = Field(default_factory=Filter, description="Network interfaces, by name.")
    disks: Disks = Field(default_factory=lambda: Disks(), description="Disks, by name.")
    mounts: MountPoints = Field(
        default_factory=lambda: MountPoints(), description="File systems, by mount point."
    )
    filesystem_types: Types = Field(default_factory=lambda: Types(), description="File systems, by type.")
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
        None, max_length=4096, description="Where its `/` is; default `/host/root` if that is there."
    )

    @field_validator("labels")
    @classmethod
    def _label_names(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if not LABEL_NAME.fullmatch(name) or name in ("service", "__name__"):
                raise ValueError(f'got the label "{name[:100]}", wanted a name such as environment')
        return value
