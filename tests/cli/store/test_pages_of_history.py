"""What `docs/sql.md` and `docs/backup.md` show is what happens."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metricsmith.testing.terminal import steps

DOCS = Path(__file__).parents[3] / "docs"
Run = Callable[..., subprocess.CompletedProcess[str]]
BEGIN_MS = 1_795_219_200_000  # 2026-11-21T00:00:00Z
HOUR_MS = 3_600_000
_CHANGING = re.compile(r"\d[\d.]*[KM]?B\b|(?:\d+[dhms] ?)+ago|(?<=a sample)\s+[\d.]+|(?<=seconds)\s+[\d.]+")
Content = list[tuple[dict[str, str], dict[int, float | None]]]


@pytest.fixture
def shop(fill: Callable[[Path, Content], None], tmp_path: Path) -> Path:
    """A folder with a data directory: six hours of three instances, one of which is down for 20 minutes."""
    content: Content = []
    for number in range(3):
        instance = {"job": "shop", "instance": f"shop-{number}"}
        times = range(BEGIN_MS, BEGIN_MS + 6 * HOUR_MS, 30_000)
        pause = BEGIN_MS + 2 * HOUR_MS
        down = range(pause, pause + 20 * 60_000 if number == 1 else pause)
        content.append(({"__name__": "up", **instance}, {t: float(t not in down) for t in times}))
        for code, rate in (("200", 40 + 7 * number), ("500", 1)):
            labels = {"__name__": "http_requests_total", "code": code, **instance}
            content.append((labels, {t: float(rate * n) for n, t in enumerate(times) if t not in down}))
    fill(tmp_path / "data", content)
    return tmp_path


@pytest.mark.parametrize("page", ["sql.md", "backup.md"])
def test_commands_print_what_the_page_shows(
    here: Run, shop: Path, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shop)
    commands = list(_commands((DOCS / page).read_text()))
    assert len(commands) >= 5
    for command, shown in commands:
        program, *arguments = shlex.split(command)
        if program == "metricsmith":
            done = here(*arguments, COLUMNS="100")
        else:
            done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done
        assert _comparable(done.stdout + done.stderr) == _comparable(shown), command


def test_other_engines_read_blocks_as_the_page_shows(shop: Path) -> None:
    snippets = re.findall(r"```python\n(.*?)```", (DOCS / "sql.md").read_text(), re.DOTALL)
    assert len(snippets) == 3
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(snippets)], cwd=shop, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done
    assert done.stdout.count("0.94444") == 3


def _commands(text: str) -> Iterator[tuple[str, str]]:
    """Yield each command of console blocks, and what follows it."""
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        yield from steps(block)


def _comparable(text: str) -> list[list[str]]:
    return [line.split() for line in _CHANGING.sub(" # ", text).splitlines() if line.strip()]
