"""Agents as programs of their own, targets for them, and small disks."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from metricsmith.testing.programs import AgentProgram
from metricsmith.testing.targets import Target, running_target

EMPTY = 'server: {{listen: "127.0.0.1:{port}"}}\nstorage: {{path: "{data}"}}\n'


@pytest.fixture
def agent_program(tmp_path: Path) -> Iterator[Callable[..., AgentProgram]]:
    """Make agents from what follows the server and storage sections; what still runs at the end is killed."""
    made: list[AgentProgram] = []

    def make(more: str = "", *, base: str = EMPTY) -> AgentProgram:
        folder = tmp_path / f"agent{len(made)}"
        folder.mkdir()
        made.append(AgentProgram(folder, base + more))
        return made[-1]

    yield make
    for program in made:
        if program.process is not None:
            program.kill()


@pytest.fixture
def target() -> Iterator[Target]:
    """A target on loopback."""
    with running_target() as found:
        yield found


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """A file system of its own, in memory."""

    folder: Path

    @property
    def ballast(self) -> Path:
        return self.folder / "ballast"

    def fill(self) -> None:
        """Leave no byte free."""
        with self.ballast.open("ab", buffering=0) as file:
            for size in (1 << 16, 1 << 12):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    continue

    def free(self) -> None:
        """Give back what `fill` took."""
        self.ballast.unlink()


@pytest.fixture
def small_disk() -> Iterator[Callable[..., SmallDisk]]:
    """Mount small file systems; skipped where that is not allowed."""
    mounted: list[Path] = []

    def make(folder: Path, size: str) -> SmallDisk:
        folder.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "metricsmith-test", str(folder)]
        if os.geteuid() != 0:
            pytest.skip("needs root to mount a small file system")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
        mounted.append(folder)
        return SmallDisk(folder)

    yield make
    for folder in reversed(mounted):
        # Lazily: the agent may still run when the test has failed.
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def end_tasks() -> Callable[[], Awaitable[None]]:
    """A function that ends all that runs beside the test in its event loop, as a kill does."""

    async def end() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    return end
