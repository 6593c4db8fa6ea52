"""Every step of docs/own-integration.md does what the page says, in its order."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from metricsmith.testing.commands import run_here

PAGE = Path(__file__).parents[2] / "docs" / "own-integration.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"`([\w/]+\.(?:py|yaml))`:$")
ANY = "…"


def like(said: str) -> re.Pattern[str]:
    """Return what matches an output: … is anything, the ends of lines may have blanks."""
    lines = [re.escape(line).replace(ANY, "(?s:.*)") for line in said.splitlines()]
    return re.compile(r"[ ]*\n".join(lines) + r"\s*")


def run(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    if words[:3] == ["metricsmith", "integration", "test"]:
        words = [*words, "--collections", "5"]
    run_here(*words[1:])  # what is printed tells how it went
    said = capsys.readouterr()
    return said.out + said.err


def test_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "500")
    text, commands = PAGE.read_text(), 0
    for block in BLOCK.finditer(text):
        before = text[: block.start()].rstrip().splitlines()[-1]
        if block[1] != "console":
            named = FILE.search(before)
            assert named, before
            Path(named[1]).write_text(block[2])
            continue
        for step in block[2].split("$ ")[1:]:
            command, _, output = step.partition("\n")
            commands += 1
            words = shlex.split(command)
            if words[0] == "cd":
                monkeypatch.chdir(words[1])
            elif words[0] == "rm":
                Path(words[1]).unlink()
            else:
                said = run(words, capsys)
                assert like(output).fullmatch(said), f"{command}\n{said}"
    assert commands >= 8
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "free"],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert "1 passed" in done.stdout, done.stdout
