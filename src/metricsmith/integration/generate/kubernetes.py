"""Manifests for Kubernetes: what each agent needs, with no more rights than that."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from metricsmith.config.settings import Settings
from metricsmith.errors import LimitExceeded
from metricsmith.integration.generate import pods
from metricsmith.integration.generate.configured import Configured
from metricsmith.integration.generate.files import Generated, header
from metricsmith.integration.generate.roles import NAME, Role, cautions, files_of, roles
from metricsmith.integration.generate.rule_files import own_rule_files
from metricsmith.integration.generate.yaml_text import yaml_text
from metricsmith.sources.kubernetes.settings import KubernetesDiscovery
from metricsmith.sources.settings import ScrapeConfig

KIND = "kubernetes"
MONITORING = "monitoring"
"""The namespace that may read metrics besides the agent's own one."""
MAX_CONFIG_BYTES = 1_000_000
"""A little less than the API takes for a ConfigMap."""


def kubernetes(configured: Configured, image: str, namespace: str) -> Generated:
    """Return manifests in files by kind, a kustomize base, and a component with a ServiceMonitor.

    Raises:
        ConfigError: secrets cannot be told apart, or rule files have mistakes.
        LimitExceeded: the configuration is larger than a ConfigMap.
    """
    settings, found = configured.meaning.settings, roles(configured)
    rules = own_rule_files(configured)
    variables = {name: value for role in found for name, value in role.variables.items()}
    configs = {role.name: _config(role, rules) for role in found}
    discoveries = _discoveries(configured)
    objects: dict[str, list[dict[str, Any]]] = {
        "namespace.yaml": [_namespace(namespace, any(role.per_node for role in found))],
        "rbac.yaml": [*_accounts(found, bool(discoveries)), *_rights(discoveries, namespace)],
        "configmap.yaml": [_object("v1", "ConfigMap", name, data=data) for name, data in configs.items()],
        "secret.yaml": [_secret(variables)] if variables else [],
        "storage.yaml": [_claim(role, settings) for role in found if not role.per_node],
        "deployment.yaml": [],
        "daemonset.yaml": [],
        "service.yaml": [_service(role) for role in found],
        "networkpolicy.yaml": [_policy(role, found) for role in found],
    }
    for role in found:
        spec = pods.pod(role, settings, image, discovers=bool(discoveries) and role is found[0])
        template = {"metadata": _pod_metadata(role, configs[role.name]), "spec": spec}
        kind = "daemonset.yaml" if role.per_node else "deployment.yaml"
        objects[kind].append((_daemon_set if role.per_node else _deployment)(role, template))
    for each in (o for name, several in objects.items() if name != "namespace.yaml" for o in several):
        if each["kind"] not in ("ClusterRole", "ClusterRoleBinding") and "namespace" not in each["metadata"]:
            each["metadata"] = {**each["metadata"], "namespace": namespace}
    files = {name: _documents(several) for name, several in objects.items() if several}
    aside = _kustomize(list(files), namespace, settings)
    notes = tuple(cautions(found, configured.meaning))
    return Generated(files | aside, notes, frozenset(aside), {"secret.yaml": variables} if variables else {})


def _config(role: Role, rules: Mapping[str, str]) -> dict[str, str]:
    texts = files_of(role, rules)
    size = sum(len(text.encode()) for text in texts.values())
    if size > MAX_CONFIG_BYTES:
        raise LimitExceeded(
            f"got a configuration of {size} bytes, wanted at most {MAX_CONFIG_BYTES}: a ConfigMap's"
        )
    return texts


def _discoveries(configured: Configured) -> list[KubernetesDiscovery]:
    configs = [part.config for part in configured.meaning.of("sources")]
    found = [config.kubernetes_sd for config in configs if isinstance(config, ScrapeConfig)]
    return [each for each in found if each is not None and not each.kubeconfig_file and not each.api_server]


def _object(api: str, kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "labels": {_APP: NAME}}, **more}


_APP = "app.kubernetes.io/name"
_COMPONENT = "app.kubernetes.io/component"


def _labels(role: Role) -> dict[str, str]:
    return {_APP: NAME, _COMPONENT: role.component}


def _namespace(name: str, mounts_host: bool) -> dict[str, Any]:
    # What mounts folders of the node is allowed at no stricter level, whatever else it does without.
    level = "privileged" if mounts_host else "restricted"
    done = _object("v1", "Namespace", name)
    done["metadata"]["labels"] |= {
        "pod-security.kubernetes.io/enforce": level,
        "pod-security.kubernetes.io/warn": level,
    }
    return done


def _accounts(found: Sequence[Role], discovers: bool) -> list[dict[str, Any]]:
    return [
        _object(
            "v1", "ServiceAccount", role.name, automountServiceAccountToken=discovers and role is found[0]
        )
        for role in found
    ]


