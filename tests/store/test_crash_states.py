"""What was accepted is there after a kill or a power cut at any moment: once, with its value, nothing else.

A run of journal and store is recorded, system call by system call; every test makes what the disk would hold
had the run ended there, opens it, and compares.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from metricsmith.runtime.verify import Verification
from metricsmith.testing.crash import ptrace, victim
from metricsmith.testing.crash.operations import Operation, Rename, Say, SyncFile, SyncFolder
from metricsmith.testing.crash.states import Disk, after_kill, after_power_cut

SOAK = pytest.mark.soak, pytest.mark.timeout(3000)
DAMAGE = (
    ("metricsmith_store_blocks_set_aside_total", {"reason": "damaged"}),
    ("metricsmith_store_blocks_set_aside_total", {"reason": "row_groups"}),
    ("metricsmith_store_row_groups_damaged_total", {}),
    *(
        ("metricsmith_journal_damaged_total", {"reason": reason})
        for reason in ("header", "payload", "undecodable", "cut", "missing", "tail_lost", "segment_header")
    ),
)


@dataclass(slots=True)
class Promises:
    """What a run has said before it ended."""

    accepted: int = 0
    now_ms: int = victim.BEGIN_MS
    deleting: int | None = None
    deleted: bool = False

    @classmethod
    def of(cls, operations: Sequence[Operation]) -> Promises:
        found = cls()
        for operation in operations:
            if isinstance(operation, Say):
                word, number = operation.line.split()
                match word:
                    case "accepted":
                        assert int(number) == found.accepted
                        found.accepted += 1
                    case "now":
                        found.now_ms = int(number)
                    case "deleting":
                        found.deleting = int(number)
                    case "deleted":
                        found.deleted = True
        return found

    def possible(self) -> list[victim.Samples]:
        """Return all contents that keep the promises: what was under way may be done or not."""
        deletions = [self.deleting] if self.deleted or self.deleting is None else [None, self.deleting]
        return [
            _contents(batches, deletion)
            for batches in (self.accepted, self.accepted + 1)
            for deletion in deletions
        ]


def _contents(batches: int, deletion: int | None) -> victim.Samples:
    found: victim.Samples = {}
    for number in range(batches):
        found |= victim.sent(number)
        if number == deletion:
            found = {at: value for at, value in found.items() if at[0] != victim.DELETED}
    return found


def check(found: victim.Samples, promises: Promises) -> None:
    possible = promises.possible()
    oldest_ms = promises.now_ms - victim.RETENTION_MS
    kept = set.intersection(*({at for at in contents if at[1] >= oldest_ms} for contents in possible))
    lost = kept - found.keys()
    assert not lost, f"{len(lost)} of {len(kept)} samples are lost, such as {min(lost)}"
    for at, value in found.items():
        allowed = {contents[at] for contents in possible if at in contents}
        assert value in allowed, f"{at} is {value}, wanted one of {allowed or 'nothing'}"


@dataclass
class Recording:
    """A run, and what it leaves when it ends after any of its operations."""

    operations: list[Operation]
    work: Path
    made: int = field(default=0)

    def check(self, disk: Disk, until: int, go_on: bool = False) -> None:
        """Open what is on a disk, and compare; with `go_on`, also go on and open it again."""
        self.made += 1
        folder = self.work / f"state{self.made}"
        disk.write_to(folder)
        promises = Promises.of(self.operations[:until])
        try:
            assert not [
                fault for fault in Verification(folder, False).run(lambda _: None) if not fault.harmless
            ]
            asyncio.run(opened(folder, promises, go_on))
            if go_on:
                promises.accepted += 1  # whether or not the batch that was under way had come
                asyncio.run(opened(folder, promises, False))
        except BaseException as error:
            shutil.copytree(folder, f"{folder}-failed", dirs_exist_ok=True)
            error.add_note(
                f"after {until} of {len(self.operations)} operations: {self.operations[until - 1]!r:.200}"
            )
            raise
        finally:
            shutil.rmtree(folder)


async def opened(folder: Path, promises: Promises, go_on: bool) -> None:
    """Open a folder as the next start does, and compare; with `go_on`, accept one more batch."""
    run = victim.Run(folder, promises.now_ms)
    try:
        check(run.everything(), promises)
        for name, labels in DAMAGE:
            assert run.telemetry.value(name, **labels) == 0, (name, labels)
        assert list((folder / "tmp").iterdir()) == []
        assert not list((folder / "journal").glob("*.tmp"))
        if go_on:
            await run.accept(promises.accepted)
            run.upkeep()
    finally:
        await run.close()


def record(folder: Path, steps: int, kill_at: int = 0) -> list[Operation]:
    """Run the victim in a folder that is not there yet; return what it did."""
    out = folder.with_name(f"{folder.name}.pickle")
    run = [sys.executable, "-m", victim.__name__, str(folder), str(steps)]
    recorder = [sys.executable, "-m", "metricsmith.testing.crash.record", str(out), str(folder), str(kill_at)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([*recorder, *run], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    operations: list[Operation] = pickle.loads(out.read_bytes())
    return operations


@pytest.fixture(scope="module")
def memory_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in memory where there is one: nothing that is opened here has to survive."""
    shared = Path("/dev/shm")
    folder = shared / f"crash-{os.getpid()}" if shared.is_dir() else tmp_path_factory.mktemp("crash")
    folder.mkdir(exist_ok=True)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def recorded(memory_folder: Path) -> Callable[[int], Recording]:
    """Return the recording of a run of some steps."""
    if reason := ptrace.why_not():
        pytest.skip(reason)
    made: dict[int, Recording] = {}

    def of(steps: int) -> Recording:
        if steps not in made:
            made[steps] = Recording(record(memory_folder / f"run{steps}", steps), memory_folder)
        return made[steps]

    return of


