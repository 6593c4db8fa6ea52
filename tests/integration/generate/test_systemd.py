"""The unit is what systemd takes, and leaves the agent nothing that it does not need."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from metricsmith.integration.generate.configured import Configured
from metricsmith.integration.generate.systemd import CONFIG, UNIT, systemd

Configure = Callable[..., Configured]
DEPLOY = Path(__file__).parents[3] / "deploy"
PROGRAM = "/usr/local/bin/metricsmith"


@pytest.fixture(scope="session")
def systemd_analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze is not here")
    return found


def test_systemd_takes_it_without_a_word(configure: Configure, tmp_path: Path, systemd_analyze: str) -> None:
    program = tmp_path / "metricsmith"
    program.symlink_to(sys.executable)
    unit = tmp_path / UNIT
    unit.write_text(systemd(configure("{}"), str(program), CONFIG).files[UNIT])
    said = subprocess.run([systemd_analyze, "verify", unit], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout + said.stderr) == (0, "")


@pytest.mark.parametrize(("port", "exposure"), [(9480, 1.6), (443, 2.0)])
def test_it_is_exposed_little(
    configure: Configure, tmp_path: Path, systemd_analyze: str, port: int, exposure: float
) -> None:
    unit = tmp_path / UNIT
    unit.write_text(systemd(configure(f"server: {{listen: '0.0.0.0:{port}'}}"), PROGRAM, CONFIG).files[UNIT])
    command = [
        systemd_analyze,
        "security",
        "--offline=true",
        "--no-pager",
        f"--threshold={exposure * 10:.0f}",
        unit,
    ]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout[-300:]


def test_the_page_says_how_little(configure: Configure, tmp_path: Path, systemd_analyze: str) -> None:
    page = (Path(__file__).parents[3] / "docs/generate.md").read_text()
    (command,) = re.findall(r"^\$ (systemd-analyze .*)", page, re.MULTILINE)
    (exposure,) = re.findall(r"an exposure of ([\d.]+)\.", page)
    (tmp_path / UNIT).write_text(systemd(configure("{}"), PROGRAM, CONFIG).files[UNIT])
    words = [systemd_analyze, *command.split()[1:]]
    said = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert f"exposure level for {UNIT}: {exposure} " in said.stdout


def test_a_low_port_needs_a_privilege_and_no_other_one_does(configure: Configure) -> None:
    def capabilities(listen: str) -> str:
        unit = systemd(configure(f"server: {{listen: '{listen}'}}"), PROGRAM, CONFIG).files[UNIT]
        return next(line for line in unit.splitlines() if line.startswith("AmbientCapabilities="))

    assert capabilities("127.0.0.1:443") == "AmbientCapabilities=CAP_NET_BIND_SERVICE"
    assert capabilities("127.0.0.1:9480") == "AmbientCapabilities="


def test_the_unit_in_the_tree_is_the_one_that_is_generated(configure: Configure) -> None:
    generated = systemd(configure("{}"), PROGRAM, CONFIG).files[UNIT]
    assert (DEPLOY / UNIT).read_text() == generated, "run `make deploy`"
