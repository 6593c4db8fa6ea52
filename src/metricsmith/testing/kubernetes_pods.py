"""Pods as a Kubernetes API tells of them, and the selectors that choose among them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_REQUIREMENT = re.compile(
    r"\s*(?P<not>!)?(?P<key>[\w./-]+)\s*(?:(?P<op>==|!=|=)\s*(?P<value>[\w.-]*)"
    r"|\s(?P<set>in|notin)\s*\((?P<values>[^)]*)\))?\s*(?:,|$)"
)


def pod(
    name: str,
    ip: str = "",
    *,
    namespace: str = "default",
    annotations: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    ports: Sequence[Mapping[str, Any]] = (),
    phase: str = "Running",
    node: str = "node-1",
    started: str = "2026-01-01T00:00:00Z",
    host_network: bool = False,
) -> dict[str, Any]:
    """Return a pod of one container, `app`."""
    status: dict[str, Any] = {
        "phase": phase,
        "startTime": started,
        "hostIP": "10.9.0.1",
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [{"name": "app", "containerID": f"containerd://{name}", "ready": True}],
    }
    if ip:
        status |= {"podIP": ip, "podIPs": [{"ip": ip}]}
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-{name}",
            "creationTimestamp": started,
            "labels": dict(labels or {}),
            "annotations": dict(annotations or {}),
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "name": "shop-5d",
                    "uid": "u",
                    "controller": True,
                }
            ],
        },
        "spec": {
            "nodeName": node,
            "hostNetwork": host_network,
            "containers": [{"name": "app", "image": "shop:1", "ports": [dict(port) for port in ports]}],
        },
        "status": status,
    }


def selects(query: Mapping[str, str]) -> Callable[[Mapping[str, Any]], bool]:
    """Return what a request's `labelSelector` and `fieldSelector` choose.

    Raises:
        ValueError: a selector is malformed, or names a field that pods are not selected by.
    """
    label, fields = (
        _requirements(query.get("labelSelector", "")),
        _requirements(query.get("fieldSelector", "")),
    )
    for key, _ in fields:
        if key not in _FIELDS:
            raise ValueError(f'field label not supported: "{key}"')

    def chosen(one: Mapping[str, Any]) -> bool:
        labels = one["metadata"].get("labels") or {}
        return all(wanted(labels.get(key)) for key, wanted in label) and all(
            wanted(_FIELDS[key](one)) for key, wanted in fields
        )

    return chosen


_FIELDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "metadata.name": lambda one: one["metadata"]["name"],
    "metadata.namespace": lambda one: one["metadata"]["namespace"],
    "spec.nodeName": lambda one: one["spec"].get("nodeName", ""),
    "status.phase": lambda one: one["status"].get("phase", ""),
    "status.podIP": lambda one: one["status"].get("podIP", ""),
}


def _requirements(selector: str) -> list[tuple[str, Callable[[str | None], bool]]]:
    found: list[tuple[str, Callable[[str | None], bool]]] = []
    position = 0
    while position < len(selector):
        match = _REQUIREMENT.match(selector, position)
        if match is None:
            raise ValueError(f'unable to parse requirement: "{selector[position:]}"')
        found.append((match["key"], _test(match)))
        position = match.end()
    return found


def _test(match: re.Match[str]) -> Callable[[str | None], bool]:
    if match["op"] is not None:
        value, equal = match["value"], match["op"] != "!="
        return lambda got: (got == value) is equal
    if match["set"] is not None:
        values, inside = {v.strip() for v in match["values"].split(",")}, match["set"] == "in"
        return lambda got: (got in values) is inside
    there = match["not"] is None
    return lambda got: (got is not None) is there
