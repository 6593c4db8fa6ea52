"""The objects of the Kubernetes API that are generated, field by field and type by type.

Written from the API reference, of what is used here and its neighbours; a field that is not there, and a
number where the API wants a text, are mistakes, as they are to the API server and to kubeconform.

Source:
    Kubernetes API reference, v1.32; Prometheus Operator API reference, monitoring.coreos.com/v1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from metricsmith.testing.kubernetes_pod_schema import PodTemplate
from metricsmith.testing.kubernetes_types import (
    ApiObject,
    DnsLabel,
    DnsName,
    FileKey,
    Labels,
    LabelSelector,
    Metadata,
    Port,
    PortName,
    Protocol,
    Quantity,
    matching,
)


class DeploymentStrategy(ApiObject):
    """How pods are replaced."""

    type: Literal["Recreate"]


class DeploymentSpec(ApiObject):
    """Some equal pods."""

    replicas: int = Field(ge=0)
    revision_history_limit: int = Field(10, ge=0)
    strategy: DeploymentStrategy
    selector: LabelSelector
    template: PodTemplate


class RollingDaemons(ApiObject):
    """How many nodes may be without one meanwhile."""

    max_unavailable: int | Annotated[str, matching("[0-9]{1,3}%", 4)]


class DaemonStrategy(ApiObject):
    """How pods are replaced."""

    type: Literal["RollingUpdate", "OnDelete"]
    rolling_update: RollingDaemons | None = None


class DaemonSetSpec(ApiObject):
    """A pod on each node."""

    revision_history_limit: int = Field(10, ge=0)
    update_strategy: DaemonStrategy
    selector: LabelSelector
    template: PodTemplate


class ServicePort(ApiObject):
    """A port of a service."""

    name: PortName
    port: Port
    target_port: PortName | Port
    protocol: Protocol


class ServiceSpec(ApiObject):
    """A name for pods."""

    selector: Labels
    ports: list[ServicePort] = Field(min_length=1)
    cluster_ip: Literal["None"] | None = Field(None, alias="clusterIP")
    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"


class Peer(ApiObject):
    """Who may speak."""

    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None


class PolicyPort(ApiObject):
    """Which port may be spoken to."""

    port: PortName | Port
    protocol: Protocol


class IngressRule(ApiObject):
    """Who may speak to which ports."""

    sources: list[Peer] = Field(alias="from", min_length=1)
    ports: list[PolicyPort] = Field(min_length=1)


class PolicySpec(ApiObject):
    """What may reach pods."""

    pod_selector: LabelSelector
    policy_types: list[Literal["Ingress", "Egress"]]
    ingress: list[IngressRule]


class ClaimResources(ApiObject):
    """How large a volume is to be."""

    requests: dict[Literal["storage"], Quantity]


class ClaimSpec(ApiObject):
    """A volume."""

    access_modes: list[Literal["ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany"]]
    resources: ClaimResources
    storage_class_name: str | None = None


class PolicyRule(ApiObject):
    """What an account may do."""

    api_groups: list[str]
    resources: list[str]
    verbs: list[Literal["get", "list", "watch"]]


class RoleReference(ApiObject):
    """A role that is given."""

    api_group: Literal["rbac.authorization.k8s.io"]
    kind: Literal["Role", "ClusterRole"]
    name: DnsName


class Subject(ApiObject):
    """Whom a role is given to."""

    kind: Literal["ServiceAccount"]
    name: DnsName
    namespace: DnsLabel


class Endpoint(ApiObject):
    """What Prometheus scrapes."""

    port: PortName
    path: str
    interval: Annotated[str, matching("[0-9]+(ms|s|m)", 20)]
    honor_labels: bool = False


class MonitorSpec(ApiObject):
    """Which services Prometheus scrapes."""

    selector: LabelSelector
    endpoints: list[Endpoint] = Field(min_length=1)


class _Named(ApiObject):
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
