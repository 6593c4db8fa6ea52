"""Every step of docs/tutorial.md does what the page says, in its order, beside the agents that it starts."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from metricsmith.testing.programs import eventually
from metricsmith.testing.terminal import Terminal, steps

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"`([./\w]+\.(?:py|yaml))`[^`]*\Z")
AGENTS = re.compile(r"(?:http://)?127\.0\.0\.1:94[89]0")
FASTER = {
    "interval: 5s, timeout: 3s": "interval: 1s, timeout: 1s",
    "interval: 5s}": "interval: 1s}",
    "for: 10s": "for: 1s",
}
SOON_S = 90
"""An integration that is too slow once, on a busy machine, runs again after 15 s."""


def like(said: str) -> re.Pattern[str]:
    """Return what matches an output: … is anything, blanks between columns may be fewer or more."""
    lines = [
        re.sub(r"(\\ )+", r"\\s+", re.escape(line)).replace("…", "(?s:.*)") for line in said.splitlines()
    ]
    return re.compile(r"\s*\n".join(lines) + r"\s*")


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path, FASTER, "")
    yield terminal
    terminal.close()


def do(terminal: Terminal, command: str, shown: str) -> None:
    asked = AGENTS.sub(terminal.environment["METRICSMITH_URL"], command)
    if command.startswith("metricsmith run"):
        log = terminal.run(command)[1]
        assert "listens on" in log, log
    elif re.search("query|curl", command):  # of what is measured and evaluated meanwhile
        said = [""]

        def answered() -> bool:
            said[0] = terminal.run(asked)[1]
            return like(shown).fullmatch(said[0]) is not None

        with contextlib.suppress(AssertionError):
            eventually(answered, SOON_S)
        assert like(shown).fullmatch(said[0]), f"{command}\n{said[0]}"
    else:
        told = terminal.run(command)[1]
        assert like(shown).fullmatch(told), f"{command}\n{told}"


def test_the_tutorial(terminal: Terminal) -> None:
    text, commands = PAGE.read_text(), 0
    for block in BLOCK.finditer(text):
        if block[1] == "console":
            for command, shown in steps(block[2]):
                do(terminal, command, shown)
                commands += 1
        else:
            named = FILE.search(text[: block.start()])
            assert named, block[0]
            terminal.write(named[1], block[2])
    assert commands >= 19
