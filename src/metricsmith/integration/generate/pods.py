"""The pod of an agent: volumes, probes, resources, and what is taken away from it."""

from __future__ import annotations

from typing import Any

from metricsmith.config.settings import Settings
from metricsmith.integration.generate.image import USER
from metricsmith.integration.generate.roles import DATA, FILE, FOLDER, NAME, Role

_GIB, _MIB = 1 << 30, 1 << 20
_BASE_BYTES = 512 * _MIB
_BLOCKS_BYTES = 10 * _GIB
"""Room for blocks where `storage.max_disk` says nothing."""
_FIRST_FREE_PORT = 1024
_HOST_PATHS = {"proc": "/proc", "sys": "/sys", "root": "/"}


def pod(role: Role, settings: Settings, image: str, *, discovers: bool) -> dict[str, Any]:
    """Return the specification of an agent's pod. One that discovers pods has a token of the API."""
    spec: dict[str, Any] = {
        "serviceAccountName": role.name,
        "automountServiceAccountToken": discovers,
        # Variables for other services could be taken for settings.
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 60,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "nodeSelector": {"kubernetes.io/os": "linux"},
    }
    if any(port < _FIRST_FREE_PORT for port in role.ports.values()):
        # Without privileges it could not listen there, where container engines do not say so already.
        start = {"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}
        spec["securityContext"]["sysctls"] = [start]
    if role.per_node:
        spec["tolerations"] = [{"operator": "Exists"}]  # every node is to be seen
    spec["containers"] = [_container(role, settings, image)]
    spec["volumes"] = _volumes(role, settings)
    return spec


def disk(settings: Settings) -> str:
    """Return the room for the journal and the blocks, as Kubernetes writes it."""
    size = settings.journal.max_size + (settings.storage.max_disk or _BLOCKS_BYTES)
    return f"{-(-size // _GIB)}Gi"


def memory(settings: Settings) -> str:
    """Return the most memory: that of the program, the head of the store and its cache."""
    size = _BASE_BYTES + settings.storage.head_bytes + settings.storage.cache_bytes
    return f"{-(-size // (64 * _MIB)) * 64}Mi"


def _container(role: Role, settings: Settings, image: str) -> dict[str, Any]:
    return {
        "name": NAME,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["run", "-c", f"{FOLDER}/{FILE}"],
        "env": _environment(role),
        "ports": [{"name": n, "containerPort": port, "protocol": "TCP"} for n, port in role.ports.items()],
        # A long replay of the journal is no reason to kill it: /health is 200 meanwhile, /ready is not.
        "startupProbe": _probe("/health", periodSeconds=2, failureThreshold=60),
        "livenessProbe": _probe("/health", periodSeconds=10, failureThreshold=3),
        "readinessProbe": _probe("/ready", periodSeconds=10, failureThreshold=2),
        "resources": {
            "requests": {"cpu": "100m", "memory": "256Mi"},
            "limits": {"memory": memory(settings)},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": _mounts(role),
    }


def _probe(path: str, **more: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": "http"}, "timeoutSeconds": 3, **more}


def _environment(role: Role) -> list[dict[str, Any]]:
    done: list[dict[str, Any]] = []
    if role.per_node:
        done.append({"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}})
    for name in role.variables:
        done += [{"name": name, "valueFrom": {"secretKeyRef": {"name": NAME, "key": name}}}]
    return done


def _mounts(role: Role) -> list[dict[str, Any]]:
    done: list[dict[str, Any]] = [
        {"name": "config", "mountPath": FOLDER, "readOnly": True},
        {"name": "data", "mountPath": DATA},
        {"name": "tmp", "mountPath": "/tmp"},
    ]
    for name in _HOST_PATHS if role.per_node else ():
        mount: dict[str, Any] = {"name": name, "mountPath": f"/host/{name}", "readOnly": True}
        if name == "root":  # file systems that are mounted later are seen too
            mount["mountPropagation"] = "HostToContainer"
        done.append(mount)
    return done


def _volumes(role: Role, settings: Settings) -> list[dict[str, Any]]:
    kept = (
        {"emptyDir": {"sizeLimit": disk(settings)}}
        if role.per_node
        else {"persistentVolumeClaim": {"claimName": role.name}}
    )
    done: list[dict[str, Any]] = [
        {"name": "config", "configMap": {"name": role.name}},
        {"name": "data", **kept},
        {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
    ]
    for name, path in _HOST_PATHS.items() if role.per_node else ():
        done.append({"name": name, "hostPath": {"path": path, "type": "Directory"}})
    return done
