"""What is delivered to files is there once, in files with the right names, whatever happens in between."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from metricsmith.errors import RetryLater
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.sinks.file import folder as folder_module
from metricsmith.sinks.file.position_log import PositionLog
from metricsmith.wire.sample_files.metadata import read_metadata
from metricsmith.wire.sample_files.position import Position, read_position

NOON = 1_763_726_400_000
HOUR, DAY = 3_600_000, 86_400_000
TEXT = [("json", False, ""), ("json", True, ".gz"), ("csv", False, ""), ("csv", "zstd", ".zst")]
ALL = [*TEXT, ("parquet", True, ""), ("parquet", False, "")]


def _settings(each: tuple[str, Any, str]) -> dict[str, Any]:
    return {"format": each[0], "compression": each[1]}


@pytest.mark.parametrize("each", TEXT)
async def test_the_current_file_is_readable_after_each_delivery(
    folder: Any, numbered: Any, each: tuple[str, Any, str]
) -> None:
    sink = folder.begin(**_settings(each))
    wanted = []
    for n in range(4):
        await sink.send(numbered(n, folder.batch(NOON + n, [n, 2.5])))
        wanted += [("a", NOON + n, float(n)), ("b", NOON + n, 2.5)]
        assert folder.found() == wanted
    assert folder.names() == [f"metrics-20251121-000001.current.{each[0]}{each[2]}"]
    await sink.close()


@pytest.mark.parametrize("each", ALL)
async def test_a_day_is_a_file(folder: Any, numbered: Any, each: tuple[str, Any, str]) -> None:
    sink = folder.begin(**_settings(each))
    await sink.send(numbered(0, folder.batch(NOON, [1, 2, 3]), folder.batch(NOON + 1, [4, 5, 6])))
    folder.clock.advance(13 * 3600)
    await sink.send(numbered(2, folder.batch(NOON + DAY, [7])))
    name = f"metrics-20251121-000001.{each[0]}{each[2]}"
    assert folder.names("*[0-9]." + each[0] + "*") == [name]
    for current in folder.path.glob("*.current.*"):
        current.unlink()
    assert sorted(folder.found()) == sorted(
        (name, NOON + i, float(value)) for i, three in enumerate([(1, 2, 3), (4, 5, 6)])
        for name, value in zip("abc", three, strict=True)
    )  # fmt: skip
    await sink.close()


@pytest.mark.parametrize("each", ALL)
async def test_a_kill_within_the_first_delivery_doubles_nothing(
    folder: Any, numbered: Any, monkeypatch: pytest.MonkeyPatch, each: tuple[str, Any, str]
) -> None:
    """As the disk is when samples are on it and the position is not yet."""
    note, left = PositionLog.note, folder.path.with_name("left")

    def killed(self: PositionLog, position: Position) -> None:
        if position.files and not left.exists():
            shutil.copytree(folder.path, left)
        note(self, position)

    monkeypatch.setattr(PositionLog, "note", killed)
    sink = folder.begin(**_settings(each))
    await sink.send(numbered(0, folder.batch(NOON, [1, 2, 3])))
    await sink.close()
    folder.path = left
    sink = folder.begin(**_settings(each))
    await sink.send(numbered(0, folder.batch(NOON, [1, 2, 3])))
    assert folder.repaired("unacknowledged") == 1
    folder.clock.advance(13 * 3600)
    await sink.send(numbered(1, folder.batch(NOON + DAY, [4])))
    await sink.close()
    for current in left.glob("*.current.*"):
        current.unlink()
    assert sorted(folder.found()) == [
        (name, NOON, float(value)) for name, value in zip("abc", (1, 2, 3), strict=True)
    ]


async def test_samples_go_to_the_file_of_their_hour_also_when_they_are_late(
    folder: Any, numbered: Any
) -> None:
    sink = folder.begin(rotation="hourly")
    await sink.send(numbered(0, folder.batch([NOON - 1, NOON, NOON + HOUR], [1, 2, 3])))
    await sink.send(numbered(1, folder.batch(NOON - 1, [4])))
    assert folder.names() == [
        "metrics-20251121T11-000001.current.json",
        "metrics-20251121T12-000001.current.json",
        "metrics-20251121T13-000001.current.json",
    ]
    folder.clock.advance(3700)  # the hour before noon is over
    await sink.send(numbered(2, folder.batch(NOON - 2, [5])))
    for n in range(3, 6):
        await sink.send(numbered(n, folder.batch(NOON - n, [6])))
    assert folder.names("*T11*") == [
        "metrics-20251121T11-000001.json",
        "metrics-20251121T11-000002.current.json",  # for all that is late in the next hour
    ]
    assert [value for *_, value in folder.found()] == [1, 4, 5, 6, 6, 6, 2, 3]
    await sink.close()


async def test_few_files_are_open_at_once(folder: Any, numbered: Any) -> None:
    sink = folder.begin(rotation="hourly")
    for n in range(20):
        await sink.send(numbered(n, folder.batch(NOON + n * HOUR, [n])))
    far_back = [NOON + n * HOUR for n in range(20, 60)]
    await sink.send(
        numbered(20, folder.batch(far_back, [1] * 40, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRST"))
    )
    assert len(folder.names("*.current.*")) == folder_module.MOST_CURRENT
    assert [time for _, time, _ in folder.found()] == [NOON + n * HOUR for n in range(60)]
    await sink.close()


@pytest.mark.parametrize("each", ALL)
async def test_a_large_file_is_finished(folder: Any, numbered: Any, each: tuple[str, Any, str]) -> None:
    sink = folder.begin(**_settings(each), rotation="none", max_file_size=4096)
    names = [chr(ord("a") + i) for i in range(20)]
    for n in range(400):
        await sink.send(numbered(n, folder.batch(NOON + n, [n * 1.37] * 20, "".join(names))))
    finished = folder.names("metrics-0*[0-9]." + each[0] + "*")
    assert finished[:2] == [f"metrics-00000{i}.{each[0]}{each[2]}" for i in (1, 2)]
    if each[0] != "parquet":
        assert all(4096 <= (folder.path / name).stat().st_size < 8192 for name in finished)
        assert len(folder.found()) == 400 * 20
    await sink.close()


@pytest.mark.parametrize("each", ALL)
async def test_what_is_sent_again_after_a_restart_is_known(
    folder: Any, numbered: Any, each: tuple[str, Any, str]
) -> None:
    folder.settings = _settings(each)
    sink = folder.begin()
    await sink.send(numbered(0, folder.batch(NOON, [1]), folder.batch(NOON + 1, [2])))
    await sink.close()
    sink = folder.begin()
    await sink.send(numbered(1, folder.batch(NOON + 1, [2]), folder.batch(NOON + 2, [3])))
    await sink.send(numbered(2, folder.batch(NOON + 2, [3])))
    folder.clock.advance(2 * 86_400)
    await sink.send(numbered(3, folder.batch(NOON + 3, [4])))
    await sink.close()
    assert folder.names() == [f"metrics-20251121-000001.{each[0]}{each[2]}"]
    assert sorted(folder.found()) == [("a", NOON + i, i + 1.0) for i in range(4)]


@pytest.mark.parametrize("each", ALL)
@pytest.mark.parametrize("torn", [b"\x1f\x8b\x08torn", b'{"time":"2025-11-2', b"\n"])
async def test_a_torn_end_is_cut(folder: Any, numbered: Any, each: tuple[str, Any, str], torn: bytes) -> None:
    folder.settings = _settings(each)
    sink = folder.begin()
    await sink.send(numbered(0, folder.batch(NOON, [1])))
    await sink.close()
    (current,) = folder.path.glob("*.current.*")
    with current.open("ab") as file:
        file.write(torn)
    (folder.path / "metrics-20251120-000001.parquet.tmp").write_bytes(b"PAR1")
    sink = folder.begin()
    await sink.send(numbered(1, folder.batch(NOON + 1, [2])))
    assert folder.repaired("tail") == 1
    folder.clock.advance(2 * 86_400)
    await sink.send(numbered(2, folder.batch(NOON + 2, [3])))
    await sink.close()
    assert sorted(folder.found()) == [("a", NOON + i, i + 1.0) for i in range(3)]


async def test_a_file_that_was_never_acknowledged_is_written_again(folder: Any, numbered: Any) -> None:
    sink = folder.begin()
    await sink.send(numbered(0, folder.batch(NOON, [1])))
    await sink.close()
    (folder.path / "metrics-20251122-000001.current.json").write_text('{"time":"2025-11-22T0')
    sink = folder.begin()
    await sink.send(numbered(1, folder.batch(NOON + DAY, [2])))
    assert folder.found() == [("a", NOON, 1.0), ("a", NOON + DAY, 2.0)]
    assert folder.repaired("unacknowledged") == 1
    await sink.close()


async def test_numbers_of_another_journal_mean_nothing(folder: Any, numbered: Any) -> None:
    sink = folder.begin()
    await sink.send(numbered(100, folder.batch(NOON, [1])))
    await sink.close()
    folder.state = type(folder.state)()  # the data directory was deleted
    sink = folder.begin()
    await sink.send(numbered(0, folder.batch(NOON + 1, [2])))
    await sink.close()
    assert [value for *_, value in folder.found()] == [1, 2]


async def test_numbers_that_the_journal_gave_anew_after_a_power_cut_are_other_batches(
    folder: Any, numbered: Any
) -> None:
    sink = folder.begin(begun_at=0)
    await sink.send(numbered(10, folder.batch(NOON, [1]), folder.batch(NOON + 1, [2])))
    await sink.close()
    sink = folder.begin(begun_at=11)  # 11 was lost
    await sink.send(numbered(10, folder.batch(NOON, [1]), folder.batch(NOON + 2, [3])))
    await sink.close()
    assert [value for *_, value in folder.found()] == [1, 2, 3]


@pytest.mark.parametrize("each", ALL)
@pytest.mark.parametrize("which", range(8))
async def test_a_full_disk_leaves_nothing_torn(
    folder: Any, numbered: Any, each: tuple[str, Any, str], which: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full at one write or sync after another, and half of what was to be written is."""
    folder.settings = _settings(each)
    sink = folder.begin()
    await sink.send(numbered(0, folder.batch(NOON, [1])))
    calls = iter(range(100))
    write, sync = os.pwrite, os.fsync

    def full_write(file: int, data: Any, at: int) -> int:
        if next(calls) == which:
            write(file, data[: len(data) // 2], at)
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data, at)

    def full_sync(file: int) -> None:
        if next(calls) == which:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(file)

    second = numbered(1, folder.batch([NOON + 1, NOON + DAY], [2, 3]), folder.batch(NOON + 2, [4]))
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full_write)
        patch.setattr(os, "fsync", full_sync)
        try:
            await sink.send(second)
        except RetryLater as error:
            assert error.reason == "disk_full"
            assert "No space left" in str(error)
            if each[0] != "parquet":
                assert [value for *_, value in folder.found()] == [1]
    await sink.send(second)
    folder.clock.advance(5 * 86_400)
    await sink.send(numbered(3, folder.batch(NOON + 3, [5])))
    await sink.close()
    assert sorted(folder.found()) == [
        ("a", NOON, 1), ("a", NOON + 1, 2), ("a", NOON + 2, 4), ("a", NOON + 3, 5), ("b", NOON + DAY, 3)
    ]  # fmt: skip


