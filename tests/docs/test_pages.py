"""Programs and commands of a page run in its order, beside the demo, and say what it shows."""

from __future__ import annotations

import contextlib
import re
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from metricsmith.testing.programs import eventually
from metricsmith.testing.services import free_port
from metricsmith.testing.terminal import Terminal, alike, steps

LANGUAGES = {"console", "python"}
ROOT = Path(__file__).parents[2]
# What runs for long, or sets this machine up, is only looked up.
MAKE = re.compile(r"^make ")
FAILS = re.compile(r"error|FAILED")
HINT = "(a comment before the fence may name another test that runs it: tests/docs/conftest.py)"


@pytest.fixture
def terminal(
    tmp_path: Path, files: dict[str, dict[str, str]], blocks: list[Any], request: pytest.FixtureRequest
) -> Iterator[Terminal]:
    """A terminal with the files of a page; the demo runs where the page asks an agent or a shop."""
    page = blocks[0].page
    places = {
        ".venv/bin/": "",
        "127.0.0.1:9095": f"127.0.0.1:{free_port()}",
        "127.0.0.1:11001": f"127.0.0.1:{free_port()}",
        "/var/lib/archive": str(tmp_path / "archive"),
        "/etc/prometheus": str(tmp_path / "etc-prometheus"),
        "interval: 15s": "interval: 300ms",
        "interval: 10s": "interval: 300ms",
        "--start -7d": "--start -1h",
    }
    # What is pushed with a time of its own is of the last hour.
    places["2026-11-21T10:"] = (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:")
    agent = ""
    if any("127.0.0.1:9480" in b.text or "query" in b.text or b.language == "console" for b in blocks):
        demo = request.getfixturevalue("demo")
        agent = f"127.0.0.1:{demo.port}"
        places |= {"127.0.0.1:9480": agent, "localhost:9480": agent}
        places |= {"http://127.0.0.1:3000": demo.shop, "http://localhost:3000": demo.shop}
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    opened = Terminal(tmp_path, places, f"http://{agent}")
    if any("metricsmith doctor" in b.text for b in blocks):  # what else runs on this machine is in its way
        opened.environment["METRICSMITH_SERVER_LISTEN"] = f"127.0.0.1:{free_port()}"
    for name, text in files.get(page, {}).items():
        opened.write(name.lstrip("/"), text)
    yield opened
    opened.close()


def test_a_page_does_what_it_says(blocks: list[Any], terminal: Terminal) -> None:
    program = ""
    for number, block in enumerate(blocks):
        if block.language == "python":
            # A later block goes on from what an earlier one has made.
            program += f"{block.given}\n{block.text}\n"
            if number + 1 == len(blocks) or blocks[number + 1].language != "python":
                check_python(block, terminal, program)
        else:
            for line in block.given.splitlines():
                code, said = terminal.run(line)
                assert code == 0, f"{block.page}:{block.line}: {line}\n{said}"
            for command, shown in steps(block.text):
                check_command(block, terminal, command, shown)


def check_python(block: Any, terminal: Terminal, program: str) -> None:
    terminal.write("page.py", textwrap.dedent(program))
    code, said = terminal.run("python -W error page.py")
    assert code == 0, f"{block.page}:{block.line}\n{said}"


def check_command(block: Any, terminal: Terminal, command: str, shown: str) -> None:
    code, said = answer(terminal, MAKE.sub(f"make -n -C {ROOT} ", command), shown)
    place = f"{block.page}:{block.line}: {command}"
    assert FAILS.search(shown) or code == 0, f"{place}\n{said}\n{HINT}"
    assert not shown or alike(shown, said), f"{place}\n--- shown\n{shown}\n--- said\n{said}\n{HINT}"


def answer(terminal: Terminal, command: str, shown: str) -> tuple[int, str]:
    """Return what a command says; of what was just scraped or sent, once it is there."""
    found = [terminal.run(command)]
    if shown and "query" in command and not alike(shown, found[-1][1]):

        def again() -> bool:
            found.append(terminal.run(command))
            return alike(shown, found[-1][1])

        with contextlib.suppress(AssertionError):  # the caller shows both
            eventually(again)
    return found[-1]
