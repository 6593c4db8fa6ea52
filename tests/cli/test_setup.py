"""The set-up's lines are plain text for logs, coloured for people."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "setup.sh"
SAID = "Python 3.11 or newer is needed"


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """The script in a project of its own, where it stops at once for want of a Python."""
    (tmp_path / "tools").mkdir()
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).touch()
    return Path(shutil.copy(SCRIPT, tmp_path / "tools"))


def test_no_colour_codes_in_a_pipe(script: Path) -> None:
    done = subprocess.run(
        [script],
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"PYTHON": "false"},
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"[setup] {SAID}")


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_terminal_gets_colours_unless_it_objects(script: Path, no_color: str, coloured: bool) -> None:
    ours, theirs = pty.openpty()
    environment = os.environ | {"PYTHON": "false", "NO_COLOR": no_color}
    subprocess.run([script], stderr=theirs, timeout=60, check=False, env=environment)
    os.close(theirs)
    shown = os.read(ours, 10_000).decode()
    os.close(ours)
    assert SAID in shown
    assert ("\x1b[" in shown) is coloured
