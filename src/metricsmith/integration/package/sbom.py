"""The list of what is in a package, as CycloneDX JSON: https://cyclonedx.org/docs/1.5/json/."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from metricsmith import __version__
from metricsmith.integration.package.layout import Entry, Manifest
from metricsmith.integration.package.wheels import Library

_SEPARATORS = re.compile(r"[-_.]+")


def sbom(
    manifest: Manifest, libraries: Sequence[Library], files: Mapping[str, Entry], ours: bool, time_s: int
) -> bytes:
    """Return the list; its serial number follows from the content. `ours`: metricsmith is a part of it."""
    root = f"pkg:generic/{manifest.name}@{manifest.version}"
    parts = [_library(each) for each in libraries]
    if ours:
        parts.append(_component("metricsmith", __version__, "Apache-2.0"))
    parts.sort(key=lambda part: str(part["bom-ref"]))
    described = {"type": "application", "bom-ref": root, "name": manifest.name, "version": manifest.version}
    target = {"name": "metricsmith:target", "value": manifest.target}
    listed = [*parts, *(_file(name, files[name]) for name in sorted(files))]
    document: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "tools": {"components": [_component("metricsmith", __version__, "Apache-2.0", "application")]},
            "component": {**described, "purl": root, "properties": [target]},
        },
        "components": listed,
        "dependencies": [
            {"ref": root, "dependsOn": [part["bom-ref"] for part in parts]},
            *({"ref": part["bom-ref"], "dependsOn": []} for part in parts),
        ],
    }
    document["metadata"]["tools"]["components"][0].pop("bom-ref")
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(document, sort_keys=True))
    return json.dumps({**document, "serialNumber": f"urn:uuid:{serial}"}, indent=2).encode() + b"\n"


def _library(library: Library) -> dict[str, Any]:
    found = _component(library.name, library.version, library.licence)
    return {**found, "hashes": [{"alg": "SHA-256", "content": library.sha256}]}


def _component(name: str, version: str, licence: str, kind: str = "library") -> dict[str, Any]:
    purl = f"pkg:pypi/{_SEPARATORS.sub('-', name).lower()}@{version}"
    found: dict[str, Any] = {"type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl}
    if licence:
        found["licenses"] = [{"license": {"name": licence}}]
    return found


def _file(name: str, entry: Entry) -> dict[str, Any]:
    digest = hashlib.sha256(entry.data).hexdigest()
    hashes = [{"alg": "SHA-256", "content": digest}]
    return {"type": "file", "bom-ref": f"file:{name}", "name": name, "hashes": hashes}
