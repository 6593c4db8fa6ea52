"""Every command line of ours that a page shows, run or not, has the commands and options that there are."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
import typer.main

from metricsmith.cli.main import app
from metricsmith.testing.terminal import steps

ROOT = typer.main.get_command(app)


def lines(block: Any) -> list[str]:
    """Return what is typed in a block: comments are not, and of scripts each line."""
    if block.language == "console":
        return [command for command, _ in steps(block.text)]
    typed = block.text.replace("\\\n", " ").splitlines() if block.language == "sh" else []
    return [line for line in typed if "metricsmith" in line]


def commands(line: str) -> list[list[str]]:
    """Return the words of each of our commands in a line."""
    found = []
    words = shlex.split(line.replace("\\\n", " "), comments=True)
    starts = [n for n, word in enumerate(words) if word.removeprefix(".venv/bin/") == "metricsmith"]
    for start in starts:
        rest = words[start + 1 :]
        end = next(
            (n for n, word in enumerate(rest) if word in ("|", "&", ";", "&&", "||", ">", "2>&1")), len(rest)
        )
        found.append(rest[:end])
    return found


def read(words: list[str]) -> None:
    """Read a command line as the command does, without running it."""
    command: Any = ROOT
    context = command.make_context("metricsmith", [], resilient_parsing=True)
    while hasattr(command, "commands"):
        assert words, "a command is named"
        assert words[0] in command.commands, f"no command {words[0]}"
        command = command.commands[words.pop(0)]
        context = command.context_class(command, info_name=command.name, parent=context)
    command.make_parser(context).parse_args(words)


def test_command_lines(block: Any) -> None:
    for line in lines(block):
        for words in commands(line):
            if words and words[0] not in ("--help", "--install-completion"):
                read(words)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("metricsmith qery up", "no command qery"),
        ("metricsmith query up --stat -1h", "No such option"),
        ("metricsmith sink", "a command is named"),
    ],
)
def test_a_line_with_a_mistake_is_told(line: str, told: str) -> None:
    with pytest.raises(Exception, match=told):
        read(*commands(line))
