"""The wheel of a project: what its pyproject.toml says, made by pip."""

from __future__ import annotations

import tempfile
from pathlib import Path

from metricsmith.integration.kinds import Kind
from metricsmith.integration.package.archive import EPOCH_VARIABLE
from metricsmith.integration.package.layout import PackageError
from metricsmith.integration.package.payload import PYPROJECT
from metricsmith.integration.package.wheels import run_pip
from metricsmith.integration.project import Project


def build_wheel(project: Project, version: str, time_s: int) -> tuple[str, bytes]:
    """Return the name and bytes of a project's wheel.

    Raises:
        PackageError: the project makes none, or one of another version.
    """
    if project.kind is not Kind.PYTHON or not (project.folder / PYPROJECT).is_file():
        raise PackageError(f"wheel: got kind {project.kind}, wanted kind python with a {PYPROJECT}")
    if version != project.declaration.integration.version:
        hint = project.line("integration", "version")
        raise PackageError(f"wheel: got --version {version}, wanted that of the project: change {hint}")
    with tempfile.TemporaryDirectory(prefix="metricsmith-wheel-") as scratch:
        arguments = ["wheel", "--quiet", "--no-deps", "--wheel-dir", scratch, "."]
        run_pip(arguments, "wheel", project.folder, {EPOCH_VARIABLE: str(time_s)})
        (path,) = Path(scratch).glob("*.whl")
        return path.name, path.read_bytes()
