"""New projects: a collector, its declaration, tests, a sample configuration; all work as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from metricsmith.integration.kinds import Kind
from metricsmith.integration.names import Names, check_name
from metricsmith.integration.project import DECLARATION, GOLDEN, RECORDINGS, SAMPLE_CONFIG

_FIELD = re.compile(r"@([A-Za-z_]+)@")
EXECUTABLE = 0o755


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file of a new project."""

    path: str
    text: str
    executable: bool = False


class AlreadyThere(Exception):
    """Files would be overwritten; `paths` are theirs."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths
        super().__init__(", ".join(paths))


def write_project(name: str, kind: Kind, folder: Path, *, force: bool = False) -> list[str]:
    """Write a new project into a folder and return the paths in it.

    Nothing is written when anything is there already, unless `force` says to
    overwrite. Other files of the folder are left alone in either case.

    Raises:
        AlreadyThere: files of the project are there.
        OSError: cannot be written.
        ValueError: not a name; the message says what would do.
    """
    made = list(new_project(check_name(name), kind))
    there = [each.path for each in made if (folder / each.path).exists() or (folder / each.path).is_symlink()]
    if there and not force:
        raise AlreadyThere(there)
    for each in made:
        path = folder / each.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            path.unlink()  # what it points to is not ours
        path.write_text(each.text, encoding="utf-8")
        if each.executable:
            path.chmod(EXECUTABLE)
    return [each.path for each in made]


def new_project(name: str, kind: Kind) -> Iterator[NewFile]:
    """Yield the files of a new project."""
    names = Names(name)
    fields = _fields(names, kind)
    sample = fields["sample"]
    of_kind, common = kind.value, "common"
    golden = of_kind if kind is Kind.EXEC else common
    sample_from = of_kind if kind is Kind.EXEC else common

    def text(folder: str, template: str) -> str:
        return _filled(_template(folder, template), fields)

    yield NewFile(DECLARATION, text(common, "integration.yaml") + text(of_kind, "metrics"))
    if kind is Kind.PYTHON:
        yield NewFile(fields["program"], text(of_kind, "collector.py"))
        yield NewFile("pyproject.toml", text(of_kind, "pyproject.toml"))
    else:
        yield NewFile(fields["program"], text(of_kind, "program"), executable=True)
    if kind is Kind.OHI:
        yield NewFile("definition.yml", text(of_kind, "definition.yml"))
        yield NewFile(f"integrations.d/{name}.yml", text(of_kind, "integrations.yml"))
    yield NewFile(SAMPLE_CONFIG, text(of_kind, "metricsmith.yaml"))
    yield NewFile(sample, text(sample_from, sample))
    yield NewFile(f"{RECORDINGS}/queues{Path(sample).suffix}", text(sample_from, sample))
    yield NewFile(GOLDEN, text(golden, "golden"))
    yield NewFile(f"tests/test_{names.module}.py", text(of_kind, "test.py"))
    yield NewFile("README.md", text(common, "README.md"))
    yield NewFile(".gitignore", text(common, "gitignore"))


def _fields(names: Names, kind: Kind) -> dict[str, str]:
    python = kind is Kind.PYTHON
    program = f"{names.module}.py" if python else names.name
    return {
        "name": names.name,
        "module": names.module,
        "prefix": names.prefix,
        "VARIABLE": names.variable,
        "Camel": names.camel,
        "kind": kind.value,
        "program": program,
        "sample": "sample.txt" if kind is Kind.EXEC else "sample.json",
        "runs": f"collector: {program}" if python else f"command: [./{program}]",
        "input": "input" if kind is Kind.EXEC else "fetch",
        "try": f"{_TRY[kind].format(program):54}# what does it give now?",
        "source_help": "A file with queues." if kind is Kind.EXEC else "A URL or a file with queues.",
    }


_TRY: Mapping[Kind, str] = {
    Kind.PYTHON: "metricsmith collect {} --once",
    Kind.EXEC: "./{}",
    Kind.OHI: "./{}",
}


def _template(folder: str, name: str) -> str:
    return files("metricsmith.integration").joinpath("templates", folder, f"{name}.tmpl").read_text("utf-8")


def _filled(template: str, fields: Mapping[str, str]) -> str:
    return _FIELD.sub(lambda found: fields[found[1]], template)
