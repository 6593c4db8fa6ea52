"""`metricsmith store snapshot`: all that was acknowledged, whatever the agent does meanwhile and later."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metricsmith.store.snapshot import move_snapshot
from metricsmith.testing.programs import AgentProgram, eventually

Run = Callable[..., subprocess.CompletedProcess[str]]
Read = Callable[[Path], Any]
CONFIG = """
server: {{listen: "127.0.0.1:{port}", admin_api: true}}
storage: {{path: "{data}", head_bytes: 64KB}}
sources: []
"""


def blocks_of(folder: Path) -> set[str]:
    return {block.name for block in folder.glob("blocks/*")}


def test_snapshots_under_load(here: Run, content_of: Read, tmp_path: Path) -> None:
    agent = AgentProgram(tmp_path, CONFIG)
    agent.start()
    begin_ms = time.time_ns() // 1_000_000 - 20 * 3_600_000
    acknowledged: list[int] = []
    stop = threading.Event()

    def push() -> None:
        number = 0
        while not stop.is_set():
            metrics = {f"load_{k}": float(number * 100 + k) for k in range(100)}
            # Into many windows, so that there is always something to flush and to merge.
            at_ms = begin_ms + number % 7 * 3 * 3_600_000 - number
            if agent.push(metrics, at_ms).status == 201:
                acknowledged.append(at_ms)
            number += 1

    pusher = threading.Thread(target=push)
    pusher.start()
    try:
        taken = []
        for n in range(3):
            eventually(lambda wanted=40 * (n + 1): len(acknowledged) >= wanted)
            before = list(acknowledged)
            target = tmp_path / f"snapshot-{n}"
            done = here("store", "snapshot", "-c", str(agent.config_file), str(target))
            assert done.returncode == 0, done
            assert "hard links" in done.stdout
            taken.append((target, before))
        # What the agent has merged since is kept.
        eventually(lambda: blocks_of(taken[0][0]) - blocks_of(agent.data))
    finally:
        stop.set()
        pusher.join()
        agent.kill()
    sent = {at_ms: number for number, at_ms in enumerate(acknowledged)}
    for target, before in taken:
        found = {dict(labels)["__name__"]: samples for labels, samples in content_of(target).items()}
        for k in (0, 50, 99):
            samples = found[f"load_{k}"]
            assert set(before) <= set(samples) <= set(sent)


def test_on_another_file_system_it_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "from", tmp_path / "deep" / "to"
    (source / "blocks" / "b").mkdir(parents=True)
    (source / "blocks" / "b" / "samples.parquet").write_bytes(b"x" * 3_000_000)
    (source / "FORMAT").write_bytes(b"metricsmith data 1\n")
    rename = Path.rename

    def elsewhere(self: Path, to: Path) -> Path:
        if self == source:
            raise OSError(18, os.strerror(18))
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", elsewhere)
    told: list[int] = []
    assert move_snapshot(source, target, told.append)
    assert sum(told) == 3_000_000 + len(b"metricsmith data 1\n")
    assert (target / "blocks" / "b" / "samples.parquet").stat().st_size == 3_000_000
    assert not source.exists()
    assert [path.name for path in target.parent.iterdir()] == ["to"]


def test_a_copy_that_is_interrupted_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "from", tmp_path / "to"
    source.mkdir()
    (source / "FORMAT").write_bytes(b"metricsmith data 1\n")

    def elsewhere(self: Path, to: Path) -> Path:
        raise OSError(18, os.strerror(18))

    def interrupted(more: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", elsewhere)
    with pytest.raises(KeyboardInterrupt):
        move_snapshot(source, target, interrupted)
    assert [path.name for path in tmp_path.iterdir()] == ["from"]


@pytest.mark.parametrize("place", ["data/tmp/x", "data/blocks/x", "data/x", "link/x", "data/snapshots"])
def test_the_store_s_own_folders_are_refused(
    here: Run, fill: Callable[..., None], tmp_path: Path, place: str
) -> None:
    fill(tmp_path / "data", [({"__name__": "x"}, {1: 1.0})])
    (tmp_path / "link").symlink_to(tmp_path / "data" / "blocks")
    done = here("store", "snapshot", "--path", str(tmp_path / "data"), str(tmp_path / place))
    assert done.returncode == 1
    assert "wanted a folder elsewhere" in " ".join(done.stderr.split())
    assert not (tmp_path / place / "FORMAT").exists()


def test_a_folder_with_something_in_it_is_refused(
    here: Run, fill: Callable[..., None], tmp_path: Path
) -> None:
    fill(tmp_path / "data", [({"__name__": "x"}, {1: 1.0})])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    done = here("store", "snapshot", "--path", str(tmp_path / "data"), str(tmp_path / "full"))
    assert done.returncode == 1
    assert "wanted a new or an empty folder" in done.stderr
    assert (tmp_path / "full" / "mine").read_text() == "mine"
    assert not list((tmp_path / "data").glob("snapshots/*"))
