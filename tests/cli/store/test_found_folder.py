"""Commands on a data directory that nobody names: ./data, else that of the running agent."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metricsmith.testing.programs import AgentProgram

Run = Callable[..., subprocess.CompletedProcess[str]]
CONFIG = """
server: {{listen: "127.0.0.1:{port}"}}
storage: {{path: elsewhere}}
sources: []
"""
SAMPLE = {"__name__": "up", "job": "shop"}


@pytest.fixture
def started_in(tmp_path: Path) -> Iterator[tuple[AgentProgram, Path]]:
    """An agent with a relative `storage.path`, and the folder that it was started in."""
    folder, agent = tmp_path / "of-agent", AgentProgram(tmp_path, CONFIG)
    folder.mkdir()
    before = Path.cwd()
    os.chdir(folder)
    try:
        agent.start()
    finally:
        os.chdir(before)
    yield agent, folder
    agent.kill()


def test_it_is_that_of_the_running_agent(
    here: Run,
    fill: Callable[..., None],
    started_in: tuple[AgentProgram, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    agent, folder = started_in
    monkeypatch.chdir(tmp_path)
    verified = here("store", "verify", "--url", agent.url, "--json")
    assert json.loads(verified.stdout)["path"] == str(folder / "elsewhere")
    for command in (("store", "stats"), ("sql", "SELECT count(*) FROM samples")):
        done = here(*command, "--url", agent.url)
        assert done.returncode == 0, done
    fill(tmp_path / "data", [(SAMPLE, {1_700_000_000_000: 1.0})])
    stats = here("store", "stats", "--url", agent.url, "--json")
    assert json.loads(stats.stdout)["samples"] == 1, "./data comes first"


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"storage.type": "prometheus", "storage.path": "x"}, "got storage.type prometheus"),
        ({"storage.type": "embedded", "storage.path": "/not/here"}, "keeps its samples in /not/here"),
        ({}, "got no data directory of the agent"),
    ],
)
def test_one_that_cannot_be_found_is_told(
    here: Run,
    api: tuple[str, dict[str, Any]],
    flags: dict[str, str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, state = api
    state["paths"] = {"/api/v1/status/flags": flags, "/api/v1/status/runtimeinfo": {"CWD": str(tmp_path)}}
    monkeypatch.chdir(tmp_path)
    done = here("store", "stats", "--url", url)
    assert (done.returncode, told in done.stderr) == (1, True), done.stderr


def test_without_an_agent_it_is_said_what_to_name(
    here: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = here("sql", "SELECT 1", "--url", "http://127.0.0.1:1")
    assert done.returncode == 1
    assert "no data directory at data, wanted --path DIR" in done.stderr
    assert "no agent answers at http://127.0.0.1:1" in done.stderr
