"""The objects of the Kubernetes API that are generated, field by field and type by type.

Written from the API reference, of what is used here and its neighbours; a field that is not there, and a
number where the API wants a text, are mistakes, as they are to the API server and to kubeconform.

Source:
    Kubernetes API reference, v1.32; Prometheus Operator API reference, monitoring.coreos.com/v1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, model_validator
from pydantic.alias_generators import to_camel


class _Object(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel)


def _matching(pattern: str, longest: int) -> Any:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text) or len(text) > longest:
            raise ValueError(f"got {text!r}, wanted {pattern} of at most {longest} characters")
        return text

    return AfterValidator(check)


_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
DnsLabel = Annotated[str, _matching(_LABEL, 63)]
DnsName = Annotated[str, _matching(rf"{_LABEL}(\.{_LABEL})*", 253)]
PortName = Annotated[str, _matching(r"(?=.*[a-z])[a-z0-9]([-a-z0-9]*[a-z0-9])?", 15)]
Key = Annotated[str, _matching(rf"({_LABEL}(\.{_LABEL})*/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?", 317)]
LabelValue = Annotated[str, _matching(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?", 63)]
FileKey = Annotated[str, _matching(r"[-._a-zA-Z0-9]+", 253)]
Quantity = Annotated[str, _matching(r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?", 30)]
AbsolutePath = Annotated[str, _matching(r"/[^:]*", 4096)]
Port = Annotated[int, Field(ge=1, le=65_535)]
Labels = dict[Key, LabelValue]
Protocol = Literal["TCP", "UDP", "SCTP"]


class Metadata(_Object):
    """What every object is called."""

    name: DnsName
    namespace: DnsLabel | None = None
    labels: Labels = Field(default_factory=dict)
    annotations: dict[Key, str] = Field(default_factory=dict)


class PodLabels(_Object):
    """The metadata of a template."""

    labels: Labels
    annotations: dict[Key, str] = Field(default_factory=dict)


class LabelSelector(_Object):
    """Which objects are meant; empty is all."""

    match_labels: Labels = Field(default_factory=dict)


class FieldReference(_Object):
    """A field of the pod."""

    field_path: Literal[
        "spec.nodeName", "metadata.name", "metadata.namespace", "status.podIP", "status.hostIP"
    ]


class KeyReference(_Object):
    """A key of a Secret or ConfigMap."""

    name: DnsName
    key: FileKey
    optional: bool = False


class ValueFrom(_Object):
    """Where a variable's value is."""

    field_ref: FieldReference | None = None
    secret_key_ref: KeyReference | None = None


class Variable(_Object):
    """An environment variable of a container."""

    name: Annotated[str, _matching(r"[-._a-zA-Z][-._a-zA-Z0-9]*", 1000)]
    value: str | None = None
    value_from: ValueFrom | None = None


class ContainerPort(_Object):
    """A port that a container listens on."""

    name: PortName
    container_port: Port
    protocol: Protocol = "TCP"


class HttpGet(_Object):
    """A request of a probe."""

    path: str
    port: PortName | Port
    scheme: Literal["HTTP", "HTTPS"] = "HTTP"


class Probe(_Object):
    """When a container lives, or is ready."""

    http_get: HttpGet
    initial_delay_seconds: int = Field(0, ge=0)
    timeout_seconds: int = Field(1, ge=1)
    period_seconds: int = Field(10, ge=1)
    success_threshold: int = Field(1, ge=1)
    failure_threshold: int = Field(3, ge=1)


class Resources(_Object):
    """What a container asks for, and what it gets at most."""

    requests: dict[Literal["cpu", "memory", "ephemeral-storage"], Quantity] = Field(default_factory=dict)
    limits: dict[Literal["cpu", "memory", "ephemeral-storage"], Quantity] = Field(default_factory=dict)


class Capabilities(_Object):
    """Privileges of Linux."""

    drop: list[str] = Field(default_factory=list)
    add: list[str] = Field(default_factory=list)


class Seccomp(_Object):
    """Which system calls may be made."""

    type: Literal["RuntimeDefault", "Unconfined"]


