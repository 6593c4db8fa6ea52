"""A folder that an image is built from: an agent with the integration in it."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from metricsmith.integration.generate.yaml_text import yaml_text
from metricsmith.integration.package import declared, layout
from metricsmith.integration.package.layout import Built, Entry, PackageError
from metricsmith.integration.package.targets import Form
from metricsmith.integration.project import Project

MACHINES = (Form.LINUX_AMD64, Form.LINUX_ARM64)
_MARK = "# Made by `metricsmith integration build --target oci-image`."
_DOCKERFILE = """\
# syntax=docker/dockerfile:1
{mark}
# The base is one image and no other, so its digest is wanted; it is an image of metricsmith:
#   docker build --build-arg AGENT_IMAGE=… --build-arg AGENT_DIGEST=sha256:… --tag {name}:{version} .
ARG AGENT_IMAGE=metricsmith
ARG AGENT_DIGEST

FROM ${{AGENT_IMAGE}}@${{AGENT_DIGEST}}
ARG TARGETARCH
LABEL org.opencontainers.image.title="{name}" \\
      org.opencontainers.image.version="{version}"
COPY linux-${{TARGETARCH}}/ /opt/integrations/{name}/
COPY metricsmith.yaml /etc/metricsmith/metricsmith.yaml
COPY {name}.yml /etc/metricsmith/integrations.d/{name}.yml
# A number, so that a cluster sees that it is not root.
USER 10001:10001
CMD ["run", "-c", "/etc/metricsmith/metricsmith.yaml"]
"""


def context(project: Project, version: str, machines: Mapping[Form, Mapping[str, Entry]]) -> dict[str, Entry]:
    """Return the files of the folder: programs, an agent's configuration, a Dockerfile."""
    name = project.name
    agent = {
        "service": {"name": name},
        "server": {"listen": "0.0.0.0:9480"},
        "sources": [{"type": "exec", "name": "integrations", "files": ["integrations.d/*.yml"]}],
    }
    text = _DOCKERFILE.format(mark=_MARK, name=name, version=version)
    unit = declared.integration_file(project.declaration, f"/opt/integrations/{name}")
    made = {"Dockerfile": text, "metricsmith.yaml": yaml_text(agent), f"{name}.yml": unit}
    found = {path: Entry(text.encode()) for path, text in made.items()}
    for form, entries in machines.items():
        found |= {f"{form.value}/{path}": entry for path, entry in entries.items()}
    return found


def write_context(
    project: Project, version: str, machines: Mapping[Form, Mapping[str, Entry]], out: Path
) -> Built:
    """Write the folder in place of an earlier one, and return it.

    Raises:
        PackageError: something else is in its place.
        OSError: it cannot be written, or the earlier one not be removed.
    """
    entries = context(project, version, machines)
    folder = out / f"{project.name}-{version}-{Form.OCI_IMAGE}"
    dockerfile = folder / "Dockerfile"
    if folder.exists() and not (dockerfile.is_file() and _MARK in dockerfile.read_text("utf-8", "replace")):
        raise PackageError(f"{folder}: is there and was not made by this command (move it away)")
    made = Path(tempfile.mkdtemp(prefix=".new-", dir=out))
    try:
        _write(entries, made)
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    sums = layout.sums_of(entries)
    size = sum(len(entry.data) for entry in entries.values())
    return Built(Form.OCI_IMAGE, folder, size, hashlib.sha256(sums).hexdigest())


def _write(entries: Mapping[str, Entry], folder: Path) -> None:
    for name, entry in entries.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(entry.data)
        path.chmod(entry.mode)
    for place in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        place.chmod(layout.EXECUTABLE)
