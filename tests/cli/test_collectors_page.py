"""Every example of docs/collectors.md does what the page says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from metricsmith.config import load_text
from metricsmith.testing.services import free_port

Run = Callable[..., subprocess.CompletedProcess[str]]
PAGE = Path(__file__).parents[2] / "docs" / "collectors.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"`(\w+\.py)`")
ANY = "…"


def blocks(kind: str) -> list[tuple[str, str]]:
    """Return the blocks of one kind, each with the text before it."""
    text = PAGE.read_text()
    return [(text[: found.start()], found[2]) for found in BLOCK.finditer(text) if found[1] == kind]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files of the page."""
    for before, code in blocks("python"):
        if "def test_" in code:
            (tmp_path / "test_backlog.py").write_text(code)
        else:
            (tmp_path / FILE.findall(before)[-1]).write_text(code)
    return tmp_path


@pytest.fixture
def running() -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def like(said: str) -> re.Pattern[str]:
    """Return what matches an output, in which … stands for anything."""
    return re.compile(re.escape(said).replace(re.escape(ANY), "(?s:.*)"))


def commands() -> list[tuple[str, str]]:
    found = []
    for _, text in blocks("console"):
        for part in text.split("$ ")[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


def test_commands_print_what_the_page_shows(
    folder: Path, running: list[subprocess.Popen[str]], here: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    port = str(free_port())
    assert len(commands()) >= 6
    for command, output in commands():
        words = shlex.split(command.replace("8080", port))
        output = output.replace("8080", port)
        if words[0] == "curl":
            with urllib.request.urlopen(words[-1], timeout=20) as answer:
                assert like(output).fullmatch(answer.read().decode()), command
            continue
        if words[-1] == "&":
            program = [sys.executable, "-m", *words[:-1]]
            process = subprocess.Popen(program, stderr=subprocess.PIPE, text=True)
            running.append(process)
            assert process.stderr is not None and process.stderr.readline() == output
            continue
        done = here(*words[1:])
        assert like(output).fullmatch(done.stdout + done.stderr), (command, done)


def test_the_settings_are_settings(folder: Path) -> None:
    texts = [text for _, text in blocks("yaml")]
    (sources,) = (text for text in texts if text.startswith("sources:"))
    (part,) = load_text(sources).of("sources")
    assert part.config.collectors["payments"].interval == 300_000
    (pod, integrations) = (yaml.safe_load(t) for t in texts if not t.startswith("sources:"))
    assert pod["metadata"]["annotations"]["prometheus.io/port"] == "8080"
    assert integrations["integrations"][0]["exec"][:2] == ["metricsmith", "ohi"]
    ((_, toml),) = blocks("toml")
    assert "metricsmith.collectors" in tomllib.loads(toml)["project"]["entry-points"]


def test_the_test_of_the_page_passes(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_backlog.py"],
        capture_output=True, text=True, cwd=folder, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )  # fmt: skip
    assert "1 passed" in done.stdout, done.stdout
