"""A damaged block is set aside with its name, counted, and the others serve."""

from __future__ import annotations

import dataclasses
import errno
import json
import logging
import os
import shutil
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metricsmith.errors import DiskFull, FormatTooNew, StoreError
from metricsmith.runtime.verify import rebuild
from metricsmith.store import block_meta, fsutil
from metricsmith.store.disposal import Disposal
from metricsmith.store.manifest import Manifest

FILES = ["samples.parquet", "series.parquet", "meta.json"]


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x20
    path.write_bytes(data)


def zero_from(path: Path, at: int) -> None:
    size = path.stat().st_size
    os.truncate(path, at)
    os.truncate(path, size)


HARMS = {"flip": flip, "truncate": os.truncate, "zero": zero_from}


def only_error(caplog) -> str:
    [error] = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    return error


def written(open_store, tools):
    """Two blocks, closed; the samples of the first and of the second."""
    one = open_store(dataclasses.replace(tools.SMALL, row_group_rows=50))
    halves = [
        {tools.key(n): {start + t: float(n) for t in range(40)} for n in range(9)} for start in (0, 1000)
    ]
    one.write(*halves)
    one.store.close()
    folders = sorted((one.folder / "blocks").iterdir(), key=lambda p: p.name)
    return folders, halves


@pytest.mark.parametrize("name", FILES[1:])
@pytest.mark.parametrize("place", [0.0, 0.2, 0.5, 0.8, 0.999])
def test_a_flipped_byte_in_what_all_depends_on_sets_the_block_aside(open_store, tools, caplog, name, place):
    folders, halves = written(open_store, tools)
    path = folders[0] / name
    flip(path, int(place * path.stat().st_size))
    two = open_store()
    assert two.contents() == tools.expected(halves[1])
    assert two.contents() == tools.expected(halves[1])
    assert two.telemetry.value("metricsmith_store_blocks_set_aside_total", reason="damaged") == 1
    assert str(path) in only_error(caplog)
    assert [p.name for p in (two.folder / "strays").iterdir()] == [folders[0].name]
    two.store.close()
    three = open_store()  # stays so, and is not reported again
    assert three.contents() == tools.expected(halves[1])
    assert three.telemetry.value("metricsmith_store_blocks_set_aside_total", reason="damaged") == 0


