"""New projects, and the harness over them in this process: its own has it start Python first."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from metricsmith.integration import leaks
from metricsmith.integration.harness import Examination, Options
from metricsmith.integration.kinds import Kind
from metricsmith.integration.project import read_project
from metricsmith.integration.report import Report
from metricsmith.integration.scaffold import write_project
from metricsmith.testing.commands import run_here

MakeProject = Callable[..., Path]
Command = Callable[..., tuple[int, str]]


@pytest.fixture
def new_project(tmp_path: Path) -> MakeProject:
    """Make projects called queue-depth."""

    def make(kind: Kind = Kind.PYTHON, name: str = "queue-depth") -> Path:
        folder = tmp_path / kind / name
        write_project(name, kind, folder)
        return folder

    return make


@dataclass
class Editor:
    """Changes files of a project; what is replaced must be there."""

    folder: Path

    def replace(self, file: str, old: str, new: str) -> None:
        path = self.folder / file
        text = path.read_text()
        assert old in text, f"{old!r} is not in {file}"
        path.write_text(text.replace(old, new))

    def append(self, file: str, text: str) -> None:
        with (self.folder / file).open("a") as opened:
            opened.write(text)


@pytest.fixture
def edit() -> Callable[[Path], Editor]:
    """Change a project's files."""
    return Editor


@pytest.fixture(autouse=True)
def _surroundings_as_they_were() -> Iterator[None]:
    """Undo what the harness sets, after all that a test has patched."""
    environment, path = dict(os.environ), list(sys.path)
    yield
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = path


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Report]:
    """Run the harness over a project within this process."""
    monkeypatch.setattr(leaks, "SEARCH", 20)

    def run(folder: Path, mode: str = "replay", *, golden: bool = False, collections: int = 0) -> Report:
        project = read_project(folder)
        options = Options(mode, golden, collections)
        checks = asyncio.run(Examination(project, options, lambda stage: None).run())
        return Report(project.name, project.declaration.integration.version, tuple(checks))

    return run


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Run `metricsmith integration` within this process, here or in a folder: exit code and output."""
    monkeypatch.setenv("COLUMNS", "500")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path, folder: Path | None = None) -> tuple[int, str]:
        if folder is not None:
            monkeypatch.chdir(folder)
        code = run_here("integration", *map(str, arguments))
        said = capsys.readouterr()
        return code, said.out + said.err

    return run