class Sysctl(_Object):
    """A setting of the kernel that a pod has for itself."""

    name: str
    value: str


class ContainerSecurity(_Object):
    """What a container may do."""

    allow_privilege_escalation: bool
    read_only_root_filesystem: bool
    capabilities: Capabilities
    privileged: bool = False
    run_as_non_root: bool | None = None


class PodSecurity(_Object):
    """What the containers of a pod may do."""

    run_as_non_root: bool
    run_as_user: int = Field(ge=0)
    run_as_group: int = Field(ge=0)
    fs_group: int = Field(ge=0)
    fs_group_change_policy: Literal["OnRootMismatch", "Always"]
    seccomp_profile: Seccomp
    sysctls: list[Sysctl] = Field(default_factory=list)


class Mount(_Object):
    """Where a container finds a volume."""

    name: DnsLabel
    mount_path: AbsolutePath
    read_only: bool = False
    sub_path: str = ""
    mount_propagation: Literal["None", "HostToContainer", "Bidirectional"] = "None"


class Container(_Object):
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


class HostPath(_Object):
    """A folder of the node."""

    path: AbsolutePath
    type: Literal["", "Directory", "DirectoryOrCreate", "File", "Socket"]


class EmptyDir(_Object):
    """A folder that is gone with the pod."""

    size_limit: Quantity | None = None
    medium: Literal["", "Memory"] = ""


class NamedSource(_Object):
    """A ConfigMap as files."""

    name: DnsName
    default_mode: int | None = None


class SecretSource(_Object):
    """A Secret as files."""

    secret_name: DnsName


class ClaimSource(_Object):
    """A claim of a volume."""

    claim_name: DnsName


class Volume(_Object):
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


class Toleration(_Object):
    """Which taints of nodes do not matter."""

    operator: Literal["Exists", "Equal"]
    key: str | None = None
    effect: str | None = None


class PodSpec(_Object):
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


class PodTemplate(_Object):
    """What pods are made from."""

    metadata: PodLabels
    spec: PodSpec


class DeploymentStrategy(_Object):
    """How pods are replaced."""

    type: Literal["Recreate"]


class DeploymentSpec(_Object):
    """Some equal pods."""

    replicas: int = Field(ge=0)
    revision_history_limit: int = Field(10, ge=0)
    strategy: DeploymentStrategy
    selector: LabelSelector
    template: PodTemplate


class RollingDaemons(_Object):
    """How many nodes may be without one meanwhile."""

    max_unavailable: int | Annotated[str, _matching("[0-9]{1,3}%", 4)]


class DaemonStrategy(_Object):
    """How pods are replaced."""

    type: Literal["RollingUpdate", "OnDelete"]
    rolling_update: RollingDaemons | None = None


class DaemonSetSpec(_Object):
    """A pod on each node."""

    revision_history_limit: int = Field(10, ge=0)
    update_strategy: DaemonStrategy
    selector: LabelSelector
    template: PodTemplate


class ServicePort(_Object):
    """A port of a service."""

    name: PortName
    port: Port
    target_port: PortName | Port
    protocol: Protocol


class ServiceSpec(_Object):
    """A name for pods."""

    selector: Labels
    ports: list[ServicePort] = Field(min_length=1)
    cluster_ip: Literal["None"] | None = Field(None, alias="clusterIP")
    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"


class Peer(_Object):
    """Who may speak."""

    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None


class PolicyPort(_Object):
    """Which port may be spoken to."""

    port: PortName | Port
    protocol: Protocol


class IngressRule(_Object):
    """Who may speak to which ports."""

    sources: list[Peer] = Field(alias="from", min_length=1)
    ports: list[PolicyPort] = Field(min_length=1)


class PolicySpec(_Object):
    """What may reach pods."""

    pod_selector: LabelSelector
    policy_types: list[Literal["Ingress", "Egress"]]
    ingress: list[IngressRule]


class ClaimResources(_Object):
    """How large a volume is to be."""

    requests: dict[Literal["storage"], Quantity]