def _rights(discoveries: Iterable[KubernetesDiscovery], namespace: str) -> list[dict[str, Any]]:
    """Return the right to read pods where they are discovered, and only there."""
    places = {namespace if place == "" else place for each in discoveries for place in each.places()}
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]
    subjects = [{"kind": "ServiceAccount", "name": NAME, "namespace": namespace}]
    done = []
    for place in [None] if None in places else sorted(str(place) for place in places):
        prefix, where = ("Cluster", {}) if place is None else ("", {"namespace": place})
        name = f"{NAME}-discovery" if place is None or place == namespace else f"{NAME}-discovery-{namespace}"
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": f"{prefix}Role", "name": name}
        role = _object("rbac.authorization.k8s.io/v1", f"{prefix}Role", name, rules=rules)
        binding = _object(
            "rbac.authorization.k8s.io/v1", f"{prefix}RoleBinding", name, roleRef=reference, subjects=subjects
        )
        for each in (role, binding):
            each["metadata"] |= where
            done.append(each)
    return done


def _secret(variables: Mapping[str, str | None]) -> dict[str, Any]:
    texts = {name: value or "" for name, value in sorted(variables.items())}
    return _object("v1", "Secret", NAME, type="Opaque", stringData=texts)


def _claim(role: Role, settings: Settings) -> dict[str, Any]:
    size = {"requests": {"storage": pods.disk(settings)}}
    return _object(
        "v1",
        "PersistentVolumeClaim",
        role.name,
        spec={"accessModes": ["ReadWriteOnce"], "resources": size},
    )


def _pod_metadata(role: Role, config: Mapping[str, str]) -> dict[str, Any]:
    digest = hashlib.sha256("\0".join(f"{n}\0{text}" for n, text in sorted(config.items())).encode())
    return {
        "labels": _labels(role),
        "annotations": {
            "prometheus.io/scrape": "true",
            "prometheus.io/port": str(role.http),
            "prometheus.io/path": "/metrics",
            # Another configuration is another pod: the agent is restarted with it.
            "checksum/config": digest.hexdigest(),
        },
    }


def _deployment(role: Role, template: dict[str, Any]) -> dict[str, Any]:
    spec = {
        # One: a second would hear, keep and alert on everything a second time.
        "replicas": 1,
        "revisionHistoryLimit": 3,
        # The volume is that of one pod at a time.
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": _labels(role)},
        "template": template,
    }
    return _object("apps/v1", "Deployment", role.name, spec=spec)


def _daemon_set(role: Role, template: dict[str, Any]) -> dict[str, Any]:
    spec = {
        "revisionHistoryLimit": 3,
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}},
        "selector": {"matchLabels": _labels(role)},
        "template": template,
    }
    return _object("apps/v1", "DaemonSet", role.name, spec=spec)


def _service(role: Role) -> dict[str, Any]:
    ports = [{"name": n, "port": port, "targetPort": n, "protocol": "TCP"} for n, port in role.ports.items()]
    spec: dict[str, Any] = {"selector": _labels(role), "ports": ports}
    if role.per_node:  # one of many is of no use: those that scrape look for each
        spec = {"clusterIP": "None", **spec}
    done = _object("v1", "Service", role.name, spec=spec)
    done["metadata"]["labels"] = _labels(role)
    return done


def _policy(role: Role, found: Sequence[Role]) -> dict[str, Any]:
    readers = [
        {"podSelector": {}},
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": MONITORING}}},
    ]
    ingress: list[dict[str, Any]] = [{"from": readers, "ports": [{"port": "http", "protocol": "TCP"}]}]
    others = [port for port in role.ports if port != "http"]
    if others:
        senders = [{"podSelector": {"matchLabels": _labels(each)}} for each in found if each is not role]
        ingress.append({"from": senders, "ports": [{"port": port, "protocol": "TCP"} for port in others]})
    spec = {"podSelector": {"matchLabels": _labels(role)}, "policyTypes": ["Ingress"], "ingress": ingress}
    return _object("networking.k8s.io/v1", "NetworkPolicy", role.name, spec=spec)


def _documents(objects: Sequence[Mapping[str, Any]]) -> str:
    return header(KIND) + "---\n".join(yaml_text(each) for each in objects)


def _kustomize(resources: Sequence[str], namespace: str, settings: Settings) -> dict[str, str]:
    endpoint: dict[str, Any] = {"port": "http", "path": "/metrics", "interval": "15s"}
    if settings.server.metrics.collected:
        endpoint["honorLabels"] = True
    monitor = _object(
        "monitoring.coreos.com/v1",
        "ServiceMonitor",
        NAME,
        spec={"selector": {"matchLabels": {_APP: NAME}}, "endpoints": [endpoint]},
    )
    monitor["metadata"]["namespace"] = namespace
    component = {"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component"}
    base = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    return {
        # No `namespace`: each object has its own, and roles for discovery stand in others.
        "kustomization.yaml": _documents([{**base, "resources": list(resources)}]),
        "components/service-monitor/kustomization.yaml": _documents(
            [{**component, "resources": ["servicemonitor.yaml"]}]
        ),
        "components/service-monitor/servicemonitor.yaml": _documents([monitor]),
    }
