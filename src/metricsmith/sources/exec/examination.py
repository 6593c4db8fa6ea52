"""The exec source before it runs: programs are there and may be run by us; none is started."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from metricsmith.errors import SourceError
from metricsmith.model.findings import Findings
from metricsmith.net.threads import in_thread
from metricsmith.sources.exec.files import read_all
from metricsmith.sources.exec.launch import command_of, conditions_hold
from metricsmith.sources.exec.settings import ExecConfig, Integration

WANTED = "a program that can be run"


async def examine(config: ExecConfig, name: str, findings: Findings) -> None:
    """Tell of each integration; mistakes in files are told with the configuration."""
    await in_thread(name, lambda: _examine(config, findings))


def _examine(config: ExecConfig, findings: Findings) -> None:
    entries = read_all(config).entries
    if not entries:
        findings.warning("integrations", "none", "some", "check integrations and files")
    for entry in entries:
        _examine_one(entry.integration, config, findings)


def _examine_one(integration: Integration, config: ExecConfig, findings: Findings) -> None:
    about = integration.name
    if not conditions_hold(integration.when, config.features, os.environ):
        findings.ok(about, "its conditions (`when`) do not hold now; it does not run")
        return
    try:
        with command_of(integration, config, integration.interval) as command:
            words, folder = list(command.arguments), command.folder
            path = command.environment.get("PATH", os.defpath)
    except SourceError as error:
        findings.problem(about, str(error), WANTED)
        return
    if folder is not None and not Path(folder).is_dir():
        findings.problem(about, f"no folder {folder}", "its working_dir", "check working_dir")
        return
    as_other = words[0] == "sudo" and integration.exec[:1] != ("sudo",)
    if as_other:  # as the source runs it: `sudo -E -n -u USER -- PROGRAM`
        words = words[words.index("--") + 1 :]
    program = words[0]
    found = _program(program, folder, path)
    if found is None:
        why = (
            f'"{program}" may not be run by user {os.geteuid()}'
            if _is_there(program, folder)
            else f'no "{program}"'
        )
        findings.problem(about, why, WANTED, "check exec, chmod +x it, or give its whole path")
    elif as_other and os.geteuid():
        got = f"runs as {integration.integration_user} by sudo -n, which is not tried"
        findings.warning(
            about, got, "a rule in sudoers", f"`sudo -n -u {integration.integration_user} true` tells"
        )
    else:
        findings.ok(about, f"{found} can be run")


def _program(program: str, folder: str | None, path: str) -> str | None:
    if os.sep not in program:
        return shutil.which(program, path=path)
    whole = Path(folder or ".") / program
    return str(whole) if whole.is_file() and os.access(whole, os.X_OK) else None


def _is_there(program: str, folder: str | None) -> bool:
    return os.sep in program and (Path(folder or ".") / program).exists()