class ClaimSpec(_Object):
    """A volume."""

    access_modes: list[Literal["ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany"]]
    resources: ClaimResources
    storage_class_name: str | None = None


class PolicyRule(_Object):
    """What an account may do."""

    api_groups: list[str]
    resources: list[str]
    verbs: list[Literal["get", "list", "watch"]]


class RoleReference(_Object):
    """A role that is given."""

    api_group: Literal["rbac.authorization.k8s.io"]
    kind: Literal["Role", "ClusterRole"]
    name: DnsName


class Subject(_Object):
    """Whom a role is given to."""

    kind: Literal["ServiceAccount"]
    name: DnsName
    namespace: DnsLabel


class Endpoint(_Object):
    """What Prometheus scrapes."""

    port: PortName
    path: str
    interval: Annotated[str, _matching("[0-9]+(ms|s|m)", 20)]
    honor_labels: bool = False


class MonitorSpec(_Object):
    """Which services Prometheus scrapes."""

    selector: LabelSelector
    endpoints: list[Endpoint] = Field(min_length=1)


class _Named(_Object):
    metadata: Metadata


class NamespaceObject(_Named):
    """A namespace."""

    api_version: Literal["v1"]
    kind: Literal["Namespace"]


class ServiceAccount(_Named):
    """An account of pods."""

    api_version: Literal["v1"]
    kind: Literal["ServiceAccount"]
    automount_service_account_token: bool


class ConfigMap(_Named):
    """Texts as files."""

    api_version: Literal["v1"]
    kind: Literal["ConfigMap"]
    data: dict[FileKey, str]


class Secret(_Named):
    """Texts that few may see."""

    api_version: Literal["v1"]
    kind: Literal["Secret"]
    type: Literal["Opaque"]
    string_data: dict[FileKey, str]


class Claim(_Named):
    """A claim of a volume."""

    api_version: Literal["v1"]
    kind: Literal["PersistentVolumeClaim"]
    spec: ClaimSpec


class Deployment(_Named):
    """Some equal pods."""

    api_version: Literal["apps/v1"]
    kind: Literal["Deployment"]
    spec: DeploymentSpec


class DaemonSet(_Named):
    """A pod on each node."""

    api_version: Literal["apps/v1"]
    kind: Literal["DaemonSet"]
    spec: DaemonSetSpec


class Service(_Named):
    """A name for pods."""

    api_version: Literal["v1"]
    kind: Literal["Service"]
    spec: ServiceSpec


class NetworkPolicy(_Named):
    """What may reach pods."""

    api_version: Literal["networking.k8s.io/v1"]
    kind: Literal["NetworkPolicy"]
    spec: PolicySpec


class RoleObject(_Named):
    """What may be done."""

    api_version: Literal["rbac.authorization.k8s.io/v1"]
    kind: Literal["Role", "ClusterRole"]
    rules: list[PolicyRule]


class RoleBinding(_Named):
    """Who may do it."""

    api_version: Literal["rbac.authorization.k8s.io/v1"]
    kind: Literal["RoleBinding", "ClusterRoleBinding"]
    role_ref: RoleReference
    subjects: list[Subject] = Field(min_length=1)


class ServiceMonitor(_Named):
    """What the Prometheus of an operator scrapes."""

    api_version: Literal["monitoring.coreos.com/v1"]
    kind: Literal["ServiceMonitor"]
    spec: MonitorSpec


KubernetesObject = Annotated[
    NamespaceObject
    | ServiceAccount
    | ConfigMap
    | Secret
    | Claim
    | Deployment
    | DaemonSet
    | Service
    | NetworkPolicy
    | RoleObject
    | RoleBinding
    | ServiceMonitor,
    Field(discriminator="kind"),
]
_ADAPTER: TypeAdapter[Any] = TypeAdapter(KubernetesObject)


def read_object(data: Mapping[str, Any]) -> Any:
    """Return an object of the API.

    Raises:
        ValueError: it has mistakes.
    """
    return _ADAPTER.validate_python(data)
