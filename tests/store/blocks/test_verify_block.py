"""`store verify` finds what is wrong with a block, and says in which file and row group."""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import os
import shutil
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metricsmith.store import fsutil
from metricsmith.store.manifest import BlockEntry
from metricsmith.store.verify_block import verify_block

FILES = ["samples.parquet", "series.parquet", "meta.json"]


@pytest.fixture(scope="module")
def block(tools, memory):
    """A block of several row groups, and its entry in the manifest."""
    one = tools.Opened(Path(memory) / "to verify", dataclasses.replace(tools.SMALL, row_group_rows=50))
    one.write({tools.key(n): {t: tools_value(n, t) for t in range(n, 40)} for n in range(9)})
    one.store.close()
    (folder,) = (one.folder / "blocks").iterdir()
    return folder, BlockEntry(1, folder.name, zlib.crc32((folder / "meta.json").read_bytes()))


def tools_value(n: int, t: int) -> float | str:
    return "stale" if n == 3 and t == 39 else float(n * t)


def found(folder: Path, entry: BlockEntry | None) -> list[tuple[str, str, str]]:
    read = 0

    def advance(size: int) -> None:
        nonlocal read
        read += size

    faults = list(verify_block(folder, entry, advance))
    if not faults:
        assert read == sum((folder / name).stat().st_size for name in FILES[:2])
    return [(fault.file.rpartition("/")[2], fault.part, fault.what) for fault in faults]


def test_a_whole_block_has_no_fault(block):
    folder, entry = block
    assert found(folder, entry) == found(folder, None) == []


@settings(max_examples=60)
@given(
    name=st.sampled_from(FILES),
    place=st.floats(0, 1, exclude_max=True),
    harm=st.sampled_from(["flip", "cut"]),
)
def test_damage_of_any_byte_is_found_and_its_file_named(block, memory, name, place, harm):
    with tempfile.TemporaryDirectory(dir=memory) as copy:
        folder, entry = block
        folder = shutil.copytree(folder, Path(copy) / folder.name)
        path = folder / name
        data = bytearray(path.read_bytes())
        at = int(place * len(data))
        if harm == "flip":
            data[at] ^= 0x40
            path.write_bytes(data)
        else:
            os.truncate(path, at)
        faults = found(folder, entry)
        assert name in {file for file, _, _ in faults}
        if harm == "flip" and name == "samples.parquet":
            sizes = json.loads((folder / "meta.json").read_text())["samples_file"]["row_group_bytes"]
            number = int(np.searchsorted(np.cumsum(sizes), at, "right"))
            part = f"row group {number}" if number < len(sizes) else "footer"
            assert [part] == [part for _, part, _ in faults]


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(block, tmp_path, name):
    folder, entry = block
    folder = shutil.copytree(folder, tmp_path / folder.name)
    (folder / name).unlink()
    assert any(file == name and "missing" in what for file, _, what in found(folder, entry))


@pytest.mark.parametrize("name", FILES)
def test_what_the_system_cannot_read_now_is_not_called_damaged(block, monkeypatch, name):
    """The agent does not set such a block aside, either."""
    folder, entry = block
    opened = fsutil.open_regular

    def denied(path: Path) -> io.BufferedReader:
        if path.name == name:
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path)

    monkeypatch.setattr(fsutil, "open_regular", denied)
    (fault,) = verify_block(folder, entry, lambda _: None)
    assert "Permission denied" in fault.what
    assert "look at the disk" in fault.advice
    assert "sets the block aside" not in fault.advice


class BadSector(io.BytesIO):
    """A file of which some bytes cannot be read."""

    def read(self, size: int | None = -1) -> bytes:
        at = self.tell()
        data = super().read(size)
        if at <= 600 < at + len(data):
            raise OSError(errno.EIO, "Input/output error")
        return data


def test_a_bad_sector_is_one_of_its_row_group(block, monkeypatch):
    folder, entry = block

    def opened(path: Path) -> io.BytesIO:
        return (BadSector if path.name == FILES[0] else io.BytesIO)(path.read_bytes())

    monkeypatch.setattr("metricsmith.store.verify_block._open", opened)
    (fault,) = found(folder, entry)
    sizes = json.loads((folder / "meta.json").read_text())["samples_file"]["row_group_bytes"]
    assert fault[1] == f"row group {int(np.searchsorted(np.cumsum(sizes), 600, 'right'))}"
    assert "Input/output error" in fault[2]


def unsorted(samples: pa.Table, series: pa.Table) -> tuple[pa.Table, pa.Table]:
    order = np.arange(len(samples))
    order[[3, 4]] = order[[4, 3]]
    return samples.take(order), series


def late(samples: pa.Table, series: pa.Table) -> tuple[pa.Table, pa.Table]:
    times = samples["time_ms"].to_numpy().copy()
    times[-1] = 5000
    return samples.set_column(1, samples.schema.field("time_ms"), pa.array(times)), series


def moved(samples: pa.Table, series: pa.Table) -> tuple[pa.Table, pa.Table]:
    rows = samples["series"].to_numpy().copy()
    rows[rows == 0] = 0
    rows[int((rows == 0).sum()) - 1] = 1
    return samples.set_column(0, samples.schema.field("series"), pa.array(rows)), series


def swapped(samples: pa.Table, series: pa.Table) -> tuple[pa.Table, pa.Table]:
    names = series["name"].to_pylist()[::-1]
    return samples, series.set_column(1, "name", pa.array(names))


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (unsorted, "not in the order of series and time"),
        (late, "wanted them in the block's window"),
        (moved, "not in the order of series and time"),
        (swapped, "not in the order of their keys"),
        (swapped, "not the one that meta.json names"),
    ],
)
def test_what_no_checksum_finds_is_found(block, tmp_path, change, wanted):
    """A block whose checksums are right, but which the writer would not have written."""
    folder, _ = block
    folder = shutil.copytree(folder, tmp_path / folder.name)
    files = [folder / name for name in FILES[:2]]
    tables = change(*(pq.read_table(path) for path in files))
    meta = json.loads((folder / "meta.json").read_text())
    for path, table in zip(files, tables, strict=True):
        pq.write_table(table, path, store_schema=False)
    size = files[0].stat().st_size
    footer = size - 4  # all but the magic bytes is under one checksum
    data = files[0].read_bytes()
    meta["samples_file"] = {
        "row_group_samples": [meta["samples"]],
        "row_group_bytes": [4],
        "row_group_crc32": [zlib.crc32(data[:4])],
        "footer_bytes": footer,
        "footer_crc32": zlib.crc32(data[4:]),
    }
    data = files[1].read_bytes()
    meta["series_file"] = {"bytes": len(data), "crc32": zlib.crc32(data)}
    (folder / "meta.json").write_text(json.dumps(meta))
    assert any(wanted in what for _, _, what in found(folder, None)), found(folder, None)
