"""One process at a time, and never an older metricsmith on newer data."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from metricsmith.errors import DataDirLocked, FormatTooNew, StoreError
from metricsmith.store import datadir
from metricsmith.store.datadir import DataDir
from metricsmith.store.verify import kept_from_others

OPEN_IT = """
import sys
from pathlib import Path
from metricsmith.errors import DataDirLocked
from metricsmith.store.datadir import DataDir
try:
    DataDir(Path(sys.argv[1])).open()
except DataDirLocked as error:
    print(error)
"""


def test_a_second_process_is_refused_and_told_who_holds_it(tmp_path):
    held = DataDir(tmp_path)
    held.open()
    told = subprocess.run(
        [sys.executable, "-c", OPEN_IT, str(tmp_path)], capture_output=True, text=True, check=True
    ).stdout
    assert f"in use by process {os.getpid()}" in told
    assert str(tmp_path) in told
    held.close()


def test_the_lock_is_released_on_close_and_on_failure(tmp_path):
    first = DataDir(tmp_path)
    first.open()
    with pytest.raises(DataDirLocked):
        DataDir(tmp_path).open()
    first.close()
    (tmp_path / "FORMAT").write_text("metricsmith data 99\n")
    with pytest.raises(FormatTooNew):
        DataDir(tmp_path).open()
    (tmp_path / "FORMAT").write_text("metricsmith data 1\n")
    DataDir(tmp_path).open()


@pytest.mark.parametrize("who", ["agent", "verify"])
def test_who_looks_at_the_lock_at_that_instant_keeps_nobody_out(tmp_path, monkeypatch, who):
    looking = os.open(tmp_path / "LOCK", os.O_RDONLY | os.O_CREAT)
    fcntl.flock(looking, fcntl.LOCK_SH)
    monkeypatch.setattr(datadir.time, "sleep", lambda _: fcntl.flock(looking, fcntl.LOCK_UN))
    if who == "agent":
        held = DataDir(tmp_path)
        held.open()
        held.close()
    else:
        with kept_from_others(tmp_path) as user:
            assert user == ""
    os.close(looking)


def test_newer_data_is_refused_and_not_touched(tmp_path):
    (tmp_path / "FORMAT").write_text("metricsmith data 7\n")
    with pytest.raises(FormatTooNew, match=r"version 7, wanted 1 or older .*newer metricsmith"):
        DataDir(tmp_path).open()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["FORMAT", "LOCK"]


@pytest.mark.parametrize(
    "text", ["", "metricsmith data", "metricsmith data x", "other data 1", "metricsmith data 0"]
)
def test_a_format_file_that_is_not_ours_is_an_error(tmp_path, text):
    (tmp_path / "FORMAT").write_text(text)
    with pytest.raises(StoreError, match="wanted a line such as"):
        DataDir(tmp_path).open()


def test_older_data_is_migrated_step_by_step_and_goes_on_after_a_failure(tmp_path, monkeypatch):
    (tmp_path / "FORMAT").write_text("metricsmith data 1\n")
    done = []
    broken = True

    def two_to_three(folder: Path) -> None:
        if broken:
            raise OSError("no")
        done.append(("2 to 3", folder))

    monkeypatch.setattr(datadir, "MIGRATIONS", (lambda folder: done.append(("1 to 2", folder)), two_to_three))
    with pytest.raises(StoreError, match="no, wanted a folder"):
        DataDir(tmp_path).open()
    assert (tmp_path / "FORMAT").read_text() == "metricsmith data 2\n"
    broken = False
    DataDir(tmp_path).open()
    assert done == [("1 to 2", tmp_path), ("2 to 3", tmp_path)]
    assert (tmp_path / "FORMAT").read_text() == "metricsmith data 3\n"
