"""A pod, as much of it as targets need, from the JSON of the API."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from metricsmith.errors import WireError

META = "__meta_kubernetes_"
MAX_CONTAINERS = 1000
MAX_PORTS = 1000
MAX_VALUE = 1024
"""Longest annotation that becomes a label: tools leave whole documents there."""
_NOT_IN_NAMES = re.compile("[^a-zA-Z0-9_]")
_ENDED = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class Port:
    """A port that a container declares."""

    name: str
    number: int
    protocol: str


@dataclass(frozen=True, slots=True)
class Container:
    """A container; one that `passes` runs before the others and ends."""

    name: str
    image: str
    id: str
    init: bool
    passes: bool
    ports: tuple[Port, ...]


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod. `labels` are those that all of its targets have, as Prometheus names them."""

    namespace: str
    name: str
    ip: str
    host_network: bool
    ended: bool
    since: str
    annotations: Mapping[str, str]
    containers: tuple[Container, ...]
    labels: Mapping[str, str] = field(repr=False)

    @property
    def key(self) -> tuple[str, str]:
        """What names it in its cluster."""
        return self.namespace, self.name


def pod_key(data: Any) -> tuple[str, str]:
    """Return namespace and name of an object.

    Raises:
        WireError: it has none.
    """
    metadata = _mapping(_mapping(data, "an object").get("metadata"), "metadata")
    name = _text(metadata, "name")
    if not name:
        raise WireError("got an object without metadata.name")
    return _text(metadata, "namespace"), name


def decode_pod(data: Any) -> Pod:
    """Return a pod.

    Raises:
        WireError: it is not shaped as a pod.
    Source:
        Kubernetes API reference, core/v1 Pod. Labels: Prometheus
        `kubernetes_sd_config`, role pod.
    """
    namespace, name = pod_key(data)
    metadata = data["metadata"]
    spec, status = _mapping(data.get("spec"), "spec"), _mapping(data.get("status"), "status")
    annotations = _texts(metadata.get("annotations"), "metadata.annotations")
    phase, ip = _text(status, "phase"), _address(_text(status, "podIP"))
    labels = {
        "namespace": namespace,
        "pod_name": name,
        "pod_ip": ip,
        "pod_ready": _ready(status),
        "pod_phase": phase,
        "pod_node_name": _text(spec, "nodeName"),
        "pod_host_ip": _text(status, "hostIP"),
        "pod_uid": _text(metadata, "uid"),
        **_controller(metadata),
        **_named("label", _texts(metadata.get("labels"), "metadata.labels")),
        **_named("annotation", annotations),
    }
    return Pod(
        namespace=namespace,
        name=name,
        ip=ip,
        host_network=spec.get("hostNetwork") is True,
        ended=phase in _ENDED,
        since=_text(status, "startTime") or _text(metadata, "creationTimestamp"),
        annotations=annotations,
        containers=(
            *_containers(spec, "containers", _ids(status, "containerStatuses"), init=False),
            *_containers(spec, "initContainers", _ids(status, "initContainerStatuses"), init=True),
        ),
        labels={META + label: value for label, value in labels.items() if value},
    )


def label_part(name: str) -> str:
    """Return a name as it stands in label names.

    >>> label_part("prometheus.io/scrape")
    'prometheus_io_scrape'
    """
    return _NOT_IN_NAMES.sub("_", name)


def _named(kind: str, values: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in values.items():
        if len(value) <= MAX_VALUE:
            found[f"pod_{kind}_{label_part(name)}"] = value
        found[f"pod_{kind}present_{label_part(name)}"] = "true"
    return found


def _address(ip: str) -> str:
    """An address and nothing else: what stands here is where credentials of the source are sent."""
    if not ip:
        return ""
    try:
        address = ip_address(ip)
    except ValueError:
        address = None
    if address is None or "%" in ip:  # a zone means something on one machine only
        raise WireError(f"status.podIP: got {ip[:100]!r}, wanted an IP address")
    return str(address)


def _ready(status: Mapping[str, Any]) -> str:
    for condition in _mappings(status.get("conditions"), "status.conditions"):
        if condition.get("type") == "Ready":
            return _text(condition, "status").lower()
    return "unknown"


def _controller(metadata: Mapping[str, Any]) -> dict[str, str]:
    for owner in _mappings(metadata.get("ownerReferences"), "metadata.ownerReferences"):
        if owner.get("controller") is True:
            return {"pod_controller_kind": _text(owner, "kind"), "pod_controller_name": _text(owner, "name")}
    return {}


def _ids(status: Mapping[str, Any], key: str) -> dict[str, str]:
    return {_text(s, "name"): _text(s, "containerID") for s in _mappings(status.get(key), f"status.{key}")}


def _containers(
    spec: Mapping[str, Any], key: str, ids: Mapping[str, str], *, init: bool
) -> Iterable[Container]:
    listed = _mappings(spec.get(key), f"spec.{key}")
    if len(listed) > MAX_CONTAINERS:
        raise WireError(f"got {len(listed)} {key}, wanted at most {MAX_CONTAINERS}")
    for data in listed:
        name = _text(data, "name")
        passes = init and data.get("restartPolicy") != "Always"
        yield Container(name, _text(data, "image"), ids.get(name, ""), init, passes, tuple(_ports(data)))


def _ports(container: Mapping[str, Any]) -> Iterable[Port]:
    listed = _mappings(container.get("ports"), "ports")
    if len(listed) > MAX_PORTS:
        raise WireError(f"got {len(listed)} ports, wanted at most {MAX_PORTS}")
    for data in listed:
        number = data.get("containerPort")
        if not isinstance(number, int) or isinstance(number, bool) or not 0 < number < 65_536:
            raise WireError(f"got containerPort {str(number)[:50]}, wanted 1 to 65535")
        yield Port(_text(data, "name"), number, _text(data, "protocol") or "TCP")


def _mapping(data: Any, what: str) -> Mapping[str, Any]:
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise WireError(f"{what}: got {type(data).__name__}, wanted an object")
    return data


def _mappings(data: Any, what: str) -> list[Mapping[str, Any]]:
    if data is None:
        return []
    if not isinstance(data, list) or not all(isinstance(each, dict) for each in data):
        raise WireError(f"{what}: wanted a list of objects")
    return data


def _texts(data: Any, what: str) -> Mapping[str, str]:
    found = _mapping(data, what)
    if not all(isinstance(value, str) for value in found.values()):
        raise WireError(f"{what}: wanted texts")
    return found


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise WireError(f"{key}: got {type(value).__name__}, wanted a text")
    return value
