"""Commands on pages: each runs as written, and what it says is held against what is shown.

Numbers, times, sizes and bars are free; words, columns and keys of JSON are not, and … stands for anything.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

from metricsmith.cli.main import main
from metricsmith.testing.programs import Log
from metricsmith.testing.services import SERVICES, free_port

_BLOCK = re.compile(r"^ *```console\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_SHELL = re.compile(r"[|<>;&`$*]")
_QUOTED = re.compile(r"'[^']*'")
_NUMBER = re.compile(r"(?<![\w#])[-+]?\.?\d[\w.,:+µ]*(?:-\d[\w.,:+-]*)?%?")
_BAR = re.compile(r"[▏▎▍▌▋▊▉█]+")
_JSON = re.compile(r"^\s*[{\[]+\".*", re.MULTILINE | re.DOTALL)
_KEY = re.compile(r'"(\w+)":')
ANY = "…"
LIMIT_S = 60


def steps(text: str) -> Iterator[tuple[str, str]]:
    """Return the commands of a block, each with the output that is shown for it."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        command = lines.pop(0)
        while lines and not _complete(command):
            command += "\n" + lines.pop(0)
        yield command, "\n".join(lines)


def _complete(command: str) -> bool:
    try:
        shlex.split(command, comments=True)
    except ValueError:
        return False
    return not command.endswith("\\")


def shape(line: str) -> str:
    """Return a line without what changes from run to run: numbers, sizes, times, bars, blanks.

    >>> shape("orders    6  175.0MB ██▍  2026-11-21T10:25:03Z  29.2–39.0  50 %")
    'orders # # # #–# # %'
    """
    return " ".join(_NUMBER.sub("#", _BAR.sub("", line)).split())


def alike(shown: str, said: str) -> bool:
    """Return whether an output has the form that is shown: JSON with its keys, or its first line and another.

    >>> alike("series  value\\nup      1", "series  value\\nup  0\\ndown  1")
    True
    >>> alike('{"a": 1, "b": …}', '{"a": 2}')
    False
    """
    if not set(_KEY.findall(shown)) <= set(_KEY.findall(said)):
        return False
    shown = _JSON.sub("", shown)
    there = [shape(line) for line in said.splitlines()]
    lines = [shape(line) for line in shown.splitlines() if shape(line) not in ("", ANY)]
    found = [any(_like(line, other) for other in there) for line in lines]
    return all(found[:1]) and (len(found) <= 1 or any(found[1:]))


def _like(line: str, other: str) -> bool:
    return re.fullmatch(re.escape(line).replace(ANY, ".*"), other) is not None


def shown_on(page: Path, command: str) -> str:
    """Return the output that a page shows for the first of its commands that begins so."""
    for block in _BLOCK.findall(page.read_text(encoding="utf-8")):
        for typed, shown in steps(textwrap.dedent(block)):
            if typed.startswith(command):
                return shown
    raise LookupError(f"{page.name} shows no command {command}")


class Terminal:
    """A shell in a folder of its own; `places` are words of pages, each with what stands for it here.

    An agent that is run has a port and a data folder of its own, and is the one that is asked from then on.
    """

    def __init__(self, folder: Path, places: Mapping[str, str], agent_url: str) -> None:
        self.folder = folder
        self.environment = {"COLUMNS": "160", "NO_COLOR": "1", "METRICSMITH_URL": agent_url}
        self._places = dict(places)
        self._agents: list[tuple[subprocess.Popen[bytes], Log]] = []

    def write(self, name: str, text: str) -> None:
        """Write a file of a page."""
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(self._here(text))

    def run(self, command: str) -> tuple[int, str]:
        """Return the exit code of a command, and all that it says; an agent that it starts runs on."""
        code, said = self._run(self._here(command))
        for there, ours in self._places.items():
            said = said.replace(ours, there) if ours else said
        return code, said

    def _run(self, command: str) -> tuple[int, str]:
        words = shlex.split(command, comments=True)
        if words[0] == "export":
            self.environment |= dict(word.split("=", 1) for word in words[1:])
            return 0, ""
        if words[0] == "cd":
            self.folder /= words[1]
            return 0, ""
        if words[:2] == ["metricsmith", "run"]:
            return self._start(words)
        if words[0] == "metricsmith" and not _SHELL.search(_QUOTED.sub("", command)):
            return self._run_here(words)
        return self._run_in_shell(command)

    def close(self) -> None:
        """Stop the agents that were started, in order."""
        for agent, log in self._agents:
            agent.send_signal(signal.SIGTERM)
            agent.wait(LIMIT_S)
            log.close()

    def _here(self, text: str) -> str:
        for there, ours in self._places.items():
            text = text.replace(there, ours)
        return text

    def _start(self, words: list[str]) -> tuple[int, str]:
        port = str(free_port())
        own = {"METRICSMITH_SERVER_LISTEN": f"127.0.0.1:{port}", "METRICSMITH_STORAGE_PATH": f"data-{port}"}
        agent = subprocess.Popen(
            [sys.executable, "-m", *words], stderr=subprocess.PIPE, cwd=self.folder,
            env=os.environ | self.environment | own,
        )  # fmt: skip
        log = Log()
        self._agents.append((agent, log))
        log.follow(agent)
        log.wait_for("listens on")
        self.environment["METRICSMITH_URL"] = f"http://127.0.0.1:{port}"
        return 0, log.text()

    def _run_here(self, words: list[str]) -> tuple[int, str]:
        """Run one of our commands in this process, which has everything imported."""
        said, code = io.StringIO(), 0
        interrupt = signal.getsignal(signal.SIGINT)
        with ExitStack() as stack:
            stack.enter_context(chdir(self.folder))
            stack.enter_context(mock.patch.object(sys, "argv", words))
            stack.enter_context(mock.patch.object(sys, "stdin", io.StringIO()))
            stack.enter_context(mock.patch.dict(os.environ, self.environment))
            stack.enter_context(redirect_stdout(said))
            stack.enter_context(redirect_stderr(said))
            try:
                main()
            except SystemExit as ended:
                code = int(ended.code or 0)
            finally:
                signal.signal(signal.SIGINT, interrupt)
        return code, said.getvalue()

    def _run_in_shell(self, command: str) -> tuple[int, str]:
        programs = os.pathsep.join([str(Path(sys.executable).parent), str(SERVICES), os.environ["PATH"]])
        done = subprocess.run(
            ["bash", "-c", command], capture_output=True, text=True, timeout=LIMIT_S, check=False,
            cwd=self.folder, env=os.environ | self.environment | {"PATH": programs},
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr
