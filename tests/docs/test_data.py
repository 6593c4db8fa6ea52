"""What pages show of other languages can be read: JSON, TOML, PromQL, query scripts, shell."""

from __future__ import annotations

import json
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metricsmith.promql import evaluate
from metricsmith.testing.query_check import difference
from metricsmith.testing.query_script import read_script

LANGUAGES = {"json", "toml", "promql", "sql", "text", "pycon", "sh", "ini", "dockerfile"}


def reads_json(text: str) -> None:
    try:
        json.loads(text)
    except json.JSONDecodeError:
        for line in text.splitlines():
            json.loads(line)


def answers(text: str) -> None:
    """Expressions, one below the other, begin at the start of a line."""
    parts = [""]
    for line in text.splitlines():
        if parts[-1] and line[:1] not in " )" and not line.startswith("#"):
            parts.append("")
        parts[-1] += line + "\n"
    for part in parts:
        evaluate(part, [], time=0)


def is_a_query_script(text: str) -> None:
    cases = read_script(text)
    assert cases, "a text says what it is: a query script, or a comment says why it is not run"
    for case in cases:
        assert not difference(case)


@pytest.fixture
def runs(tmp_path: Path) -> Callable[[str], None]:
    """A script of its own runs, and prints one line of JSON; commands of other programs are read only."""

    def check(text: str) -> None:
        if not text.startswith("#!"):
            subprocess.run(["bash", "-n"], input=text, text=True, check=True)
            return
        shell = text.splitlines()[0].removeprefix("#!")
        (tmp_path / "one").touch()
        script = text.replace("/var/spool/mqueue", str(tmp_path))
        done = subprocess.run([shell, "-c", script], capture_output=True, text=True, check=True, timeout=60)
        (line,) = done.stdout.splitlines() or [done.stdout]
        json.loads(line)

    return check


def test_it_can_be_read(block: Any, runs: Callable[[str], None]) -> None:
    checks = {
        "json": reads_json,
        "toml": tomllib.loads,
        "promql": answers,
        "text": is_a_query_script,
        "sh": runs,
    }
    assert block.language in checks, "a comment names the test that runs it"
    checks[block.language](block.text)
