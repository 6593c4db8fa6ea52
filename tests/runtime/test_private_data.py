"""What the agent keeps is its user's alone, whatever the umask; folders that are there stay as they are."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from metricsmith.config.load import load_text
from metricsmith.model.clock import SystemClock
from metricsmith.model.findings import Findings, Level
from metricsmith.runtime.agent import Agent
from metricsmith.runtime.doctor.disk import examine_disk
from metricsmith.store.snapshot import move_snapshot
from metricsmith.testing.programs import AgentProgram

CONFIG = """
server: {{listen: "127.0.0.1:{port}", admin_api: true}}
storage: {{path: "{data}"}}
sources: []
"""


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def opened_to_others(folder: Path) -> list[str]:
    """Return the files below a folder that others can reach and read."""
    found = []
    for each in folder.iterdir():
        if each.is_dir() and mode(each) & stat.S_IXOTH:
            found += opened_to_others(each)
        elif each.is_file() and mode(each) & stat.S_IROTH:
            found.append(each.name)
    return sorted(found)


@pytest.mark.parametrize("there", [False, True])
def test_a_data_directory(there: bool, tmp_path: Path) -> None:
    agent = AgentProgram(tmp_path, CONFIG)
    if there:  # as an operator, a volume or a package made it
        agent.data.mkdir(mode=0o755)
    agent.start()
    try:
        assert agent.push({"depth": 1.0}).status == 201
        assert agent.ask("/api/v1/admin/tsdb/snapshot", b"").status == 200
    finally:
        agent.stop()
    assert mode(agent.data) == (0o755 if there else 0o700)
    assert {mode(each) for each in agent.data.iterdir() if each.is_dir()} == {0o700}
    assert opened_to_others(agent.data) == ["FORMAT", "LOCK"]  # neither says anything of the samples
    (snapshot,) = (agent.data / "snapshots").iterdir()
    assert mode(snapshot) == 0o700
    copied = tmp_path / "backup"
    move_snapshot(snapshot, copied, lambda _: None)
    assert mode(copied) == 0o700


async def test_folders_that_are_there_stay_as_they_are(tmp_path: Path) -> None:
    configuration = load_text(f'storage: {{path: "{tmp_path}/data"}}', "", {})
    for name in ("data", "data/blocks", "data/journal"):
        (tmp_path / name).mkdir(mode=0o755)
    agent = Agent(configuration)
    await agent.stop()
    assert [mode(tmp_path / n) for n in ("data", "data/blocks", "data/journal")] == [0o755] * 3
    found = Findings(SystemClock(), 10.0)
    examine_disk(configuration, [], found)
    (line,) = [line for line in found.lines if line.about == "access"]
    assert line.level is Level.WARNING and "all users of this machine can read the blocks" in line.got
    (tmp_path / "data").chmod(0o700)
    found = Findings(SystemClock(), 10.0)
    examine_disk(configuration, [], found)
    assert [line.level for line in found.lines if line.about == "access"] == [Level.OK]