async def test_a_parquet_file_that_finds_no_room_is_tried_again(
    folder: Any, numbered: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = folder.begin(format="parquet")
    await sink.send(numbered(0, folder.batch(NOON, [1])))
    folder.clock.advance(2 * 86_400)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("metricsmith.sinks.file.finish.write_parquet", full)
        await sink.send(numbered(1, folder.batch(NOON + 2 * DAY, [2])))
    errors = folder.telemetry.value("metricsmith_sink_file_errors_total", sink="out", reason="disk_full")
    assert errors == 1
    assert folder.names() == [
        "metrics-20251121-000001.current.frames", "metrics-20251123-000001.current.frames"
    ]  # fmt: skip
    await sink.close()
    sink = folder.begin(format="parquet")  # over a restart, too
    folder.clock.advance(2 * 86_400)
    await sink.send(numbered(2, folder.batch(NOON + 4 * DAY, [3])))
    assert folder.names("*.parquet") == ["metrics-20251121-000001.parquet", "metrics-20251123-000001.parquet"]
    await sink.close()


async def test_one_process_writes_to_a_folder(folder: Any, numbered: Any, new_folder: Any) -> None:
    sink = folder.begin()
    await sink.send(numbered(0, folder.batch(NOON, [1])))
    other = new_folder(folder.path)
    second = other.begin()
    with pytest.raises(RetryLater, match="another sink or process writes there"):
        await second.send(numbered(0, other.batch(NOON, [2])))
    await sink.close()
    await second.send(numbered(0, other.batch(NOON, [2])))
    assert [value for *_, value in folder.found()] == [1, 2]
    await second.close()


async def test_other_settings_finish_the_files_of_before(folder: Any, numbered: Any) -> None:
    for n, each in enumerate(
        [{"format": "json"}, {"format": "parquet"}, {"format": "csv", "compression": True}]
    ):
        sink = folder.begin(**each)
        await sink.send(numbered(n, folder.batch(NOON + n, [n])))
        await sink.close()
    assert folder.names() == [
        "metrics-20251121-000001.json",
        "metrics-20251121-000002.parquet",
        "metrics-20251121-000003.current.csv.gz",
    ]
    assert [value for *_, value in folder.found()] == [0, 1, 2]


async def test_a_current_file_that_somebody_removes_is_begun_anew(folder: Any, numbered: Any) -> None:
    sink = folder.begin()
    await sink.send(numbered(0, folder.batch(NOON, [1])))
    (folder.path / "metrics-20251121-000001.current.json").unlink()
    await sink.send(numbered(1, folder.batch(NOON + 1, [2])))
    assert folder.found() == [("a", NOON + 1, 2.0)]
    assert folder.repaired("missing") == 1
    os.truncate(folder.path / folder.names()[0], 0)  # as log rotation with copytruncate does
    await sink.send(numbered(2, folder.batch(NOON + 2, [3])))
    assert folder.found() == [("a", NOON + 2, 3.0)]
    assert folder.repaired("missing") == 2
    await sink.close()


@pytest.mark.parametrize("each", TEXT)
async def test_without_a_position_what_can_be_read_is_kept(
    folder: Any, numbered: Any, each: tuple[str, Any, str]
) -> None:
    folder.settings = _settings(each)
    sink = folder.begin()
    for n in range(3):
        await sink.send(numbered(n, folder.batch(NOON + n, [n])))
    await sink.close()
    (folder.path / "metrics.position").unlink()
    (current,) = folder.path.glob("*.current.*")
    current.write_bytes(current.read_bytes()[:-5])
    sink = folder.begin()
    await sink.send(numbered(3, folder.batch(NOON + 3, [3])))
    assert folder.names() == [
        f"metrics-20251121-000001.{each[0]}{each[2]}", f"metrics-20251121-000002.current.{each[0]}{each[2]}"
    ]  # fmt: skip
    assert [value for *_, value in folder.found()] == [0, 1, 3]
    await sink.close()


@pytest.mark.parametrize("each", ALL)
async def test_a_file_that_lost_its_end_keeps_the_rest_and_is_told(
    folder: Any, numbered: Any, each: tuple[str, Any, str]
) -> None:
    folder.settings = _settings(each)
    sink = folder.begin()
    for n in range(3):
        await sink.send(numbered(n, folder.batch(NOON + n, [n])))
    await sink.close()
    (current,) = folder.path.glob("*.current.*")
    current.write_bytes(current.read_bytes()[:-5])
    sink = folder.begin()
    await sink.send(numbered(3, folder.batch(NOON + 3, [3])))
    assert folder.repaired("short") == 1
    folder.clock.advance(2 * 86_400)
    await sink.send(numbered(4, folder.batch(NOON + 4, [4])))
    await sink.close()
    assert folder.names(f"*[0-9].{each[0]}*") == [
        f"metrics-20251121-00000{i}.{each[0]}{each[2]}" for i in (1, 2)
    ]
    assert [value for *_, value in folder.found()] == [0, 1, 3, 4]


async def test_a_folder_that_somebody_removes_is_made_anew(folder: Any, numbered: Any) -> None:
    sink = folder.begin()
    await sink.send(numbered(0, folder.batch(NOON, [1])))
    shutil.rmtree(folder.path)
    second = numbered(1, folder.batch(NOON + 1, [2]))
    with pytest.raises(RetryLater, match="No such file or directory"):
        await sink.send(second)
    await sink.send(second)
    assert folder.found() == [("a", NOON + 1, 2.0)]
    await sink.close()


async def test_impossible_times_are_counted(folder: Any, numbered: Any) -> None:
    sink = folder.begin()
    await sink.send(numbered(0, folder.batch(-5, [1])))
    await sink.send(numbered(1, folder.batch([-1, NOON, 1 << 60], [1, 2, 3]), folder.batch(1 << 60, [4])))
    assert folder.found() == [("b", NOON, 2.0)]
    dropped = "metricsmith_sink_dropped_samples_total"
    assert folder.telemetry.value(dropped, sink="out", reason="time_out_of_range") == 4
    position = read_position(folder.path)
    assert position is not None
    assert (position.sequence, position.newest_ms) == (2, NOON)
    await sink.close()


async def test_metadata_stands_beside_the_samples(folder: Any, numbered: Any) -> None:
    known = {"a": Metadata(MetricType.COUNTER, "s", "Help.\nTwo lines.")}
    for n, metadata in enumerate([known, {"b": Metadata(MetricType.GAUGE)}]):
        sink = folder.begin()
        batch = folder.batch(NOON + n, [1])
        batch.layout.metadata = metadata
        await sink.send(numbered(n, batch))
        await sink.close()
    assert read_metadata(folder.path) == {**known, "b": Metadata(MetricType.GAUGE)}


async def test_a_folder_that_cannot_be_made_is_told(folder: Any, numbered: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder.path = tmp_path / "file"
    sink = folder.begin()
    with pytest.raises(RetryLater, match=r"file: (File exists|Not a directory)"):
        await sink.send(numbered(0, folder.batch(NOON, [1])))
    await sink.close()
