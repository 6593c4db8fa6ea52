"""What a part remembers: the same in memory and in the file, and the file keeps it over a crash."""

from __future__ import annotations

import gc
import sqlite3
from pathlib import Path

import pytest

from metricsmith.contracts import State
from metricsmith.errors import StoreError
from metricsmith.model.state import MemoryState
from metricsmith.runtime.state import StateFile


@pytest.fixture(params=["memory", "file"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> State:
    return MemoryState() if request.param == "memory" else StateFile(tmp_path / "state.sqlite").of("rules")


def test_values_are_kept_replaced_and_forgotten(state: State) -> None:
    state.commit({"alert/a": b"1", "alert/b": b"2", "seen": b"3"})
    state.commit({"alert/b": b"4"}, delete=["alert/a", "never there"])
    assert state.items() == [("alert/b", b"4"), ("seen", b"3")]
    assert state.items("alert/") == [("alert/b", b"4")]
    assert state.items("z") == []


def test_a_key_that_is_forgotten_and_kept_in_one_commit_is_kept(state: State) -> None:
    state.commit({"a": b"1"})
    state.commit({"a": b"2"}, delete=["a"])
    assert state.items() == [("a", b"2")]


def test_parts_do_not_see_each_other(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "state.sqlite")
    file.of("rules").commit({"a": b"rules"})
    file.of("kafka").commit({"a": b"kafka"}, delete=["a"])
    assert file.of("rules").items() == [("a", b"rules")]


def test_what_was_committed_is_there_without_a_close(tmp_path: Path) -> None:
    StateFile(tmp_path / "state.sqlite").of("rules").commit({"a": b"1"})
    gc.collect()  # as after a crash, nobody has it open
    assert StateFile(tmp_path / "state.sqlite").of("rules").items() == [("a", b"1")]


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "state.sqlite") as database:
        database.execute("PRAGMA user_version = 9")
    database.close()
    with pytest.raises(StoreError, match="version 9, wanted 1 or older"):
        StateFile(tmp_path / "state.sqlite")


def test_what_is_no_database_is_an_error_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "state.sqlite").write_bytes(b"not a database, but long enough to be read as one" * 100)
    with pytest.raises(StoreError, match="not a database"):
        StateFile(tmp_path / "state.sqlite")
