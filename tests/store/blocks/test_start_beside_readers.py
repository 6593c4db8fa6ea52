"""A start empties `tmp`: neither what somebody reads there nor what it must not remove is in its way."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from metricsmith.runtime.verify import Verification
from metricsmith.store import fsutil
from metricsmith.store.history_files import held_history
from metricsmith.store.verify import kept_from_others


@pytest.fixture
def folder(open_store, tools) -> Path:
    one = open_store()
    one.write({tools.key(0): {1: 1.0}})
    one.store.close()
    return one.folder


def test_a_session_of_sql_has_its_files_when_an_agent_starts_meanwhile(open_store, folder):
    (folder / "tmp" / "sql-1-left by one that was killed").mkdir()
    with held_history(folder) as history:
        [block] = history.blocks
        assert block.folder.is_relative_to(folder / "tmp")
        one = open_store()
        assert [path for path in (block.samples, block.series) if not path.is_file()] == []
        assert [path.name for path in (folder / "tmp").iterdir()] == [block.folder.parent.name]
        one.store.close()
        with kept_from_others(folder) as user:
            assert list(Verification(folder, bool(user)).run(lambda _: None)) == []
    assert list((folder / "tmp").iterdir()) == []
    open_store()


@pytest.mark.parametrize("place", ["tmp", "blocks"])
def test_what_a_start_may_not_remove_is_told_and_stays(open_store, tools, folder, monkeypatch, caplog, place):
    """As a session of root's that was killed."""
    [block] = (folder / "blocks").iterdir()
    leftover = folder / "tmp" / "sql-1-0"
    if place == "blocks":
        two = open_store()
        two.write({tools.key(0): {2: 1.0}})
        two.write({tools.key(0): {9000: 1.0}})
        two.store.close()
        assert not block.exists(), "it was merged"
        leftover = block
    leftover.mkdir()
    remove = fsutil.remove_tree

    def refuse(path: Path) -> None:
        if path == leftover:
            raise PermissionError(errno.EACCES, "Permission denied")
        remove(path)

    monkeypatch.setattr(fsutil, "remove_tree", refuse)
    one = open_store()
    assert one.contents()[tools.key(0), 1] == 1.0
    assert leftover.exists()
    assert f"could not remove {leftover}" in caplog.text
