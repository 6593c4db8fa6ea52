"""New projects are whole, and overwrite nothing."""

from __future__ import annotations

import ast
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.config import load_file
from metricsmith.integration.alerts import rule_file
from metricsmith.integration.kinds import Kind
from metricsmith.integration.names import check_name
from metricsmith.integration.project import read_declaration, read_project
from metricsmith.integration.scaffold import AlreadyThere, new_project, write_project
from metricsmith.sources.exec.files import read_all

MakeProject = Callable[..., Path]
KINDS = list(Kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_project_is_read_and_configured_as_it_is(kind: Kind, new_project: MakeProject) -> None:
    folder = new_project(kind)
    project = read_project(folder)
    assert (project.name, project.kind, project.has_recordings()) == ("queue-depth", kind, True)
    (part,) = load_file(folder / "metricsmith.yaml").of("sources")
    if kind is not Kind.PYTHON:
        found = read_all(part.config)
        assert not found.problems and [each.integration.name for each in found.entries] == ["queue-depth"]
    groups = rule_file(project.declaration)["groups"]
    assert len(groups[0]["rules"]) == 2
    readme = (folder / "README.md").read_text()
    assert "metricsmith integration test" in readme and "@" not in readme.replace("`@", "")


@pytest.mark.parametrize("kind", [Kind.EXEC, Kind.OHI])
def test_executables_are_executable_and_alone(kind: Kind, new_project: MakeProject, tmp_path: Path) -> None:
    folder = new_project(kind)
    done = subprocess.run(
        [folder / "queue-depth"], cwd=tmp_path, env={"PATH": os.environ["PATH"]}, capture_output=True,
        text=True, check=True, timeout=100,
    )  # fmt: skip
    assert len(done.stdout.splitlines()) == 1
    assert '"mail"' in done.stdout


def test_the_script_tells_lines_that_it_passes_over(new_project: MakeProject) -> None:
    folder = new_project(Kind.EXEC)
    (folder / "sample.txt").write_text('mail 3\norders many 2\nq"\\x 3 4.5\n')
    done = subprocess.run([folder / "queue-depth"], capture_output=True, text=True, check=True, timeout=100)
    assert done.stderr == "".join(f"queue-depth: line {n}: wanted NAME ITEMS SECONDS\n" for n in (1, 2))
    (sample,) = json.loads(done.stdout)["data"][0]["metrics"]
    assert sample == {"event_type": "QueueDepthSample", "queue": 'q"\\x', "items": 3, "oldest_seconds": 4.5}


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_overwritten_unless_it_is_said(kind: Kind, new_project: MakeProject) -> None:
    folder = new_project(kind)
    (folder / "README.md").write_text("mine")
    (folder / "notes").write_text("mine")
    (folder / "integration.yaml").unlink()
    with pytest.raises(AlreadyThere) as caught:
        write_project("queue-depth", kind, folder)
    assert "README.md" in caught.value.paths and "integration.yaml" not in caught.value.paths
    assert not (folder / "integration.yaml").exists(), "all or nothing"
    assert (folder / "README.md").read_text() == "mine"
    write_project("queue-depth", kind, folder, force=True)
    assert (folder / "README.md").read_text() != "mine"
    assert (folder / "notes").read_text() == "mine"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "README.md").symlink_to(outside)
    with pytest.raises(AlreadyThere):
        write_project("queue-depth", Kind.PYTHON, folder)
    write_project("queue-depth", Kind.PYTHON, folder, force=True)
    assert outside.read_text() == "mine"


@given(st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True), st.sampled_from(KINDS))
def test_any_good_name_makes_a_good_project(name: str, kind: Kind) -> None:
    try:
        check_name(name)
    except ValueError:
        return
    made = {each.path: each.text for each in new_project(name, kind)}
    for path, text in made.items():
        assert ".." not in Path(path).parts and not Path(path).is_absolute()
        if path.endswith(".py") or text.startswith("#!/usr/bin/env python3"):
            ast.parse(text)
        if path.endswith((".yaml", ".yml")):
            assert yaml.safe_load(text)
    declaration, _ = read_declaration(made["integration.yaml"])
    assert declaration.integration.name == name


def test_what_new_projects_hold_is_told_by_nothing_of_python(new_project: MakeProject) -> None:
    """A collector needs Python's standard library and metricsmith, an executable of kind ohi Python alone."""
    python = (new_project(Kind.PYTHON) / "queue_depth.py").read_text()
    ohi = (new_project(Kind.OHI) / "queue-depth").read_text()
    assert {name for name in _imported(python) if name != "metricsmith"} <= STANDARD
    assert _imported(ohi) <= STANDARD


STANDARD = {"__future__", "collections", "dataclasses", "json", "os", "pathlib", "sys", "time", "urllib"}


def _imported(text: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {each.name.partition(".")[0] for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found
