"""Agents as programs of their own, and targets for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metricsmith.testing.programs import AgentProgram, Target, running_target


@pytest.fixture
def agent_program(tmp_path: Path) -> Iterator[Callable[[str], AgentProgram]]:
    """Make agents; whatever still runs at the end is killed."""
    made: list[AgentProgram] = []

    def make(config: str) -> AgentProgram:
        folder = tmp_path / f"agent{len(made)}"
        folder.mkdir()
        made.append(AgentProgram(folder, config))
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
