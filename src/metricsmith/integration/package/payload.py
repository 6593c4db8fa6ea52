"""What of a project goes into packages: what runs, what it names in `files`, which libraries it needs."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from metricsmith.integration.kinds import Kind
from metricsmith.integration.package.layout import (
    EXECUTABLE,
    MAX_NAME,
    OWN,
    PLAIN,
    Entry,
    PackageError,
    check_path,
)
from metricsmith.integration.project import Project

LOCK = "requirements.lock"
PYPROJECT = "pyproject.toml"
RUNTIME = ("metricsmith.collector", "metricsmith.integration.inputs")
"""What collectors in packages may import of metricsmith: it needs nothing but Python."""
_RUNTIME_FILES = (
    "__init__.py",
    "collector.py",
    "errors.py",
    "model/__init__.py",
    "model/duration.py",
    "model/labels.py",
    "model/metadata.py",
    "integration/__init__.py",
    "integration/inputs.py",
    "integration/package/__init__.py",
    "integration/package/standalone.py",
    "sources/__init__.py",
    "sources/python/__init__.py",
    "sources/python/clients.py",
    "sources/python/find.py",
    "sources/python/limits.py",
    "sources/python/load.py",
    "sources/python/values.py",
    "wire/__init__.py",
    "wire/ohi/__init__.py",
    "wire/ohi/document.py",
    "wire/ohi/encode.py",
    "wire/ohi/samples.py",
)
MAX_BYTES = 256 << 20
_OURS = re.compile(r"metricsmith(?![A-Za-z0-9._-]*[A-Za-z0-9])", re.IGNORECASE)
_PYTHON_LINE = re.compile(rb"#!.*\bpython3?[0-9.]*\b")


@dataclass(frozen=True, slots=True)
class Needs:
    """Libraries: requirements as pip reads them, or a file that pins them; both empty for none."""

    requirements: tuple[str, ...] = ()
    lock: Path | None = field(default=None)

    def __bool__(self) -> bool:
        return bool(self.requirements or self.lock)


def project_files(project: Project) -> dict[str, Entry]:
    """Return what runs and what the project names in `files`, by path in the project.

    Raises:
        PackageError: a file is not there, leads out of the project, or has the name of a package's own.
    """
    found: dict[str, Entry] = {}
    for path in _named(project):
        name = check_path(path.relative_to(project.folder).as_posix())
        if _is_own(name):
            raise PackageError(
                f"{name}: packages have a file of that name of their own; take it out of `files`"
            )
        if not path.resolve().is_relative_to(project.folder.resolve()):
            raise PackageError(f"{name}: leads out of the project (copy the file in place of the link)")
        try:
            mode = EXECUTABLE if path.stat().st_mode & 0o100 else PLAIN
            found[name] = Entry(path.read_bytes(), mode)
        except OSError as error:
            raise PackageError(f"{name}: cannot be read: {error.strerror}") from None
        if sum(len(entry.data) for entry in found.values()) > MAX_BYTES:
            raise PackageError(f"{name}: files of the project are over {MAX_BYTES >> 20} MiB")
    return found


def is_inside(program: str) -> bool:
    """Return whether a program is a file of the project, not one that is looked for in PATH, or absolute."""
    return "/" in program and not program.startswith("/")


def _named(project: Project) -> Iterator[Path]:
    identity = project.declaration.integration
    if identity.collector is not None:
        yield project.folder / identity.collector
    for index, word in enumerate(identity.command):
        short = not word.startswith("/") and len(word) < MAX_NAME
        # A program must be there; of other words those are taken that are the names of files.
        if (index == 0 and is_inside(word)) or (short and (project.folder / word).is_file()):
            yield project.folder / word
    for index, pattern in enumerate(identity.files):
        chosen = sorted(project.folder.glob(pattern))
        there = [path for path in chosen if path.is_file() and _is_meant(path, pattern, project.folder)]
        if not there:
            where = project.line("integration", "files", index)
            raise PackageError(f'files: got "{pattern}", which no file is called ({where})')
        yield from (path for path in there if "__pycache__" not in path.parts)


def _is_meant(path: Path, pattern: str, folder: Path) -> bool:
    """Return whether a pattern means a file: as in a shell, none with a dot first, nor a package's own."""
    name = path.relative_to(folder).as_posix()
    hidden = any(part.startswith(".") for part in name.split("/"))
    return name == pattern or not (_is_own(name) or (hidden and not f"/{pattern}".count("/.")))


def _is_own(name: str) -> bool:
    return name in OWN or name.startswith("integrations.d/")


def script_of(project: Project, payload: dict[str, Entry]) -> str | None:
    """Return the program when it is a Python script of the project, else None."""
    if project.kind is Kind.PYTHON:
        return None
    name = project.declaration.integration.command[0].removeprefix("./")
    entry = payload.get(name)
    return name if entry is not None and _PYTHON_LINE.match(entry.data.partition(b"\n")[0]) else None


def needs_of(project: Project) -> Needs:
    """Return the libraries of a project: those of requirements.lock, else the dependencies of pyproject.toml.

    Raises:
        PackageError: pyproject.toml cannot be read, or asks for more of metricsmith than packages have.
    """
    path = project.folder / PYPROJECT
    try:
        table = tomllib.loads(path.read_text("utf-8")).get("project", {}) if path.is_file() else {}
    except (OSError, ValueError) as error:
        raise PackageError(f"{PYPROJECT}: {error}") from None
    kept = []
    for requirement in map(str, table.get("dependencies", ())):
        if not re.match(r"[A-Za-z0-9]", requirement) or "\n" in requirement:
            raise PackageError(f'{PYPROJECT}: got the dependency "{requirement[:60]}", wanted NAME>=VERSION')
        ours = _OURS.match(requirement)
        if ours is None:
            kept.append(requirement)
        elif "[" in requirement:
            hint = "run it in an agent, by a source of `type: python`"
            raise PackageError(f"{PYPROJECT}: {requirement}: packages have no extras of metricsmith ({hint})")
    lock = project.folder / LOCK
    return Needs((), lock) if lock.is_file() else Needs(tuple(kept))


def runtime() -> dict[str, Entry]:
    """Return the part of metricsmith that collectors in packages run with."""
    root = files("metricsmith")
    return {f"site/metricsmith/{name}": Entry(root.joinpath(name).read_bytes()) for name in _RUNTIME_FILES}


def check_imports(payload: dict[str, Entry]) -> None:
    """Refuse Python files that import a part of metricsmith which packages do not have.

    Raises:
        PackageError: with the file and line.
    """
    for name, entry in payload.items():
        if not name.endswith(".py"):
            continue
        try:
            tree = ast.parse(entry.data)
        except (SyntaxError, ValueError) as error:
            raise PackageError(f"{name}: is not Python: {error}") from None
        for line, module in _imports(tree):
            ours = module.split(".")[0] == "metricsmith"
            if ours and not any(module == known or known.startswith(module + ".") for known in RUNTIME):
                hint = "run it in an agent, by a source of `type: python`"
                have = " and ".join(RUNTIME)
                raise PackageError(f"{name}:{line}: imports {module}; packages have {have} ({hint})")


def _imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module
