"""Pods of the Kubernetes API as they are generated: containers, volumes, probes, security.

Source:
    Kubernetes API reference, v1.32.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from metricsmith.testing.kubernetes_types import (
    AbsolutePath,
    ApiObject,
    DnsLabel,
    DnsName,
    FileKey,
    Labels,
    PodLabels,
    Port,
    PortName,
    Protocol,
    Quantity,
    matching,
)


class FieldReference(ApiObject):
    """A field of the pod."""

    field_path: Literal[
        "spec.nodeName", "metadata.name", "metadata.namespace", "status.podIP", "status.hostIP"
    ]


class KeyReference(ApiObject):
    """A key of a Secret or ConfigMap."""

    name: DnsName
    key: FileKey
    optional: bool = False


class ValueFrom(ApiObject):
    """Where a variable's value is."""

    field_ref: FieldReference | None = None
    secret_key_ref: KeyReference | None = None


class Variable(ApiObject):
    """An environment variable of a container."""

    name: Annotated[str, matching(r"[-._a-zA-Z][-._a-zA-Z0-9]*", 1000)]
    value: str | None = None
    value_from: ValueFrom | None = None


class ContainerPort(ApiObject):
    """A port that a container listens on."""

    name: PortName
    container_port: Port
    protocol: Protocol = "TCP"


class HttpGet(ApiObject):
    """A request of a probe."""

    path: str
    port: PortName | Port
    scheme: Literal["HTTP", "HTTPS"] = "HTTP"


class Probe(ApiObject):
    """When a container lives, or is ready."""

    http_get: HttpGet
    initial_delay_seconds: int = Field(0, ge=0)
    timeout_seconds: int = Field(1, ge=1)
    period_seconds: int = Field(10, ge=1)
    success_threshold: int = Field(1, ge=1)
    failure_threshold: int = Field(3, ge=1)


class Resources(ApiObject):
    """What a container asks for, and what it gets at most."""

    requests: dict[Literal["cpu", "memory", "ephemeral-storage"], Quantity] = Field(default_factory=dict)
    limits: dict[Literal["cpu", "memory", "ephemeral-storage"], Quantity] = Field(default_factory=dict)


class Capabilities(ApiObject):
    """Privileges of Linux."""

    drop: list[str] = Field(default_factory=list)
    add: list[str] = Field(default_factory=list)


class Seccomp(ApiObject):
    """Which system calls may be made."""

    type: Literal["RuntimeDefault", "Unconfined"]


class Sysctl(ApiObject):
    """A setting of the kernel that a pod has for itself."""

    name: str
    value: str


class ContainerSecurity(ApiObject):
    """What a container may do."""

    allow_privilege_escalation: bool
    read_only_root_filesystem: bool
    capabilities: Capabilities
    privileged: bool = False
    run_as_non_root: bool | None = None


class PodSecurity(ApiObject):
    """What the containers of a pod may do."""

    run_as_non_root: bool
    run_as_user: int = Field(ge=0)
    run_as_group: int = Field(ge=0)
    fs_group: int = Field(ge=0)
    fs_group_change_policy: Literal["OnRootMismatch", "Always"]
    seccomp_profile: Seccomp
    sysctls: list[Sysctl] = Field(default_factory=list)


class Mount(ApiObject):
    """Where a container finds a volume."""

    name: DnsLabel
    mount_path: AbsolutePath
    read_only: bool = False
    sub_path: str = ""
    mount_propagation: Literal["None", "HostToContainer", "Bidirectional"] = "None"


class Container(ApiObject):
    """A program in a pod."""

    name: DnsLabel
    image: str
    image_pull_policy: Literal["IfNotPresent", "Always", "Never"]
    command: list[str] | None = None
    args: list[str]
    env: list[Variable]
    ports: list[ContainerPort]
    startup_probe: Probe
    liveness_probe: Probe
    readiness_probe: Probe
    resources: Resources
    security_context: ContainerSecurity
    volume_mounts: list[Mount]


class HostPath(ApiObject):
    """A folder of the node."""

    path: AbsolutePath
    type: Literal["", "Directory", "DirectoryOrCreate", "File", "Socket"]


class EmptyDir(ApiObject):
    """A folder that is gone with the pod."""

    size_limit: Quantity | None = None
    medium: Literal["", "Memory"] = ""


class NamedSource(ApiObject):
    """A ConfigMap as files."""

    name: DnsName
    default_mode: int | None = None


class SecretSource(ApiObject):
    """A Secret as files."""

    secret_name: DnsName


class ClaimSource(ApiObject):
    """A claim of a volume."""

    claim_name: DnsName


class Volume(ApiObject):
    """Files of a pod, from exactly one source."""

    name: DnsLabel
    config_map: NamedSource | None = None
    secret: SecretSource | None = None
    empty_dir: EmptyDir | None = None
    host_path: HostPath | None = None
    persistent_volume_claim: ClaimSource | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Volume:
        if len(self.model_fields_set) != 2:
            raise ValueError(f"volume {self.name}: wanted a name and one source")
        return self


class Toleration(ApiObject):
    """Which taints of nodes do not matter."""

    operator: Literal["Exists", "Equal"]
    key: str | None = None
    effect: str | None = None


class PodSpec(ApiObject):
    """A pod."""

    service_account_name: DnsName
    automount_service_account_token: bool
    enable_service_links: bool
    termination_grace_period_seconds: int = Field(ge=0)
    security_context: PodSecurity
    node_selector: Labels
    tolerations: list[Toleration] = Field(default_factory=list)
    containers: list[Container] = Field(min_length=1)
    volumes: list[Volume]
    host_network: bool = Field(False, alias="hostNetwork")
    host_pid: bool = Field(False, alias="hostPID")


class PodTemplate(ApiObject):
    """What pods are made from."""

    metadata: PodLabels
    spec: PodSpec
