"""The typed settings of discovery in Kubernetes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from metricsmith.contracts import PartConfig
from metricsmith.model.settings_types import SecretFile
from metricsmith.net.addresses import HttpUrl
from metricsmith.net.settings import Access

_DNS_NAME = "[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?"
Namespace = Annotated[str, Field(pattern=f"^{_DNS_NAME}$")]
Role = Literal["pod"]


class Namespaces(PartConfig):
    """Where to look; nothing given is everywhere."""

    names: tuple[Namespace, ...] = Field((), max_length=100, description="Namespaces that are looked into.")
    own_namespace: bool = Field(
        False, description="Also the agent's own one; with a kubeconfig, that of its context."
    )


class Selector(PartConfig):
    """Which objects the API server tells of."""

    role: Role = Field("pod", description="What it is for: `pod`.")
    label: str = Field("", max_length=4096, description="Label selector such as `app=shop,tier!=test`.")
    field: str = Field("", max_length=4096, description="Field selector such as `spec.nodeName=node-1`.")


class KubernetesDiscovery(Access):
    """Targets from a Kubernetes API, as Prometheus' kubernetes_sd.

    `basic_auth`, `authorization` and `tls` go with `api_server`; a pod's own
    account and a kubeconfig bring theirs.
    """

    role: Role = Field("pod", description="What is looked for: `pod`.")
    annotations: str = Field(
        "prometheus.io",
        pattern=f"^({_DNS_NAME})?$",
        description="Prefix of the annotations `scrape`, `port`, `path` and `scheme` that choose pods;"
        ' with "" all ports of all pods are targets, and `relabel_configs` choose.',
    )
    namespaces: Namespaces = Field(
        default_factory=lambda: Namespaces(), description="Namespaces; all by default."
    )
    selectors: tuple[Selector, ...] = Field((), max_length=1, description="What the server itself selects.")
    kubeconfig_file: SecretFile | None = Field(
        None, description="File that says where the cluster is; without it, the agent runs in the cluster."
    )
    context: str = Field("", max_length=1000, description="Context of that file; its current one by default.")
    api_server: HttpUrl | None = Field(None, description="Address of the API, where neither tells.")

    @model_validator(mode="after")
    def _one_way_in(self) -> KubernetesDiscovery:
        if self.kubeconfig_file is not None and self.api_server is not None:
            raise ValueError("got kubeconfig_file and api_server, wanted at most one of them")
        if self.context and self.kubeconfig_file is None:
            raise ValueError("got context without kubeconfig_file, wanted the file that has it")
        given = sorted(self.model_fields_set & Access.model_fields.keys())
        if given and self.api_server is None:
            raise ValueError(f"got {', '.join(given)} without api_server, wanted the address they are for")
        if self.namespaces.own_namespace and self.api_server is not None:
            raise ValueError("got own_namespace with api_server, wanted the namespace in namespaces.names")
        return self

    def places(self) -> tuple[str | None, ...]:
        """Return the namespaces to look into: None is all of them, an empty name the agent's own."""
        own = ("",) if self.namespaces.own_namespace else ()
        return (*own, *dict.fromkeys(self.namespaces.names)) or (None,)

    def query(self) -> dict[str, str]:
        """Return the selectors as parameters of a request."""
        chosen = self.selectors[0] if self.selectors else Selector()
        given = {"labelSelector": chosen.label, "fieldSelector": chosen.field}
        return {name: value for name, value in given.items() if value}
