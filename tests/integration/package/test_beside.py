"""What a program looks for beside itself is told at the build, not found out after the installation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from metricsmith.integration.kinds import Kind
from metricsmith.integration.package.beside import looks_beside_itself
from metricsmith.integration.project import read_project

MakeProject = Callable[..., Path]
HEAD = "import os\nfrom pathlib import Path\n"


@pytest.mark.parametrize(
    ("code", "files", "told"),
    [
        ('FOLDER = Path(__file__).parent / "backups"', "", ['3: looks for "backups"']),
        (
            'HERE = Path(__file__).parent\n\ndef f():\n    return HERE / "x.json"',
            "",
            ['6: looks for "x.json"'],
        ),
        ('HERE = Path(__file__).parent\nX = HERE / "x.json"', "x.json", []),
        ('HERE = Path(__file__).parent\nX = HERE / "data"', "data/*", []),
        ('HERE = Path(__file__).parent\nX = HERE / "more"', "x.json", ['4: looks for "more"']),
        (
            'X = os.path.join(os.path.dirname(__file__), "a.txt")\nY = Path(__file__).parent.joinpath("b")',
            "",
            ['3: looks for "a.txt"', '4: looks for "b"'],
        ),
        ("X = Path(__file__).parent / os.environ['X']", "", ["3: looks for a file"]),
        ("X = Path(__file__).parent / os.environ['X']", "x.json", []),
        ('X = Path("/var/backups") / "monday"\nY = "__file__"', "", []),
    ],
)
def test_each_place_is_told_with_its_line(
    new_project: MakeProject, code: str, files: str, told: list[str]
) -> None:
    folder = new_project()
    (folder / "queue_depth.py").write_text(HEAD + code + "\n")
    (folder / "data").mkdir()
    for name in ("x.json", "data/y.json"):
        (folder / name).write_text("{}")
    declaration = folder / "integration.yaml"
    lines = declaration.read_text().splitlines()
    kept = [f"  files: [{files}]" if line.startswith("  files:") else line for line in lines]
    declaration.write_text("\n".join(kept) + "\n")
    remarks = looks_beside_itself(read_project(folder))
    assert [remark.partition(" beside")[0] for remark in remarks] == [f"queue_depth.py:{one}" for one in told]
    assert all("`files` in integration.yaml" in each and "from a setting" in each for each in remarks)


@pytest.mark.parametrize("kind", list(Kind))
def test_of_new_projects_there_is_nothing_to_say(kind: Kind, new_project: MakeProject) -> None:
    assert looks_beside_itself(read_project(new_project(kind))) == []
