"""The targets of a pod: by its annotations, or one for each port that it declares."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from metricsmith.net.target_files import Found, Listed
from metricsmith.sources.endpoint import METRICS_PATH, SCHEME
from metricsmith.sources.kubernetes.pods import META, Container, Pod, Port

_CONTAINER = f"{META}pod_container_"


@dataclass(frozen=True, slots=True)
class PodTargets:
    """What a pod gives. `problem` is what its owner got wrong, for people."""

    pod: Pod
    listed: tuple[Listed, ...]
    problem: str = ""


def targets_of(pod: Pod, prefix: str) -> PodTargets:
    """Return the targets of a pod, chosen by the annotations under `prefix`; by none when that is empty.

    A target that is not wanted is shown as dropped: of a pod that has ended, or
    that no annotation asks to scrape. A pod without an address has none.
    """
    if not pod.ip:
        return PodTargets(pod, ())
    if not prefix:
        return PodTargets(pod, tuple(_declared(pod, pod.containers, not pod.ended)))
    own = {
        name: pod.annotations.get(f"{prefix}/{name}", "").strip()
        for name in ("scrape", "port", "path", "scheme")
    }
    lasting = [c for c in pod.containers if not c.passes]
    if pod.ended or own["scrape"].lower() != "true":
        return PodTargets(pod, tuple(_declared(pod, lasting, wanted=False)))
    try:
        return PodTargets(pod, tuple(_annotated(pod, lasting, own)))
    except ValueError as error:
        problem = f"{pod.namespace}/{pod.name}: annotation {prefix}/{error}"
        return PodTargets(pod, tuple(_declared(pod, lasting, wanted=False)), problem)


def of_all(known: Iterable[PodTargets]) -> Found:
    """Return the targets of all pods. Of pods with one address, the one that began last has it.

    An address is given to another pod while the API still tells of the old one;
    pods in the network of their machine share its address by right.
    """
    holder: dict[str, Pod] = {}
    everything = list(known)
    for one in everything:
        pod = one.pod
        if pod.ip and not pod.ended and not pod.host_network:
            other = holder.setdefault(pod.ip, pod)
            if (other.since, other.key) < (pod.since, pod.key):
                holder[pod.ip] = pod
    found: Found = []
    for one in everything:
        pod = one.pod
        if pod.host_network or pod.ended or holder.get(pod.ip) in (pod, None):
            found += one.listed
        else:
            found += [replace(each, wanted=False) for each in one.listed]
    return found


def _declared(pod: Pod, containers: Iterable[Container], wanted: bool) -> Iterator[Listed]:
    for container in containers:
        if not container.ports:
            yield Listed(_address(pod.ip, None), {**pod.labels, **_labels(container, None)}, wanted)
        for port in container.ports:
            labels = {**pod.labels, **_labels(container, port)}
            yield Listed(_address(pod.ip, port.number), labels, wanted)


def _annotated(pod: Pod, containers: list[Container], own: Mapping[str, str]) -> Iterator[Listed]:
    given = {"namespace": pod.namespace, "pod": pod.name}
    if own["path"]:
        given[METRICS_PATH] = own["path"]
    if own["scheme"]:
        if own["scheme"] not in ("http", "https"):
            raise ValueError(f'scheme: got "{own["scheme"][:50]}", wanted http or https')
        given[SCHEME] = own["scheme"]
    for number, container, port in _places(containers, own["port"]):
        labels = {**pod.labels, **given}
        if container is not None:
            labels |= {**_labels(container, port), "container": container.name}
        yield Listed(_address(pod.ip, number), labels)


def _places(
    containers: list[Container], wanted: str
) -> Iterator[tuple[int | None, Container | None, Port | None]]:
    """Where to scrape: what the annotation names, else each TCP port, else the scheme's usual one."""
    declared = [(c, p) for c in containers for p in c.ports if p.protocol == "TCP"]
    only = containers[0] if len(containers) == 1 else None
    if not wanted:
        yield from ((p.number, c, p) for c, p in declared)
        if not declared:
            yield None, only, None
        return
    chosen = [(c, p) for c, p in declared if wanted in (p.name, str(p.number))]
    if chosen:
        container, port = chosen[0]
        yield port.number, container, port
    elif wanted.isascii() and wanted.isdigit() and len(wanted) < 6 and 0 < int(wanted) < 65_536:
        yield int(wanted), only, None
    else:
        names = ", ".join(p.name for _, p in declared if p.name) or "none is declared"
        raise ValueError(f'port: got "{wanted[:50]}", wanted 1 to 65535 or the name of a port: {names[:200]}')


def _labels(container: Container, port: Port | None) -> dict[str, str]:
    found = {
        "name": container.name,
        "image": container.image,
        "id": container.id,
        "init": "true" if container.init else "false",
    }
    if port is not None:
        found |= {"port_name": port.name, "port_number": str(port.number), "port_protocol": port.protocol}
    return {_CONTAINER + name: value for name, value in found.items() if value}


def _address(ip: str, port: int | None) -> str:
    host = f"[{ip}]" if ":" in ip else ip
    return host if port is None else f"{host}:{port}"
