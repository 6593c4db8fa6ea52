"""`metricsmith store verify`: what a crash leaves is no fault of the data; damage is, with its place."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from metricsmith.contracts import Context
from metricsmith.errors import DataDirLocked, StoreError
from metricsmith.journal import Journal, JournalConfig
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.faults import Fault
from metricsmith.model.labels import encode_labels
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.runtime.state import StateFile
from metricsmith.runtime.verify import Verification, rebuild
from metricsmith.store.datadir import DataDir
from metricsmith.store.embedded import EmbeddedConfig, EmbeddedStore
from metricsmith.store.verify import kept_from_others
from metricsmith.testing.clock import FakeClock
from metricsmith.testing.crash import victim
from metricsmith.testing.programs import AgentProgram
from metricsmith.testing.terminal import shown_on

Make = Callable[..., AgentProgram]
OPERATE = Path(__file__).parents[2] / "docs" / "operate.md"
NOW = 1_700_000_000_000
SERIES, BATCHES = 20, 60


def write(folder: Path) -> None:
    """Fill a data directory: some batches are in blocks, some in the journal only; several segments."""
    table, clock = SeriesTable(), FakeClock(NOW)
    telemetry = Telemetry(clock)
    store = EmbeddedStore(
        EmbeddedConfig.model_validate({"path": str(folder)}), Context("store", table, telemetry, clock)
    )
    state = StateFile(folder / "state.sqlite")
    state.of("rules").commit({f"key {n}": bytes(200) for n in range(50)})
    keys = [encode_labels({"__name__": "m", "n": str(n)}) for n in range(SERIES)]
    layout = Layout(table.intern_many(keys), "target")

    async def run() -> None:
        config = JournalConfig(segment_size=4096)
        journal = Journal(folder / "journal", table, telemetry, clock, config)
        rng = np.random.default_rng(1)
        for n in range(BATCHES):
            batch = Batch(layout, NOW - 3_600_000 + n * 1000, rng.random(SERIES))
            store.apply(batch, await journal.append(batch))
            if n == BATCHES // 2:
                clock.advance(7300)
                store.tick(clock.now_ms())
                store._heads.wait_for_write(clock.now_ms())
        journal.reader("a sink".replace(" ", "-"))
        await journal.close()

    asyncio.run(run())
    store.close(flush=False)
    state.close()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "data"
    write(folder)
    return folder


@pytest.fixture
def data(written: Path, tmp_path: Path) -> Path:
    return shutil.copytree(written, tmp_path / "data")


def verify(folder: Path) -> list[Fault]:
    before = snapshot(folder)
    with kept_from_others(folder) as user:
        verification = Verification(folder, bool(user))
        read = list[int]()
        faults = list(verification.run(read.append))
    assert snapshot(folder) == before, "nothing is changed"
    if not faults:
        assert sum(read) == verification.bytes
        assert verification.samples >= SERIES * BATCHES // 2
    return faults


def snapshot(folder: Path) -> dict[Path, tuple[int, bytes]]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "LOCK"]
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)


def segments(folder: Path) -> list[Path]:
    return sorted((folder / "journal").glob("*.journal"))


def harmful(faults: list[Fault]) -> list[Fault]:
    return [fault for fault in faults if not fault.harmless]


def test_what_was_written_and_not_closed_in_order_is_well(data: Path) -> None:
    assert len(segments(data)) > 2
    assert verify(data) == []


def test_any_damaged_byte_of_the_journal_is_found(data: Path, tmp_path: Path) -> None:
    chance = random.Random(3)
    for path in segments(data):
        whole = path.read_bytes()
        for at in [0, 9, len(whole) - 1, *(chance.randrange(len(whole)) for _ in range(12))]:
            flip(path, at)
            faults = verify(data)
            assert {fault.file for fault in faults} == {f"journal/{path.name}"}, at
            if path != segments(data)[-1]:
                assert harmful(faults), at
                assert at == 0 or any(fault.part for fault in faults)
            path.write_bytes(whole)


def test_a_torn_end_is_no_harm_and_a_missing_segment_is(data: Path) -> None:
    newest = segments(data)[-1]
    os.truncate(newest, newest.stat().st_size - 3)
    (fault,) = verify(data)
    assert fault.harmless
    assert "nobody was told" in fault.advice
    segments(data)[1].unlink()
    (fault,) = harmful(verify(data))
    assert fault.file == f"journal/{segments(data)[1].name}"
    assert "wanted" in fault.what


def test_frames_that_use_what_nothing_defines_are_found(data: Path) -> None:
    """Checksums are right, but the frame that says which series these are is gone."""
    path = segments(data)[0]
    whole = path.read_bytes()
    marks = [i for i in range(len(whole)) if whole.startswith(b"\xf5mj1", i)]
    path.write_bytes(whole[: marks[0]] + whole[marks[1] :])
    faults = harmful(verify(data))
    assert len(faults) > 1
    assert all("cannot be decoded" in fault.what for fault in faults)


def test_what_a_crash_leaves_is_told_and_no_fault(data: Path) -> None:
    (block,) = (data / "blocks").iterdir()
    shutil.copytree(block, data / "blocks" / "20000101T000000Z-20000101T020000Z-00000099")
    (data / "tmp" / "00000098").mkdir()
    (data / "journal" / "x.cursor.tmp").write_text("1")
    faults = verify(data)
    assert harmful(faults) == []
    assert len(faults) == 3


@pytest.mark.parametrize("name", ["manifest.sqlite", "state.sqlite"])
def test_damaged_databases_are_found(data: Path, name: str) -> None:
    path = data / name
    path.write_bytes(path.read_bytes()[:100] + bytes(path.stat().st_size - 100))
    assert [f.file for f in harmful(verify(data))] == [name]
    path.write_bytes(b"no database at all, but long enough to be one" * 200)
    assert [f.file for f in harmful(verify(data))] == [name]


def test_a_manifest_that_names_a_block_that_is_gone(data: Path) -> None:
    (block,) = (data / "blocks").iterdir()
    shutil.rmtree(block)
    (fault,) = harmful(verify(data))
    assert (fault.file, fault.what) == (f"blocks/{block.name}", "the folder is missing")


@pytest.mark.parametrize("text", ["metricsmith data 99\n", "something\n"])
def test_a_format_that_is_not_ours(data: Path, text: str) -> None:
    (data / "FORMAT").write_text(text)
    assert [f.file for f in harmful(verify(data))] == ["FORMAT"]


def test_rebuilt_from_the_blocks_alone(data: Path, tmp_path: Path) -> None:
    """Also what a person put there: a block of a backup."""
    for path in [*data.glob("manifest.sqlite*"), data / "FORMAT", *segments(data)]:
        path.unlink()
    other = tmp_path / "other"
    write(other)
    rebuilt = rebuild(data)
    assert (rebuilt.blocks, rebuilt.samples) == (1, SERIES * (BATCHES // 2 + 1))
    assert verify(data) == []
    assert rebuild(data) == rebuilt
    assert (data / "strays" / "manifest.sqlite").exists()
    database = sqlite3.connect(data / "manifest.sqlite")
    assert database.execute("SELECT cursor, next_number FROM store").fetchall() == [(0, 2)]
    database.close()


@pytest.mark.parametrize("readable", [True, False])
async def test_what_was_deleted_stays_so_if_the_old_manifest_tells(tmp_path: Path, readable: bool) -> None:
    run = victim.Run(tmp_path / "data")
    for number in range(12):
        await run.accept(number)
    run.delete()
    shown = run.everything()
    assert shown
    await run.close()
    for path in segments(tmp_path / "data"):  # they hold what was deleted, too
        path.unlink()
    if not readable:
        flip(tmp_path / "data" / "manifest.sqlite", 0)
    rebuild(tmp_path / "data")
    again = victim.Run(tmp_path / "data")
    found = again.everything()
    assert (found == shown) == readable
    assert shown.items() <= found.items()
    await again.close()


@pytest.mark.parametrize("gone", [False, True])
async def test_what_was_deleted_does_not_come_back_from_the_journal(tmp_path: Path, gone: bool) -> None:
    """Of all that the journal holds it is replayed only where a block is gone, whose samples it may have."""
    folder = tmp_path / "data"
    run = victim.Run(folder)
    run.journal.set_cursor("a sink that is behind", 0)
    for number in range(12):
        await run.accept(number)
    run.delete()
    run.upkeep()
    await run.accept(12)
    shown = run.everything()
    assert not run.store._blocks.tombstones, "the journal alone has them"
    await run.close()
    if gone:
        shutil.rmtree(next((folder / "blocks").iterdir()))
    rebuilt = rebuild(folder)
    assert rebuilt.cursor == (0 if gone else 12)
    again = victim.Run(folder)
    assert (again.everything() == shown) == (not gone)
    assert shown.items() <= again.everything().items()
    await again.close()


def test_a_rebuild_that_ends_halfway_leaves_the_old_manifest(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (data / "manifest.sqlite").read_bytes()

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("metricsmith.store.rebuild.create_manifest", end)
    with pytest.raises(KeyboardInterrupt):
        rebuild(data)
    assert (data / "manifest.sqlite").read_bytes() == before
    assert (data / "strays" / "manifest.sqlite").read_bytes() == before


def set_in_meta(*path: str | int, value: int) -> Callable[[Path], None]:
    def change(data: Path) -> None:
        file = next((data / "blocks").rglob("meta.json"))
        whole = part = json.loads(file.read_text())
        for step in path[:-1]:
            part = part[step]
        part[path[-1]] = value
        file.write_text(json.dumps(whole))

    return change


def in_place_of(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    def change(data: Path) -> None:
        path = next(data.rglob(name))
        path.unlink()
        make(path)

    return change


NAMES = (
    "FORMAT",
    "manifest.sqlite",
    "state.sqlite",
    "*.cursor",
    "meta.json",
    "series.parquet",
    "samples.parquet",
)
HOSTILE = {
    **{f"{name} is a pipe": in_place_of(name, os.mkfifo) for name in NAMES},
    **{f"{name} is a folder": in_place_of(name, Path.mkdir) for name in NAMES},
    **{f"{name} has no end": in_place_of(name, lambda p: p.symlink_to("/dev/zero")) for name in NAMES},
    **{f"{name} leads to itself": in_place_of(name, lambda p: p.symlink_to(p.name)) for name in NAMES[3:]},
    "meta.json is deep": in_place_of("meta.json", lambda p: p.write_text("[" * 1_000_000)),
    "meta.json is large": lambda data: os.truncate(next(data.rglob("meta.json")), 1 << 33),
    "samples of the year 10^10": set_in_meta("window_start_ms", value=1 << 62),
    "too many series": set_in_meta("series", value=1 << 32),
    "too many samples": set_in_meta("samples_file", "row_group_samples", 0, value=1 << 24),
    "too many bytes": set_in_meta("samples_file", "row_group_bytes", 0, value=1 << 47),
    "too long a footer": set_in_meta("samples_file", "footer_bytes", value=1 << 39),
    "too large a catalogue": set_in_meta("series_file", "bytes", value=1 << 47),
    "more than 64 bits": set_in_meta("samples_file", "row_group_bytes", 0, value=1 << 80),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.timeout(60)
def test_what_is_made_to_harm_is_a_fault_and_no_more(data: Path, name: str) -> None:
    """Of a copy from elsewhere: nothing waits, nothing fills the memory, all the rest is read."""
    HOSTILE[name](data)
    with kept_from_others(data) as user:
        faults = harmful(list(Verification(data, bool(user)).run(lambda _: None)))
    assert faults
    assert len({fault.file.split("/")[0] for fault in faults}) == 1


def test_without_locks_it_says_so(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(StoreError, match="No locks available"), kept_from_others(data):
        pass
    with pytest.raises(StoreError, match="No locks available"):
        DataDir(data).open()


def command(folder: Path, *options: str) -> tuple[int, str, str]:
    """Run the command as people do."""
    done = subprocess.run(
        [sys.executable, "-m", "metricsmith", "store", "verify", "--path", str(folder), *options],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_the_command_says_file_part_and_what_to_do(data: Path) -> None:
    header, *_ = shown_on(OPERATE, "metricsmith store verify").splitlines()
    code, out, _ = command(data)
    assert (code, out.count("\n")) == (0, 1)
    assert "all is well" in out
    flip(next((data / "blocks").rglob("samples.parquet")), 5)
    code, out, _ = command(data)
    assert code == 1
    assert out.splitlines()[0].split() == header.split()
    line = next(line for line in out.splitlines() if "samples.parquet" in line)
    assert "row group 0" in line
    assert "backup" in line
    code, out, _ = command(data, "--json")
    document = json.loads(out)
    assert (code, document["ok"], document["in_use_by"]) == (1, False, None)
    assert [fault["part"] for fault in document["faults"]] == ["row group 0"]
    code, out, _ = command(data, "--rebuild")
    assert code == 1, "what is damaged stays so"
    assert "made anew of 1 blocks" in out


def test_no_agent_starts_meanwhile(data: Path) -> None:
    with kept_from_others(data) as user:
        assert user == ""
        with pytest.raises(DataDirLocked, match=f"in use by process {os.getpid()},"):
            DataDir(data).open()
    dirs = DataDir(data)
    dirs.open()
    with kept_from_others(data) as user:
        assert user == str(os.getpid())
    dirs.close()


def test_what_is_no_data_directory_is_refused(tmp_path: Path) -> None:
    code, _, err = command(tmp_path)
    assert code == 1
    assert "wanted a data directory" in err


def test_of_an_agent_that_runs_the_blocks_are_read(agent_program: Make, data: Path) -> None:
    agent = agent_program()
    shutil.copytree(data, agent.data)
    agent.start()
    assert agent.process is not None
    code, out, err = command(agent.data)
    assert code == 0, out + err
    assert f"process {agent.process.pid} uses" in out
    code, _, err = command(agent.data, "--rebuild")
    assert code == 1
    assert f"in use by process {agent.process.pid}" in err
    flip(next((agent.data / "blocks").rglob("samples.parquet")), 5)
    code, out, _ = command(agent.data)
    assert code == 1
    assert "row group 0" in out
    assert agent.stop() == 0
