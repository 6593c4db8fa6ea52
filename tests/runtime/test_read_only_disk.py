"""A disk that becomes read-only: samples are refused with the reason, queries go on, nothing is lost."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from metricsmith.testing.programs import AgentProgram

Make = Callable[..., AgentProgram]


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)


@dataclass(frozen=True, slots=True)
class FailingDisk:
    """A real ext4 file system in a file, which can be made to find an error: it is read-only then."""

    image: Path
    folder: Path

    def mount(self, how: str) -> None:
        """Mount it, or skip the test where that is not allowed."""
        done = run("mount", "-o", f"loop,errors=remount-ro,{how}", self.image, self.folder)
        if done.returncode:
            pytest.skip(f"a file system in a file cannot be mounted here: {done.stderr.strip()}")

    def fail(self) -> None:
        """Have the kernel find an error, as after a failed write of the disk."""
        device = run("findmnt", "-no", "SOURCE", self.folder).stdout.strip().rpartition("/")[2]
        trigger = Path(f"/sys/fs/ext4/{device}/trigger_fs_error")
        if not trigger.exists():
            pytest.skip("this kernel cannot make a file system fail")
        trigger.write_text("1")

    def unmount(self) -> None:
        """Unmount and check it, as an operator does."""
        run("umount", self.folder)
        run("e2fsck", "-fy", self.image)


@pytest.fixture
def failing_disk(tmp_path: Path) -> Iterator[Callable[[Path], FailingDisk]]:
    made: list[FailingDisk] = []

    def make(folder: Path) -> FailingDisk:
        image = tmp_path / "disk.ext4"
        with image.open("wb") as file:
            file.truncate(24 << 20)
        try:
            if run("mkfs.ext4", "-q", "-F", image).returncode:
                pytest.skip("a file system cannot be made here")
        except FileNotFoundError:
            pytest.skip("mkfs.ext4 is not installed")
        folder.mkdir(parents=True)
        disk = FailingDisk(image, folder)
        disk.mount("rw")
        made.append(disk)
        return disk

    yield make
    for disk in made:
        run("umount", "-l", disk.folder)


def test_a_disk_that_fails_under_a_running_agent(
    agent_program: Make, failing_disk: Callable[[Path], FailingDisk]
) -> None:
    agent = agent_program()
    disk = failing_disk(agent.data)
    agent.start()
    base_ms = int(time.time()) * 1000 - 60_000
    accepted = [(base_ms + n * 1000, float(n)) for n in range(5)]
    for at, value in accepted:
        assert agent.push({"m": value}, at).status == 201
    disk.fail()
    refusal = agent.push({"m": 99}, base_ms + 9000)
    assert refusal.status == 503
    assert "Read-only file system" in refusal.text
    assert int(refusal.headers["Retry-After"]) > 0
    ready = agent.ask("/-/ready")
    assert (ready.status, "Read-only file system" in ready.text) == (503, True)
    assert agent.ask("/health").status == 200, "a restart would not help"
    assert agent.samples("m") == accepted
    assert agent.own("metricsmith_samples_dropped_total", component="api", reason="journal_error") == 1
    assert agent.stop() == 0, "the journal has it all"
    disk.unmount()
    disk.mount("rw")
    agent.start()
    assert agent.samples("m") == accepted
    assert agent.push({"m": 5}, base_ms + 5000).status == 201


def test_a_disk_that_was_mounted_read_only(
    agent_program: Make, failing_disk: Callable[[Path], FailingDisk]
) -> None:
    agent = agent_program()
    disk = failing_disk(agent.data)
    agent.start()
    assert agent.push({"m": 1}).status == 201
    assert agent.stop() == 0
    disk.unmount()
    disk.mount("ro")
    code, log = agent.run_to_end()
    assert code == 1
    (line,) = log.splitlines()
    assert "Read-only file system" in line
    assert "storage.path" in line
    verified = run(sys.executable, "-m", "metricsmith", "store", "verify", "--path", agent.data)
    assert (verified.returncode, "all is well" in verified.stdout) == (0, True), verified
    rebuilt = run(sys.executable, "-m", "metricsmith", "store", "verify", "--rebuild", "--path", agent.data)
    assert (rebuilt.returncode, "Read-only file system" in rebuilt.stderr) == (1, True)
