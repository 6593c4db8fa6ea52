"""Integration files of the infrastructure agent, present and legacy, to integrations."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from metricsmith.errors import ConfigError, Problem
from metricsmith.model.settings_types import context_of
from metricsmith.model.wording import mistakes
from metricsmith.model.yaml_lines import MAX_BYTES, Origins, read_yaml
from metricsmith.model.yaml_lines import Path as Place
from metricsmith.sources.exec.settings import ExecConfig, Integration

MAX_FILES = 1000
MAX_INTEGRATIONS = 1000
UNSUPPORTED = ("variables", "discovery")
"""Sections that make integrations from what runs elsewhere; they are refused, not passed over."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An integration and the file that it comes from, empty for the source's own settings."""

    integration: Integration
    file: str = ""


@dataclass(slots=True)
class Found:
    """What files gave: integrations, and every mistake."""

    entries: list[Entry] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read_all(config: ExecConfig) -> Found:
    """Return the integrations of a source: those in its own settings, then those of its files by path.

    A mistake costs one integration, an unreadable file that file's.
    """
    found = Found([Entry(i) for i in config.integrations])
    definitions = _Definitions(found.problems)
    for path in _paths(config.definitions):
        definitions.read(path)
    for path in _paths(config.files):
        for raw, place, origins in _raw_entries(path, definitions, found.problems):
            if len(found.entries) >= MAX_INTEGRATIONS:
                found.problems.append(Problem("", f"got more than {MAX_INTEGRATIONS} integrations", path))
                return found
            try:
                found.entries.append(Entry(Integration.model_validate(raw, context=context_of(path)), path))
            except ValidationError as error:
                found.problems += [
                    origins.problem(*mistake) for mistake in mistakes(Integration, raw, place, error)
                ]
    return found


def marks(config: ExecConfig) -> dict[str, tuple[int, ...]]:
    """Return what changes when a file of the source does."""
    found: dict[str, tuple[int, ...]] = {}
    for path in (*_paths(config.files), *_paths(config.definitions)):
        try:
            status = Path(path).stat()
        except OSError:
            continue
        found[path] = (status.st_mtime_ns, status.st_size, status.st_ino)
    return found


def _paths(patterns: Iterable[str]) -> list[str]:
    found = {path for pattern in patterns for path in glob.glob(pattern)}  # noqa: PTH207 - patterns may be absolute
    return sorted(found)[:MAX_FILES]


def _document(path: str, problems: list[Problem]) -> tuple[dict[str, Any], Origins]:
    """Return a file's mapping, empty with a problem when it cannot be read. Every scalar is text."""
    nothing: tuple[dict[str, Any], Origins] = ({}, Origins(path))
    try:
        with Path(path).open("rb") as file:
            text = file.read(MAX_BYTES + 1).decode()
        document = read_yaml(text, path, {}, as_written=True)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        problems.append(Problem("", f"cannot be read: {reason}", path))
        return nothing
    except ConfigError as error:
        problems += error.problems
        return nothing
    problems += document.problems
    if isinstance(document.data, dict):
        return document.data, document.origins
    problems.append(Problem("", "got no mapping, wanted integrations: […]", path))
    return nothing


def _raw_entries(
    path: str, definitions: _Definitions, problems: list[Problem]
) -> Iterator[tuple[dict[str, Any], Place, Origins]]:
    document, origins = _document(path, problems)
    if not document:
        return
    unsupported = [key for key in UNSUPPORTED if key in document]
    if unsupported:
        what = " and ".join(unsupported)
        message = "not supported, so that none of the file is used"
        problems.append(Problem(what, message, path, origins.line((unsupported[0],))))
        return
    legacy = "instances" in document
    key = "instances" if legacy else "integrations"
    entries = document.get(key)
    if not isinstance(entries, list):
        problems.append(origins.problem((key,), "missing or no list, wanted a list of integrations"))
        return
    for index, raw in enumerate(entries):
        place = (key, index)
        if not isinstance(raw, dict):
            problems.append(origins.problem(place, "wanted a mapping of keys to values"))
        elif not legacy and "command" not in raw:
            yield raw, place, origins
        else:
            integration = raw.get("integration_name") or document.get("integration_name")
            made = definitions.entry(integration, raw, place, origins)
            if made is not None:
                yield made, place, origins


class _Definitions:
    """Legacy definitions: an integration's name and its commands."""

    def __init__(self, problems: list[Problem]) -> None:
        self._problems = problems
        self._known: dict[str, tuple[str, Mapping[str, Any]]] = {}

    def read(self, path: str) -> None:
        """Take the definition in a file."""
        document, _ = _document(path, self._problems)
        if not document:
            return
        name, commands = document.get("name"), document.get("commands")
        if isinstance(name, str) and isinstance(commands, dict):
            self._known[name] = (path, commands)
        else:
            self._problems.append(Problem("", "wanted a definition with name and commands", path))

    def entry(
        self, integration: Any, raw: dict[str, Any], place: Place, origins: Origins
    ) -> dict[str, Any] | None:
        """Return a legacy instance as an integration of today, None with a problem."""
        if not integration:
            hint = "`command` is of legacy files, which have an integration_name and a definition"
            self._problems.append(origins.problem(place, "no `exec`, wanted a command line", hint))
            return None
        integration = str(integration)
        file, commands = self._known.get(integration, ("", {}))
        command = commands.get(str(raw.get("command")))
        line = command.get("command") if isinstance(command, dict) else None
        if not isinstance(command, dict) or not isinstance(line, list) or not line:
            known = ", ".join(sorted(self._known)) or "none"
            wanted = f'command "{raw.get("command")}" of "{integration}" in a definition file'
            self._problems.append(origins.problem(place, f"found no {wanted}", f"definitions: {known}"))
            return None
        arguments = raw.get("arguments")
        made = {
            "name": raw.get("name") or integration,
            "exec": [str(word) for word in line],
            "env": arguments if isinstance(arguments, dict) else {},
            "working_dir": str(Path(file).parent.absolute()),
            "interval": command.get("interval") or "30",
            "inventory_source": command.get("prefix") or "",
        }
        taken = ("labels", "tags", "integration_user", "timeout", "when")
        return {**made, **{key: raw[key] for key in taken if raw.get(key) is not None}}


def find_executable(name: str, folders: Sequence[str]) -> str | None:
    """Return the path of an executable that is given by its name only, None when there is none."""
    if os.sep in name:
        return None
    for folder in folders:
        for candidate in (Path(folder) / name, Path(folder) / "bin" / name):
            if candidate.is_file() and os.access(candidate, os.X_OK):
                return str(candidate)
    return None
