"""The configuration file and the files of secrets: readable by the agent, and by nobody else."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from metricsmith.config.load import Configuration
from metricsmith.model.findings import Findings

SECRET_FILES = frozenset(
    {"password_file", "credentials_file", "key_file", "secret_key_file", "kubeconfig_file"}
)
"""Settings that name a file which holds a secret."""
OCI_FILE = "config_file"
"""One that need not be there: other ways to log in do without it."""
_SECTIONS_OF_PARTS = frozenset({"sources", "processors", "sinks", "storage"})
_FROM_FILE = "file:"
_MIN_SECRET = 4
"""A shorter text is found in any file."""


def examine_files(configuration: Configuration, findings: Findings) -> None:
    """Tell who may read the configuration and secrets. Reads files: call it in a thread."""
    settings = list(_settings(configuration))
    if configuration.file:
        _examine_configuration(configuration.file, settings, findings)
    for path in dict.fromkeys(_files(settings)):
        _examine_secret(path, findings)
    for name, value in settings:
        if isinstance(value, SecretStr) and not value.get_secret_value():
            hint = "is the environment variable set, but to nothing?"
            findings.warning(name, "it is empty", "a secret", hint)


def _settings(configuration: Configuration) -> Iterator[tuple[str, Any]]:
    """Yield every value that is no mapping or list, with the name of its setting."""
    for name in type(configuration.settings).model_fields:
        if name not in _SECTIONS_OF_PARTS:
            yield from _values(name, getattr(configuration.settings, name))
    for part in configuration.parts:
        yield from _values("", part.config)


def _values(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    match value:
        case BaseModel():
            for key in type(value).model_fields:
                yield from _values(key, getattr(value, key))
        case dict():
            for key, inner in value.items():
                yield from _values(str(key), inner)
        case list() | tuple():
            for inner in value:
                yield from _values(name, inner)
        case _:
            yield name, value


def _files(settings: list[tuple[str, Any]]) -> Iterator[str]:
    for name, value in settings:
        if isinstance(value, SecretStr):
            text = value.get_secret_value()
            if text.startswith(_FROM_FILE):
                yield text.removeprefix(_FROM_FILE)
        elif name in SECRET_FILES and isinstance(value, str) and value:
            yield value
        elif name == OCI_FILE and isinstance(value, str) and (path := Path(value).expanduser()).exists():
            yield str(path)


def _examine_configuration(file: str, settings: list[tuple[str, Any]], findings: Findings) -> None:
    try:
        mode = Path(file).stat().st_mode
        text = Path(file).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return  # it was there when it was read
    secrets = [value.get_secret_value() for _, value in settings if isinstance(value, SecretStr)]
    clear = [s for s in secrets if len(s) >= _MIN_SECRET and not s.startswith(_FROM_FILE) and s in text]
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
