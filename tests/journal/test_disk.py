"""Full and failing disks, and kill -9: nothing half accepted, nothing acknowledged lost."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from metricsmith.errors import DiskFull, JournalError
from metricsmith.model.batch import Batch


def numbers(journal) -> list[int]:
    return [s for s, _ in journal.replay(0)]


class Disk:
    """Stands before the system calls; fails them on demand, after `room` bytes have been written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room: int | None = None
        self.write_error = errno.ENOSPC
        self.sync_error: int | None = None
        self._write, self._sync = os.write, os.fdatasync
        monkeypatch.setattr(os, "write", self.write)
        monkeypatch.setattr(os, "fdatasync", self.fdatasync)

    def write(self, fd: int, data: memoryview) -> int:
        if self.room is None:
            return self._write(fd, data)
        if self.room == 0:
            raise OSError(self.write_error, os.strerror(self.write_error))
        written = self._write(fd, data[: self.room])
        self.room -= written
        return written

    def fdatasync(self, fd: int) -> None:
        if self.sync_error is not None:
            raise OSError(self.sync_error, os.strerror(self.sync_error))
        self._sync(fd)


@pytest.mark.parametrize("room", [0, 1, 100, 1000])
@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        (errno.ENOSPC, DiskFull, "disk_full"),
        (errno.EDQUOT, DiskFull, "disk_full"),
        (errno.EIO, JournalError, "io"),
    ],
)
async def test_a_failed_write_accepts_nothing_and_the_next_succeeds(
    bench, monkeypatch, room, code, kind, reason
):
    journal = bench.open()
    layout = bench.layout(range(300))
    batch = Batch(layout, 1, np.random.default_rng(0).random(300))
    assert [await journal.append(batch) for _ in range(3)] == [0, 1, 2]
    size = bench.segments()[0].stat().st_size
    disk = Disk(monkeypatch)
    disk.room, disk.write_error = room, code
    for _ in range(3):
        results = await asyncio.gather(*(journal.append(batch) for _ in range(5)), return_exceptions=True)
        assert all(type(r) is kind for r in results), results
    assert bench.segments()[0].stat().st_size == size
    assert journal.next_sequence == 3
    assert numbers(journal) == [0, 1, 2]
    assert bench.telemetry.value("metricsmith_journal_errors_total", reason=reason) >= 3
    disk.room = None
    assert await journal.append(batch) == 3
    await journal.close()
    bench.restart()
    again = bench.open()
    assert numbers(again) == [0, 1, 2, 3]
    assert bench.telemetry.value("metricsmith_journal_repaired_bytes_total") == 0


async def test_after_a_failed_sync_the_segment_is_not_written_any_more(bench, monkeypatch):
    journal = bench.open()
    batch = Batch(bench.layout(range(50)), 1, np.random.default_rng(0).random(50))
    await journal.append(batch)
    disk = Disk(monkeypatch)
    disk.sync_error = errno.EIO
    with pytest.raises(JournalError, match="Input/output error"):
        await journal.append(batch)
    disk.sync_error = None
    assert [await journal.append(batch) for _ in range(2)] == [1, 2]
    assert [p.name for p in bench.segments()] == [f"{0:020d}.journal", f"{1:020d}.journal"]
    assert numbers(journal) == [0, 1, 2]
    await journal.close()


async def test_that_writing_works_again_is_logged_once(bench, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "metricsmith.journal")
    journal = bench.open()
    batch = Batch(bench.layout(range(9)), 1, np.ones(9))
    disk = Disk(monkeypatch)
    disk.room = 0
    for _ in range(3):
        with pytest.raises(DiskFull):
            await journal.append(batch)
    disk.room = None
    for _ in range(3):
        await journal.append(batch)
    assert [r.levelname for r in caplog.records] == ["WARNING", "INFO"]
    assert "can be written again" in caplog.messages[1]
    await journal.close()


@pytest.fixture
def small_file_system(tmp_path) -> Iterator[Path]:
    mount = tmp_path / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", mount]
    done = subprocess.run(command, capture_output=True)
    if done.returncode:
        pytest.skip(f"cannot mount a small file system here: {done.stderr.decode().strip()}")
    yield mount
    subprocess.run(["umount", mount], check=True)


async def test_a_full_file_system_recovers_when_space_is_freed(bench, small_file_system):
    bench.folder = small_file_system / "journal"
    journal = bench.open(segment_size=64 << 10)
    layout = bench.layout(range(500))
    rng = np.random.default_rng(0)
    accepted = []
    with pytest.raises(DiskFull, match="No space left"):
        while len(accepted) < 200:
            accepted.append(await journal.append(Batch(layout, 0, rng.random(500))))
    assert accepted == numbers(journal) == list(range(len(accepted)))
    journal.set_cursor("store", journal.next_sequence)
    assert journal.trim() > 0
    accepted.append(await journal.append(Batch(layout, 0, rng.random(500))))
    assert accepted[-1] == len(accepted) - 1
    assert numbers(journal)[-1] == accepted[-1]
    await journal.close()


VICTIM = """
import asyncio, os, sys
from pathlib import Path
import numpy as np
from metricsmith.journal import Journal, JournalConfig
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.clock import SystemClock
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry

async def main():
    table = SeriesTable()
    config = JournalConfig(segment_size=100_000)
    journal = Journal(Path(sys.argv[1]), table, Telemetry(), SystemClock(), config)
    async def client(c):
        ids = table.intern_many(b"m\\xffc\\xfe%d\\xffi\\xfe%d" % (c, i) for i in range(100))
        layout = Layout(ids, f"client {c}")
        for n in range(10**9):
            first = journal.next_sequence
            sequence = await journal.append(Batch(layout, n, np.full(100, float(c))))
            os.write(1, b"%d %d %d\\n" % (sequence, c, n))
    await asyncio.gather(*(client(c) for c in range(4)))

asyncio.run(main())
"""


def kill_once(bench, rnd: random.Random, acknowledged: dict[int, tuple[int, int]]) -> None:
    victim = subprocess.Popen([sys.executable, "-c", VICTIM, bench.folder], stdout=subprocess.PIPE)
    assert victim.stdout is not None
    lines = [victim.stdout.readline() for _ in range(rnd.randrange(1, 400))]
    victim.kill()
    lines += victim.stdout.readlines()
    victim.stdout.close()
    victim.wait()
    for line in lines:
        if line.endswith(b"\n"):
            sequence, client, n = map(int, line.split())
            assert sequence not in acknowledged
            acknowledged[sequence] = (client, n)


def kills(bench, count: int) -> None:
    rnd = random.Random(count)
    acknowledged: dict[int, tuple[int, int]] = {}
    for _ in range(count):
        kill_once(bench, rnd, acknowledged)
    bench.restart()
    found = {}
    for sequence, batch in bench.open().replay(0):
        assert sequence not in found
        (client,) = set(batch.value.tolist())
        assert bench.keys(batch) == [b"m\xffc\xfe%d\xffi\xfe%d" % (client, i) for i in range(100)]
        found[sequence] = (int(client), batch.time_ms)
    assert list(found) == list(range(len(found)))
    assert acknowledged
    assert acknowledged.items() <= found.items()


def test_what_was_acknowledged_survives_kill_9(bench):
    kills(bench, 4)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_what_was_acknowledged_survives_hundreds_of_kills(bench):
    kills(bench, 300)
