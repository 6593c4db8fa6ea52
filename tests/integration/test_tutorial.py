"""Every step of docs/tutorial.md does what the page says, in its order, beside the agents that it starts."""

from __future__ import annotations

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
SOON_S = 20


def like(said: str) -> re.Pattern[str]:
    """Return what matches an output: … is anything, blanks between columns may be fewer or more."""
    lines = [
        re.sub(r"(\\ )+", r"\\s+", re.escape(line)).replace("…", "(?s:.*)") for line in said.splitlines()
    ]
    return re.compile(r"\s*\n".join(lines) + r"\s*")


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path, {"interval: 5s": "interval: 1s", "for: 10s": "for: 1s"}, "")
    yield terminal
    terminal.close()


def do(terminal: Terminal, command: str, shown: str) -> None:
    asked = AGENTS.sub(terminal.environment["METRICSMITH_URL"], command)
    if command.startswith("metricsmith run"):
        said = terminal.run(command)[1]
        assert "listens on" in said, said
    elif re.search("query|curl", command):  # of what is measured and evaluated meanwhile
        eventually(lambda: like(shown).fullmatch(terminal.run(asked)[1]) is not None, SOON_S)
    else:
        said = terminal.run(command)[1]
        assert like(shown).fullmatch(said), f"{command}\n{said}"


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
            terminal.write(named[1], block[2].replace("timeout: 3s", "timeout: 1s"))
    assert commands >= 19
