"""Every step of docs/tutorial.md does what the page says, in its order, beside an agent that runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from metricsmith.testing.services import free_port

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"`(backup_age\.py|integration\.yaml|metricsmith\.yaml)`")
SOON = 20
"""Seconds that a query may take to answer what the page shows."""


def like(said: str) -> re.Pattern[str]:
    """Return what matches an output: … is anything, blanks between columns may be fewer or more."""
    lines = [
        re.sub(r"(\\ )+", r"\\s+", re.escape(line)).replace("…", "(?s:.*)") for line in said.splitlines()
    ]
    return re.compile(r"\s*\n".join(lines) + r"\s*")


class Terminal:
    """Runs the commands of the page in a folder, with an agent on a port of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.agent: subprocess.Popen[bytes] | None = None
        port = free_port()
        self.environment = {
            **os.environ, "COLUMNS": "500", "METRICSMITH_SERVER_LISTEN": f"127.0.0.1:{port}",
            "METRICSMITH_URL": f"127.0.0.1:{port}",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }  # fmt: skip
        self.port = str(port)

    def type(self, command: str, shown: str) -> None:
        if command.startswith("cd "):
            self.folder /= command[3:]
        elif command.startswith("metricsmith run"):
            with (self.folder / "agent.log").open("w") as log:
                self.agent = subprocess.Popen(
                    command.split(), cwd=self.folder, env=self.environment, stderr=log
                )
        else:
            self._until_it_says(command.replace("9480", self.port), like(shown))

    def _until_it_says(self, command: str, wanted: re.Pattern[str]) -> None:
        asks = "query" in command or "curl" in command
        until = time.monotonic() + (SOON if asks else 0)
        while True:
            done = subprocess.run(
                ["bash", "-c", command], cwd=self.folder, env=self.environment, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False,
            )  # fmt: skip
            if wanted.fullmatch(done.stdout):
                return
            assert time.monotonic() < until, f"{command}\n{done.stdout}\n{self._log()}"
            time.sleep(0.2)

    def _log(self) -> str:
        log = self.folder / "agent.log"
        return log.read_text() if log.exists() else ""

    def close(self) -> None:
        if self.agent is not None:
            self.agent.terminate()
            assert self.agent.wait(timeout=30) == 0, self._log()


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path)
    yield terminal
    terminal.close()


def test_the_tutorial(terminal: Terminal) -> None:
    text, commands = PAGE.read_text(), 0
    for block in BLOCK.finditer(text):
        before = "\n".join(text[: block.start()].rstrip().splitlines()[-5:])
        if block[1] != "console":
            name = FILE.findall(before)[-1]
            faster = re.sub(r"(interval|for): \d+s", r"\1: 1s", block[2])
            (terminal.folder / name).write_text(faster.replace("timeout: 3s", "timeout: 1s"))
            continue
        for step in block[2].split("$ ")[1:]:
            command, _, shown = step.partition("\n")
            terminal.type(command, shown)
            commands += 1
    assert commands >= 15
