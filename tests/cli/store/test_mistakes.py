"""A folder named by mistake stays as it was, what files refuse is one line, and Ctrl-C ends an export."""

from __future__ import annotations

import errno
import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metricsmith.runtime.history import HistoryReader
from metricsmith.store import fsutil

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(
    "command",
    [
        ["export", "--match", "up"],
        ["delete-series", "--match", "up", "--yes"],
        ["snapshot", "TARGET"],
        ["import", "FILE"],
        ["stats"],
        ["verify"],
    ],
    ids=lambda command: command[0],
)
def test_a_folder_of_something_else_is_left_as_it_is(here: Run, tmp_path: Path, command: list[str]) -> None:
    folder, places = tmp_path / "home", {"TARGET": tmp_path / "target", "FILE": tmp_path / "a.prom"}
    folder.mkdir()
    (folder / "letter.txt").write_text("dear")
    places["FILE"].write_text("up 1 1795000000000\n")
    done = here("store", *(str(places.get(word, word)) for word in command), "--path", str(folder))
    assert done.returncode == 1, done
    assert f"got {folder}" in done.stderr
    assert "wanted a data directory" in done.stderr
    assert [path.name for path in folder.iterdir()] == ["letter.txt"]
    assert not places["TARGET"].exists()


def test_import_makes_a_data_directory_of_an_empty_folder(here: Run, tmp_path: Path) -> None:
    folder, file = tmp_path / "new", tmp_path / "a.prom"
    folder.mkdir()
    file.write_text("up 1 1795000000000\n")
    assert here("store", "import", "--path", str(folder), str(file)).returncode == 0
    exported = here("store", "export", "--path", str(folder), "--out", str(tmp_path / "a.csv"))
    assert exported.stdout.endswith("1 samples of 1 series\n"), exported


def test_ctrl_c_ends_an_export_and_leaves_no_file(
    here: Run, fill: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "data", [({"__name__": "up"}, {1_795_000_000_000: 1.0})])
    read, whole = 0, HistoryReader.batches

    def batches(self: HistoryReader, selectors: Any) -> Iterator[Any]:
        nonlocal read
        for each in list(whole(self, selectors)) * 100:
            read += 1
            if read == 2:
                signal.raise_signal(signal.SIGINT)
            yield each

    monkeypatch.setattr(HistoryReader, "batches", batches)
    done = here("store", "export", "--path", str(tmp_path / "data"), "--out", str(tmp_path / "a.csv"))
    assert done.returncode == 130, done
    assert read == 2
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("no-folder/a.csv", "no-folder/a.csv: No such file or directory (check the path)"),
        ("/dev/full", "/dev/full: No space left on device (make room, or choose another place)"),
        ("/proc/a.csv", "/proc/a.csv: "),
    ],
)
def test_a_place_that_an_export_cannot_write_to_is_told(
    here: Run, fill: Callable[..., None], tmp_path: Path, out: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "data", [({"__name__": "up"}, {1_795_000_000_000: 1.0})])
    monkeypatch.chdir(tmp_path)
    done = here("store", "export", "--path", "data", "--out", out)
    assert done.returncode == 1, done
    assert done.stderr.startswith(f"error: {said}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "command", [["export"], ["snapshot", "copy"], ["import", "data"]], ids=lambda c: c[0]
)
def test_a_directory_of_another_user_is_told(
    here: Run,
    fill: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: list[str],
) -> None:
    fill(tmp_path / "data", [({"__name__": "up"}, {1_795_000_000_000: 1.0})])

    def refused(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fsutil, "open_regular", refused)
    done = here("store", *command, "--path", "data")
    assert done.returncode == 1, done
    assert (
        done.stderr
        == "error: data/FORMAT: Permission denied (run the command as the user whose file it is)\n"
    )


def test_a_file_of_the_journal_that_goes_away_is_not_counted(
    here: Run, fill: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "data", [({"__name__": "up"}, {1_795_000_000_000: 1.0})])
    listed, is_file = Path.glob, Path.is_file

    def glob(self: Path, pattern: str) -> Iterator[Path]:
        yield from listed(self, pattern)
        yield self / "trimmed"

    monkeypatch.setattr(Path, "glob", glob)
    monkeypatch.setattr(Path, "is_file", lambda self: self.name == "trimmed" or is_file(self))
    done = here("store", "stats", "--path", str(tmp_path / "data"), "--json")
    assert done.returncode == 0, done
    assert json.loads(done.stdout)["journal_bytes"] > 0
