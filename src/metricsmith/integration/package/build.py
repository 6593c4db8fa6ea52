"""Packages from a project: what runs, what agents read, and what can be checked before it is installed."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from metricsmith.integration.kinds import Kind
from metricsmith.integration.package import archive, declared, image, layout, payload, wheel
from metricsmith.integration.package.layout import Built, Entry, Manifest, PackageError
from metricsmith.integration.package.sbom import sbom
from metricsmith.integration.package.targets import TARGETS, Form, Target
from metricsmith.integration.package.wheels import Library, libraries
from metricsmith.integration.project import DECLARATION, Project
from metricsmith.model.durable_files import replace_file

LEAST_PYTHON = "3.11"
"""Of packages without C libraries: that of metricsmith itself."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to build: for which machines, under which version, for which Python where that matters."""

    forms: Sequence[Form]
    version: str
    python: str = f"{sys.version_info.major}.{sys.version_info.minor}"
    out: Path = Path("dist")


def build(project: Project, order: Order, progress: Callable[[str], None]) -> list[Built]:
    """Return what was built, in the order's order; all of it is written when all of it could be made.

    Raises:
        PackageError: something is missing; nothing is written then.
        OSError: cannot be written.
    """
    time_s = archive.build_time()
    made: dict[Form, Contents] = {}
    for form in order.forms:
        progress(f"{form}: building")
        for machine in image.MACHINES if form is Form.OCI_IMAGE else (form,):
            if machine in TARGETS and machine not in made:
                made[machine] = _contents(project, order, TARGETS[machine], time_s)
    wheels = {form: wheel.build_wheel(project, order.version, time_s)
              for form in order.forms if form is Form.WHEEL}  # fmt: skip
    order.out.mkdir(parents=True, exist_ok=True)
    built = []
    for form in order.forms:
        if form is Form.WHEEL:
            built.append(_write(form, order.out / wheels[form][0], wheels[form][1]))
        elif form is Form.OCI_IMAGE:
            contexts = {machine: made[machine].entries for machine in image.MACHINES}
            built.append(image.write_context(project, order.version, contexts, order.out))
        else:
            contents = made[form]
            data = archive.tar_gz(contents.manifest.folder, contents.entries, time_s)
            path = order.out / f"{contents.manifest.folder}.tar.gz"
            built.append(_write(form, path, data, len(contents.libraries)))
    return built


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in the package of one machine."""

    manifest: Manifest
    entries: dict[str, Entry]
    libraries: list[Library]


def _contents(project: Project, order: Order, target: Target, time_s: int) -> Contents:
    own = payload.project_files(project)
    needs = payload.needs_of(project)
    script = payload.script_of(project, own)
    packed = project.kind is Kind.PYTHON or (bool(needs) and script is not None)
    if needs and not packed:
        raise PackageError(f"{payload.PYPROJECT}: has dependencies, and what runs is no Python script")
    site, found = libraries(needs, target, order.python) if needs else ({}, [])
    entries, python = dict(own), LEAST_PYTHON if packed else None
    if packed:
        exact = not all(library.pure for library in found)
        python = order.python if exact or found else LEAST_PYTHON
        run = _run(project, script)
        program = _zipapp(project, order.version, own, site, (run, python, exact), time_s)
        entries = {project.name if script is None else script: program}
    manifest = Manifest(name=project.name, version=order.version, target=target.form.value, python=python)
    ours = project.kind is Kind.PYTHON
    entries |= _described(project, order.version, target)
    entries[layout.MANIFEST] = Entry(manifest.encode())
    entries[layout.SBOM] = Entry(sbom(manifest, found, entries, ours, time_s))
    entries[layout.SUMS] = Entry(layout.sums_of(entries))
    return Contents(manifest, entries, found)


def _run(project: Project, script: str | None) -> dict[str, str]:
    if script is not None:
        return {"script": script}
    return {"collector": str(project.declaration.integration.collector)}


def _zipapp(
    project: Project,
    version: str,
    own: dict[str, Entry],
    site: dict[str, Entry],
    how: tuple[dict[str, str], str, bool],
    time_s: int,
) -> Entry:
    """Return the program: the project's files under app/, libraries under site/."""
    run, python, exact = how
    inside = {f"app/{name}": entry for name, entry in own.items()} | site
    if project.kind is Kind.PYTHON:
        payload.check_imports(own)
        inside |= payload.runtime()
    digest = hashlib.sha256(layout.sums_of(inside)).hexdigest()[:16]
    data_files = any(not name.endswith(".py") for name in own)
    settings = {
        "name": project.name,
        "version": version,
        "python": [int(part) for part in python.split(".")],
        "exact": exact,
        "unpack": exact or data_files or "script" in run,
        "digest": digest,
        "run": run,
        "types": {metric.name: metric.type for metric in project.declaration.metrics},
        "max_samples": project.declaration.limits.max_samples,
    }
    inside["settings.json"] = Entry(json.dumps(settings, indent=1).encode())
    start = files("metricsmith.integration.package").joinpath("bootstrap.py").read_bytes()
    inside["__main__.py"] = Entry(start)
    return archive.zipapp(inside, time_s)


def _described(project: Project, version: str, target: Target) -> dict[str, Entry]:
    declaration = project.declaration
    text = (project.folder / DECLARATION).read_text("utf-8")
    made = {
        DECLARATION: declared.packaged_declaration(text, declaration, version),
        layout.DEFINITION: declared.definition(declaration, version, target.system.lower()),
        layout.SAMPLE: declared.sample(declaration),
        f"{layout.FILES_FOLDER}/{project.name}.yml": declared.integration_file(declaration, ".."),
    }
    return {name: Entry(text.encode()) for name, text in made.items()}


def _write(form: Form, path: Path, data: bytes, count: int = 0) -> Built:
    """Write a file and, beside it, its checksum as `sha256sum --check` reads it."""
    digest = hashlib.sha256(data).hexdigest()
    replace_file(path, data)
    replace_file(path.with_name(path.name + ".sha256"), f"{digest}  {path.name}\n".encode())
    return Built(form, path, len(data), digest, count)
