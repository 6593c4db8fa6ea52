"""The configuration file and the files of secrets: readable by the agent, and by nobody else."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from pydantic import SecretStr

from metricsmith.config.load import Configuration
from metricsmith.model.findings import Findings
from metricsmith.model.settings_types import file_of, names_secret_file
from metricsmith.model.settings_values import SettingValue, setting_values

OCI_FILE = "config_file"
"""A setting whose file need not be there: other ways to log in do without it."""
_SECTIONS_OF_PARTS = frozenset({"sources", "processors", "sinks", "storage"})
_MIN_SECRET = 4
"""A shorter text is found in any file."""


def examine_files(configuration: Configuration, findings: Findings) -> None:
    """Tell who may read the configuration and secrets. Reads files: call it in a thread."""
    settings = list(_settings(configuration))
    if configuration.file:
        _examine_configuration(configuration.file, settings, findings)
    for path in dict.fromkeys(_files(settings)):
        _examine_secret(path, findings)
    for each in settings:
        if isinstance(each.value, SecretStr) and not each.value.get_secret_value():
            hint = "is the environment variable set, but to nothing?"
            findings.warning(each.key, "it is empty", "a secret", hint)


def _settings(configuration: Configuration) -> Iterator[SettingValue]:
    for each in setting_values(configuration.settings):
        if each.path[0] not in _SECTIONS_OF_PARTS:
            yield each
    for part in configuration.parts:
        yield from setting_values(part.config)


def _files(settings: list[SettingValue]) -> Iterator[str]:
    for each in settings:
        value = each.value
        if isinstance(value, SecretStr):
            if path := file_of(value):
                yield path
        elif isinstance(value, str) and value and names_secret_file(each.field):
            yield value
        elif each.name == OCI_FILE and isinstance(value, str) and Path(value).expanduser().exists():
            yield str(Path(value).expanduser())


def _examine_configuration(file: str, settings: list[SettingValue], findings: Findings) -> None:
    try:
        mode = Path(file).stat().st_mode
        text = Path(file).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return  # it was there when it was read
    secrets = [each.value.get_secret_value() for each in settings if isinstance(each.value, SecretStr)]
    clear = [s for s in secrets if len(s) >= _MIN_SECRET and file_of(s) is None and s in text]
    if clear and mode & stat.S_IROTH:
        got = f"everyone on this machine may read it (mode {mode & 0o777:04o}), and secrets stand in it"
        hint = f"chmod 640 {file}, or write secrets as ${{NAME}} or file:PATH"
        findings.warning(file, got, "none but the agent's user", hint)
    if mode & stat.S_IWOTH:
        got = f"everyone on this machine may write it (mode {mode & 0o777:04o})"
        findings.problem(file, got, "none but its owner: it says what programs run", f"chmod o-w {file}")


def _examine_secret(path: str, findings: Findings) -> None:
    try:
        with Path(path).open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            is_empty = not file.read(1)
    except OSError as error:
        hint = f"user {os.geteuid()} must be able to read it"
        findings.problem(path, f"{error.strerror}", "a file with the secret", hint)
        return
    if is_empty:
        findings.problem(path, "it is empty", "a file with the secret")
    elif mode & stat.S_IROTH:
        got = f"everyone on this machine may read it (mode {mode & 0o777:04o})"
        findings.warning(path, got, "none but the agent's user", f"chmod 600 {path}")
    else:
        findings.ok(path, f"readable, mode {mode & 0o777:04o}")