@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_one_damaged_row_group_costs_only_its_samples(open_store, tools, caplog, place):
    folders, halves = written(open_store, tools)
    path, meta = folders[0] / "samples.parquet", json.loads((folders[0] / "meta.json").read_text())
    sizes, counts = (meta["samples_file"][f"row_group_{what}"] for what in ("bytes", "samples"))
    number = {"first": 0, "middle": len(sizes) // 2, "last": len(sizes) - 1}[place]
    flip(path, sum(sizes[:number]) + sizes[number] // 2)
    everything = tools.expected(*halves)
    lost = dict(sorted(tools.expected(halves[0]).items())[sum(counts[:number]) : sum(counts[: number + 1])])
    rest = {at: value for at, value in everything.items() if at not in lost}
    two = open_store(dataclasses.replace(tools.SMALL, row_group_rows=50))
    assert two.contents() == rest
    assert two.contents() == rest
    assert two.telemetry.value("metricsmith_store_row_groups_damaged_total") == 1
    assert f"{path}: row group {number}: " in only_error(caplog)
    more = {tools.key(0): {1100: 1.0}}
    two.write(more)  # what is whole is written anew, and the damaged block set aside
    assert two.contents() == rest | tools.expected(more)
    assert [p.name for p in (two.folder / "strays").iterdir()] == [folders[0].name]
    assert two.telemetry.value("metricsmith_store_blocks_set_aside_total", reason="row_groups") == 1
    two.store.close()
    three = open_store()
    assert three.contents() == rest | tools.expected(more)
    assert three.telemetry.value("metricsmith_store_row_groups_damaged_total") == 0


def test_a_merge_and_a_restart_leave_out_what_is_damaged_and_no_more(open_store, tools):
    folders, halves = written(open_store, tools)
    flip(folders[0] / "samples.parquet", 10)
    everything = tools.expected(*halves)
    two = open_store(dataclasses.replace(tools.SMALL, row_group_rows=50))
    more = {tools.key(n): {500 + i: 1.0 for i in range(30)} for n in range(9)}
    two.write(more)  # no query has seen the damage: the merge of a window past finds it
    two.store.close()
    three = open_store()
    everything |= tools.expected(more)
    found = three.contents()
    assert found.items() < everything.items()
    assert len(everything) - len(found) == 40, "one series fills the first row group"


@pytest.mark.parametrize("name", FILES[:2])
def test_a_query_that_began_before_has_its_files_until_it_ends(open_store, tools, name):
    folders, halves = written(open_store, tools)
    two = open_store(dataclasses.replace(tools.SMALL, row_group_rows=50))
    with two.store._live.lease(lambda block: True) as blocks:
        flip(folders[0] / name, -20)  # what no row group can do without
        assert two.contents() == tools.expected(halves[1])
        assert two.store.block_count == 1
        assert [block.folder for block in blocks if not block.folder.is_dir()] == []
    assert [p.name for p in (two.folder / "strays").iterdir()] == [folders[0].name]


def test_what_is_written_anew_does_not_win_over_what_came_later(open_store, tools):
    one = open_store(dataclasses.replace(tools.SMALL, row_group_rows=50))
    long = {tools.key(n): {t: float(n) for t in range(500)} for n in range(2)}
    one.write(long)
    one.write({tools.key(0): {400: 7.0}, tools.key(1): {400: 7.0}})
    flip(next((one.folder / "blocks").glob("*-00000001/samples.parquet")), 10)
    before = one.contents()
    assert before[tools.key(0), 400] == before[tools.key(1), 400] == 7.0
    one.write({tools.key(2): {1: 1.0}})
    assert one.contents() == before | {(tools.key(2), 1): 1.0}
    assert len(list((one.folder / "strays").iterdir())) == 1


@settings(max_examples=40)
@given(
    name=st.sampled_from(FILES),
    place=st.floats(0, 1, exclude_max=True),
    harm=st.sampled_from(sorted(HARMS)),
)
def test_damage_of_any_byte_alters_nothing_and_costs_one_block_at_most(tools, memory, name, place, harm):
    """Nothing that a query answers with is wrong, whatever it misses; and what it misses is told."""
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        one = tools.Opened(Path(folder), dataclasses.replace(tools.SMALL, row_group_rows=50))
        halves = [{tools.key(n): {s + t: float(n) for t in range(40)} for n in range(4)} for s in (0, 1000)]
        one.write(*halves)
        one.store.close()
        path = min((Path(folder) / "blocks").iterdir()) / name
        HARMS[harm](path, int(place * path.stat().st_size))
        two = tools.Opened(Path(folder))
        found = two.contents()
        assert tools.expected(halves[1]).items() <= found.items() < tools.expected(*halves).items()
        told = two.telemetry.value("metricsmith_store_blocks_set_aside_total", reason="damaged")
        assert told + two.telemetry.value("metricsmith_store_row_groups_damaged_total") > 0
        two.write({tools.key(0): {1100: 1.0}})
        assert two.contents() == found | {(tools.key(0), 1100): 1.0}
        assert len(list((Path(folder) / "strays").iterdir())) == 1
        two.store.close()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("harm", [os.unlink, lambda p: os.truncate(p, 20)])
def test_a_missing_or_short_file_sets_the_block_aside(open_store, tools, name, harm):
    folders, halves = written(open_store, tools)
    harm(folders[1] / name)
    assert open_store().contents() == tools.expected(halves[0])


@pytest.mark.parametrize("crash", ["before the manifest forgets it", "before its folder is moved"])
def test_a_crash_while_a_start_sets_a_block_aside_does_not_cost_its_files(
    open_store, tools, monkeypatch, crash
):
    folders, halves = written(open_store, tools)
    os.truncate(folders[0] / "meta.json", 5)
    samples = (folders[0] / "samples.parquet").read_bytes()
    with monkeypatch.context() as patch:
        if crash == "before the manifest forgets it":
            patch.setattr(Manifest, "commit", _full)
        else:
            patch.setattr(Disposal, "move_to_strays", _full)
        with pytest.raises(DiskFull):
            open_store()
    two = open_store()
    assert two.contents() == tools.expected(halves[1])
    assert (two.folder / "strays" / folders[0].name / "samples.parquet").read_bytes() == samples


def test_what_was_set_aside_stays_when_the_same_block_is_missing_later(open_store, tools):
    folders, halves = written(open_store, tools)
    kept = folders[0].parents[1] / "strays" / folders[0].name
    folders[0].rename(kept)
    assert open_store().contents() == tools.expected(halves[1])
    assert (kept / "samples.parquet").is_file()


def test_a_missing_block_is_counted(open_store, tools):
    folders, halves = written(open_store, tools)
    shutil.rmtree(folders[0])
    two = open_store()
    assert two.contents() == tools.expected(halves[1])
    assert two.telemetry.value("metricsmith_store_blocks_set_aside_total", reason="damaged") == 1


def test_a_file_that_cannot_be_read_now_is_an_error_and_no_damage(open_store, tools, monkeypatch):
    one = open_store()
    wanted = {tools.key(0): {1: 1.0}}
    one.write(wanted)

    def no_more_files(*args, **kwargs):
        raise OSError(errno.EMFILE, "Too many open files")

    for opener in ("pathlib.Path.open", "pyarrow.OSFile"):
        with monkeypatch.context() as patch:
            patch.setattr(opener, no_more_files)
            with pytest.raises(StoreError, match=r"samples\.parquet|series\.parquet"):
                one.contents()
    assert one.contents() == tools.expected(wanted)


def test_damage_is_known_even_when_the_manifest_cannot_be_written(open_store, tools, monkeypatch, caplog):
    folders, halves = written(open_store, tools)
    (folders[0] / "samples.parquet").write_bytes(bytes((folders[0] / "samples.parquet").stat().st_size))
    two = open_store()
    with monkeypatch.context() as patch:
        patch.setattr(Manifest, "commit", _full)
        for _ in range(2):
            assert two.contents() == tools.expected(halves[1])
    assert two.store.block_count == 2
    assert two.telemetry.value("metricsmith_store_blocks_set_aside_total", reason="damaged") == 0
    assert two.telemetry.value("metricsmith_store_blocks_set_aside_total", reason="failed") == 2
    assert "set aside under" not in caplog.text
    assert "stays in its place" in caplog.text
    assert two.contents() == tools.expected(halves[1])
    assert two.store.block_count == 1
    assert two.telemetry.value("metricsmith_store_blocks_set_aside_total", reason="damaged") == 1


def test_each_damaged_block_and_row_group_is_named(open_store, tools, caplog):
    """Also of many that are found at once, as after a power cut."""
    folders, _ = written(open_store, tools)
    for folder in folders:
        flip(folder / "samples.parquet", 10)
    one = open_store()
    one.contents()
    for folder in folders:
        assert f"{folder}/samples.parquet: row group 0" in caplog.text
    one.store.close()
    for folder in folders:
        os.truncate(folder / "meta.json", 5)
    open_store()
    for folder in folders:
        assert f"{folder}/meta.json: " in caplog.text


def _full(*args, **kwargs):
    raise DiskFull("no space")


def test_damage_found_by_a_merge_is_left_out_and_the_rest_merged(open_store, tools):
    one = open_store()
    pieces = [{tools.key(n): {i * 10: 1.0} for n in range(4)} for i in range(6)]
    one.write(pieces[0])
    flip(next((one.folder / "blocks").rglob("samples.parquet")), 10)
    for piece in pieces[1:]:
        one.write(piece)
    assert one.contents() == tools.expected(*pieces[1:])
    assert one.telemetry.value("metricsmith_store_merges_total", result="failed") == 0
    assert one.telemetry.value("metricsmith_store_row_groups_damaged_total") == 1
    assert len(list((one.folder / "strays").iterdir())) == 1
    assert one.store.block_count <= tools.SMALL.max_blocks_per_window


def test_what_the_manifest_does_not_know_is_set_aside(open_store, tools, caplog):
    caplog.set_level(logging.INFO)
    folders, halves = written(open_store, tools)
    shutil.copytree(folders[0], folders[0].parent / "copied here")
    (folders[0].parent / "note.txt").write_text("hello")
    (folders[0].parent.parent / "tmp" / "00000077").mkdir()
    two = open_store()
    assert two.contents() == tools.expected(*halves)
    assert sorted(p.name for p in (two.folder / "strays").iterdir()) == ["copied here", "note.txt"]
    assert two.telemetry.value("metricsmith_store_blocks_set_aside_total", reason="unknown") == 2
    assert list((two.folder / "tmp").iterdir()) == []
    for told in ("00000077, left unfinished by the last run", "copied here to"):
        assert told in caplog.text


def test_a_lost_manifest_is_made_anew_from_the_blocks(open_store, tools):
    one = open_store()
    written = [{tools.key(n): {i * 10: 1.0, 1000 + i: 2.0} for n in range(4)} for i in range(5)]
    for piece in written:
        one.write(piece, cursor=9)
    replaced = shutil.copytree(next((one.folder / "blocks").iterdir()), one.folder / "copy")
    one.write({tools.key(0): {20: 7.0}}, cursor=10)
    one.write({tools.key(0): {20: 8.0}}, cursor=11)
    one.store.close()
    merged = {
        name
        for p in (one.folder / "blocks").rglob("meta.json")
        for name in json.loads(p.read_text())["sources"]
    }
    replaced.rename(one.folder / "blocks" / min(merged))  # as a crash between merge and deletion leaves it
    (one.folder / "blocks" / "note").mkdir()
    newest = max((one.folder / "blocks").glob("*-0*"), key=lambda p: p.name[-8:])
    shutil.copytree(newest, one.folder / "blocks" / "zz")  # two of one number: only one can stay
    for path in one.folder.glob("manifest.sqlite*"):
        path.unlink()
    two = open_store()
    assert two.store.cursor == 0  # the journal is replayed as far as it goes back, which changes nothing
    assert two.contents() == tools.expected(*written, {tools.key(0): {20: 8.0}})
    assert [p.name for p in (two.folder / "strays").iterdir() if p.name != "zz"] == ["note"]
    two.write({tools.key(0): {20: 9.0}})
    assert two.contents()[tools.key(0), 20] == 9.0


def test_strays_are_deleted_with_the_retention(open_store, tools):
    one = open_store()
    for name, age_s in (("old", 2000), ("young", 10)):
        (one.folder / "strays" / name).mkdir()
        os.utime(one.folder / "strays" / name, (5000 - age_s, 5000 - age_s))
    one.store.apply_retention(5000 * 1000)
    assert [p.name for p in (one.folder / "strays").iterdir()] == ["young"]


def test_what_is_set_aside_is_kept_for_the_retention_whenever_it_was_written(open_store, tools):
    """As by a clock that began at 1970."""
    folders, _ = written(open_store, tools)
    os.truncate(folders[0] / "meta.json", 5)
    os.utime(folders[0], (5, 5))
    one = open_store()
    one.store.apply_retention(int(time.time() * 1000))
    assert [p.name for p in (one.folder / "strays").iterdir()] == [folders[0].name]


def test_a_stray_that_cannot_be_deleted_hides_no_other(open_store, monkeypatch, caplog):
    one = open_store()
    for name in ("a", "b", "c"):
        (one.folder / "strays" / name).mkdir()
        os.utime(one.folder / "strays" / name, (5, 5))
    remove = fsutil.remove_tree

    def refuse(path: Path) -> None:
        if path.name == "b":
            raise PermissionError(errno.EACCES, "Permission denied")
        remove(path)

    monkeypatch.setattr(fsutil, "remove_tree", refuse)
    for _ in range(3):
        one.store.apply_retention(10**12)
    assert [p.name for p in (one.folder / "strays").iterdir()] == ["b"]
    assert caplog.text.count("Permission denied") == 1


def test_a_block_of_a_newer_format_is_refused_and_left_alone(open_store, tools, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("metricsmith.store.block_writer.BLOCK_FORMAT", block_meta.BLOCK_FORMAT + 1)
        folders, _ = written(open_store, tools)
    with pytest.raises(FormatTooNew, match="got block format 2, wanted 1"):
        open_store()
    assert all(folder.is_dir() for folder in folders)


def test_a_block_put_back_from_a_backup_serves_again(open_store, tools):
    """As docs/operate.md says; the rest of the damaged one has been written anew meanwhile."""
    folders, halves = written(open_store, tools)
    backup = shutil.copytree(folders[0], folders[0].parents[1] / "backup")
    flip(folders[0] / "samples.parquet", 10)
    two = open_store(dataclasses.replace(tools.SMALL, row_group_rows=50))
    assert len(two.contents()) < len(tools.expected(*halves))
    two.write({tools.key(0): {1100: 1.0}})
    two.store.close()
    assert not folders[0].exists()
    backup.rename(folders[0])
    for _ in range(2):
        rebuild(two.folder)
        three = open_store(dataclasses.replace(tools.SMALL, row_group_rows=50))
        assert three.contents() == tools.expected(*halves, {tools.key(0): {1100: 1.0}})
        three.store.close()
