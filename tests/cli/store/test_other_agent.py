"""A directory that some process holds: only the agent that keeps its samples there is asked."""

from __future__ import annotations

import fcntl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
Api = tuple[str, dict[str, Any]]
TOLD = {"/api/v1/status/flags", "/api/v1/status/runtimeinfo"}
"""What an agent is asked to learn which directory is its own."""
COMMANDS = {
    "delete-series": ("store", "delete-series", "--match", "up", "--yes"),
    "snapshot": ("store", "snapshot", "TARGET"),
    "export": ("store", "export", "--out", "TARGET"),
    "import": ("store", "import", "FILE"),
    "sql": ("sql", "--fresh", "SELECT 1"),
}
every_command = pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)


@pytest.fixture
def held(fill: Callable[..., None], tmp_path: Path) -> Iterator[Path]:
    """A data directory that a process holds."""
    folder = tmp_path / "held"
    fill(folder, [({"__name__": "up"}, {1_795_000_000_000: 1.0})])
    with (folder / "LOCK").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


@pytest.fixture
def arguments(tmp_path: Path) -> Callable[[tuple[str, ...]], list[str]]:
    places = {"TARGET": tmp_path / "target", "FILE": tmp_path / "up.prom"}
    places["FILE"].write_text("up 1 1795000000000\n")
    return lambda command: [str(places.get(word, word)) for word in command]


def keeps(api: Api, folder: Path) -> None:
    """Have the agent say that it keeps its samples in a folder, relative to where it was started."""
    flags = {"storage.type": "embedded", "storage.path": folder.name}
    told = {"CWD": str(folder.parent), "storageRetention": "30d"}
    api[1]["paths"] = dict(zip(sorted(TOLD), (flags, told), strict=True))


def asked(api: Api) -> set[str]:
    return {path for path, _ in api[1]["asked"]} - TOLD


@every_command
def test_another_agent_at_the_address_is_asked_for_nothing(
    here: Run, api: Api, held: Path, arguments: Any, command: tuple[str, ...], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    keeps(api, other)
    done = here(*arguments(command), "--path", str(held), "--url", api[0])
    assert done.returncode == 1, done
    assert f"{api[0]} keeps its samples in {other}" in done.stderr
    assert asked(api) == set()
    assert not (tmp_path / "target").exists()


@every_command
def test_nobody_at_the_address_is_told_with_who_holds_it(
    here: Run, held: Path, arguments: Any, command: tuple[str, ...]
) -> None:
    done = here(*arguments(command), "--path", str(held), "--url", "http://127.0.0.1:1")
    assert done.returncode == 5, done
    assert f"{held} is used by process" in done.stderr


def test_the_agent_that_keeps_it_is_asked_by_any_name_of_it(
    here: Run, api: Api, held: Path, tmp_path: Path
) -> None:
    keeps(api, held)
    (tmp_path / "link").symlink_to(held)
    api[1]["answer"] = {"status": "success", "data": {"series": 3}}
    done = here(*COMMANDS["delete-series"], "--path", str(tmp_path / "link"), "--url", api[0])
    assert done.stdout == "deleted samples of 3 series\n", done
    assert asked(api) == {"/api/v1/admin/tsdb/delete_series"}


def test_one_that_does_not_know_where_it_was_started_is_asked_for_nothing(
    here: Run, api: Api, held: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeps(api, held)
    api[1]["paths"]["/api/v1/status/runtimeinfo"]["CWD"] = ""
    monkeypatch.chdir(held.parent)  # where its relative path happens to be ours
    done = here(*COMMANDS["delete-series"], "--path", held.name, "--url", api[0])
    assert (done.returncode, asked(api)) == (1, set()), done
    assert "or cannot say where" in done.stderr


def test_memory_of_another_agent_is_not_counted(here: Run, api: Api, held: Path, tmp_path: Path) -> None:
    keeps(api, tmp_path)
    done = here("store", "stats", "--path", str(held), "--url", api[0], "--json")
    assert (done.returncode, '"in_memory": null' in done.stdout) == (0, True), done
    assert f"keeps its samples in {tmp_path}" in done.stderr
    assert asked(api) == set()


@pytest.mark.parametrize("visible", [True, False], ids=["free", "not here"])
def test_no_snapshot_is_asked_for_that_could_not_be_taken_away(
    here: Run, api: Api, fill: Callable[..., None], tmp_path: Path, visible: bool
) -> None:
    folder = tmp_path / "data"
    if visible:  # a directory of this machine that nobody holds: the agent is on another
        fill(folder, [({"__name__": "up"}, {1_795_000_000_000: 1.0})])
    keeps(api, folder)
    done = here("store", "snapshot", str(tmp_path / "target"), "--url", api[0])
    assert (done.returncode, "cannot be read from here" in done.stderr) == (1, True), done
    assert asked(api) == set()
