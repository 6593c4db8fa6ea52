"""The manifest changes as a whole or not at all."""

from __future__ import annotations

import sqlite3

import pytest

from metricsmith.errors import DiskFull, StoreError
from metricsmith.store.manifest import BlockEntry, Manifest, create_manifest

A, B, C = (BlockEntry(n, f"block {n}", 2**32 - n) for n in (1, 2, 3))


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "manifest.sqlite"
    create_manifest(path, [])
    return path


def test_blocks_and_cursor_change_together_and_are_found_again(path):
    manifest = Manifest(path)
    assert (manifest.blocks(), manifest.cursor) == ([], 0)
    manifest.commit([A, B], cursor=5)
    manifest.commit([C], remove=[1])
    manifest.close()
    again = Manifest(path)
    assert (again.blocks(), again.cursor) == ([B, C], 5)
    again.close()


def test_a_commit_that_fails_changes_nothing(path):
    manifest = Manifest(path)
    manifest.commit([A], cursor=5)
    with pytest.raises(StoreError, match=r"manifest\.sqlite"):
        manifest.commit([B, A], remove=[], cursor=9)  # A is there already
    assert (manifest.blocks(), manifest.cursor) == ([A], 5)
    manifest.commit([B], cursor=6)
    assert manifest.cursor == 6
    manifest.close()


def test_numbers_rise_over_restarts_and_removals(path):
    manifest = Manifest(path)
    number = manifest.take_number()
    manifest.commit([BlockEntry(number, "x", 0)])
    manifest.commit(remove=[number])
    manifest.close()
    again = Manifest(path)
    assert again.take_number() > number
    again.close()


def test_commits_are_synced_to_disk(path):
    manifest = Manifest(path)
    modes = [manifest._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    assert modes == ["persist", 2]  # 2 is FULL: fsync at each commit
    manifest.close()


def test_removing_blocks_needs_no_new_space(path):
    manifest = Manifest(path)
    manifest.commit([A, B, C], cursor=5)
    before = [(p.name, p.stat().st_blocks) for p in sorted(path.parent.iterdir())]
    manifest.commit(remove=[1, 2], cursor=6)
    assert [(p.name, p.stat().st_blocks) for p in sorted(path.parent.iterdir())] == before
    manifest.close()
    assert [(p.name, p.stat().st_blocks) for p in sorted(path.parent.iterdir())] == before
    again = Manifest(path)  # nor does a start
    again.commit(remove=[3])
    assert [(p.name, p.stat().st_blocks) for p in sorted(path.parent.iterdir())] == before
    again.close()


def test_no_space_is_disk_full(path):
    manifest = Manifest(path)
    manifest._db.execute("PRAGMA max_page_count = 8")
    with pytest.raises(DiskFull, match="full"):
        manifest.commit([BlockEntry(n, "x" * 500 + str(n), 0) for n in range(1, 200)], cursor=3)
    assert (manifest.blocks(), manifest.cursor) == ([], 0)
    manifest.close()


def test_a_file_that_is_no_manifest_is_an_error_with_a_hint(path):
    path.write_bytes(b"not a database, certainly" * 100)
    with pytest.raises(StoreError, match="store verify --rebuild") as caught:
        Manifest(path)
    assert isinstance(caught.value.__cause__, sqlite3.Error)


def test_a_manifest_made_from_blocks_names_them_and_goes_on_counting(path):
    old = Manifest(path)
    old.commit([A], cursor=5)
    path.unlink()  # its rollback journal is still there, and must not touch the new one
    create_manifest(path, [B, C])
    old.close()
    new = Manifest(path)
    assert (new.blocks(), new.cursor, new.take_number()) == ([B, C], 0, 4)
    new.close()