STEPS, MANY_STEPS = 40, 120


def test_the_run_does_all_that_is_promised(recorded: Callable[[int], Recording]) -> None:
    """It would not show much if it never merged, deleted or trimmed."""
    operations = recorded(STEPS).operations
    text = "\n".join(map(repr, operations))
    blocks = {
        o.target.rpartition("/")[2] for o in operations if isinstance(o, Rename) and "blocks/" in o.target
    }
    lengths = {int(name[9:11]) - int(name[26:28]) for name in blocks}
    assert len(lengths) > 1, "blocks of one length only: nothing was compacted"
    assert "Remove(path='journal/" in text
    assert "Rename(source='blocks/" in text, "no block was deleted"
    assert "deleted" in text


def test_replayed_as_a_whole_it_is_what_the_run_left(recorded: Callable[[int], Recording]) -> None:
    recording = recorded(STEPS)
    folder = recording.work / "whole"
    after_kill(recording.operations).write_to(folder)
    left, made = (
        {p.relative_to(f): p.read_bytes() for p in f.rglob("*") if p.is_file()}
        for f in (recording.work / f"run{STEPS}", folder)
    )
    assert left == made


def some(recording: Recording, count: int, seed: int) -> Iterator[tuple[int, random.Random]]:
    """Return some moments of a run, each with its own chance."""
    every = list(range(1, len(recording.operations) + 1))
    chance = random.Random(seed)
    for until in sorted(chance.sample(every, count)):
        yield until, random.Random(until * 1000 + seed)


@pytest.mark.parametrize(("steps", "count"), [(STEPS, 25), pytest.param(MANY_STEPS, 800, marks=SOAK)])
def test_after_a_kill(recorded: Callable[[int], Recording], steps: int, count: int) -> None:
    recording = recorded(steps)
    for until, chance in some(recording, count, 1):
        torn = chance if chance.random() < 0.5 else None
        recording.check(after_kill(recording.operations[:until], torn), until, go_on=until % 5 == 0)


@pytest.mark.parametrize(
    ("steps", "count", "seeds"), [(STEPS, 25, 1), pytest.param(MANY_STEPS, 400, 2, marks=SOAK)]
)
def test_after_a_power_cut(recorded: Callable[[int], Recording], steps: int, count: int, seeds: int) -> None:
    recording = recorded(steps)
    for seed in range(seeds):
        for until, chance in some(recording, count, seed):
            some_of_the_rest = chance if chance.random() < 0.7 else None
            disk = after_power_cut(recording.operations[:until], some_of_the_rest)
            if disk.names:
                recording.check(disk, until, go_on=until % 5 == 0)


def without_syncs(operations: Sequence[Operation]) -> list[Operation]:
    return [operation for operation in operations if not isinstance(operation, SyncFile | SyncFolder)]


def test_a_power_cut_is_noticed_where_nothing_is_synced(recorded: Callable[[int], Recording]) -> None:
    """These tests can fail: without its syncs the same run loses what it had accepted."""
    recording = recorded(STEPS)
    careless = Recording(without_syncs(recording.operations), recording.work)
    with pytest.raises(AssertionError):
        for until, _ in some(careless, 20, 3):
            careless.check(after_power_cut(careless.operations[:until]), until)


@pytest.mark.parametrize(("steps", "count"), [(12, 2), pytest.param(STEPS, 120, marks=SOAK)])
def test_a_process_that_is_killed_at_any_of_its_changes(memory_folder: Path, steps: int, count: int) -> None:
    """No model of a disk: SIGKILL, in place of the n-th change to a file."""
    if reason := ptrace.why_not():
        pytest.skip(reason)
    chance = random.Random(steps)
    for number in range(count):
        kill_at = chance.randrange(5, 30 * steps)
        folder = memory_folder / f"killed{steps}-{number}"
        operations = record(folder, steps, kill_at)
        asyncio.run(opened(folder, Promises.of(operations), go_on=True))
        shutil.rmtree(folder)
