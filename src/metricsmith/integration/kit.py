"""The test kit: tests a project in a process of its own, within a time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from metricsmith.integration.harness import LEAK_SECONDS, Options
from metricsmith.integration.inputs import FOLDER, MODE
from metricsmith.integration.project import Project, read_project
from metricsmith.integration.report import Report, check, report_of

START_SECONDS = 60.0
COLLECTIONS = 10
"""Collections besides those that look for leaks, each of which may take its time-out."""
SAID_BYTES = 2000
DEFAULTS = Options()


def examine(folder: str | Path, options: Options = DEFAULTS) -> Report:
    """Return what the contract harness finds in the project of a folder.

    The project's code runs in another process, which is ended when it takes
    too long; one that dies is told with what it did last.

    Raises:
        ConfigError: no project there, or mistakes in its declaration.
    """
    project = read_project(Path(folder).absolute())
    with tempfile.TemporaryDirectory(prefix="metricsmith-test-") as scratch:
        result, said = Path(scratch) / "result", Path(scratch) / "said"
        code = _run(project, options, result, said)
        lines = _lines(result)
        if lines and "report" in lines[-1]:
            return report_of(lines[-1]["report"])
        finding = project.shown(_death(code, lines, _tail(said), _seconds(project)))
    died = check("process", [finding])
    return Report(project.name, project.declaration.integration.version, (died,))


def _run(project: Project, options: Options, result: Path, said: Path) -> int | None:
    """Run the process; return its exit code, None when it took too long."""
    asked = {"folder": str(project.folder), **asdict(options)}
    environment = {name: text for name, text in os.environ.items() if name not in (MODE, FOLDER)}
    with said.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "metricsmith.integration.child", json.dumps(asked), str(result)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=project.folder,
            env=environment,
            start_new_session=True,
        )
        try:
            return process.wait(_seconds(project))
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:  # too slow, or Ctrl-C
                _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and what it has started: executables have sessions of their own."""
    with suppress(psutil.Error):
        for started in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.Error):
                started.kill()
    process.kill()
    process.wait()


def _seconds(project: Project) -> float:
    timeout_s = project.declaration.integration.timeout / 1000
    return START_SECONDS + 2 * LEAK_SECONDS + COLLECTIONS * timeout_s


def _lines(result: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in result.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError):
        return []


def _tail(said: Path) -> str:
    with said.open("rb") as file:
        file.seek(max(0, said.stat().st_size - SAID_BYTES))
        return file.read().decode(errors="replace").strip()


def _death(code: int | None, lines: Sequence[dict[str, Any]], said: str, seconds: float) -> str:
    stage = lines[-1]["stage"] if lines else "start"
    if code is None:
        how = f"took longer than {seconds:.0f} s"
    elif code < 0:
        how = f"died of signal {-code} ({signal.Signals(-code).name})"
    else:
        how = f"ended the process with code {code}"
    told = f"; it said:\n{said}" if said else ""
    return f"the integration {how}, at: {stage}{told}"
