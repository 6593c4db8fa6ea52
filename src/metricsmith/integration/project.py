"""An integration's folder: where its files are, and its declaration, read with lines for every mistake."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from metricsmith.errors import ConfigError, Problem
from metricsmith.integration.declaration import Declaration
from metricsmith.integration.kinds import Kind
from metricsmith.model.file_kinds import INTEGRATION, refuse_other_kinds
from metricsmith.model.wording import mistakes
from metricsmith.model.yaml_lines import MAX_BYTES, Origins, read_yaml

DECLARATION = "integration.yaml"
RECORDINGS = "recordings"
GOLDEN = "tests/golden/metrics.prom"
SAMPLE_CONFIG = "metricsmith.yaml"
LEAST_SECRET = 4
"""Characters: a shorter one is a part of too much else."""


@dataclass(frozen=True, slots=True)
class Project:
    """A folder with an integration in it."""

    folder: Path
    declaration: Declaration
    origins: Origins = field(repr=False)

    @property
    def name(self) -> str:
        """The integration's name."""
        return self.declaration.integration.name

    @property
    def kind(self) -> Kind:
        """How it runs."""
        return self.declaration.integration.kind

    @property
    def recordings(self) -> Path:
        """Folder of what inputs gave when they were recorded."""
        return self.folder / RECORDINGS

    @property
    def golden(self) -> Path:
        """File of what a collection gives in replay."""
        return self.folder / GOLDEN

    def has_recordings(self) -> bool:
        """Return whether anything was recorded."""
        return self.recordings.is_dir() and any(not p.name.startswith(".") for p in self.recordings.iterdir())

    def shown(self, text: str) -> str:
        """Return a text with paths that begin in the project, and without the secrets of its settings."""
        for setting in self.declaration.settings:
            secret = os.environ.get(setting.name, "") if setting.secret else ""
            text = text.replace(secret, "***") if len(secret) >= LEAST_SECRET else text
        return text.replace(f"{self.folder}{os.sep}", "")

    def line(self, *path: str | int) -> str:
        """Return where something stands in the declaration, such as `integration.yaml:12`."""
        line = self.origins.line(path)
        return f"{DECLARATION}:{line}" if line else DECLARATION


def read_project(folder: str | Path) -> Project:
    """Return the project in a folder.

    Raises:
        ConfigError: no project there, or mistakes in its declaration; each with its line.
    """
    path = Path(folder) / DECLARATION
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        hint = "a project is made by `metricsmith integration new NAME`"
        raise ConfigError([Problem("", f"cannot be read: {reason}", str(path), hint=hint)]) from None
    declaration, origins = read_declaration(text, str(path))
    return Project(Path(folder), declaration, origins)


def read_declaration(text: str, file: str = DECLARATION) -> tuple[Declaration, Origins]:
    """Return the declaration in a YAML text, and the lines of its values.

    Variables are not replaced: it says what holds everywhere.

    Raises:
        ConfigError: with every mistake.
    """
    document = read_yaml(text, file, _Literal())
    refuse_other_kinds(document, INTEGRATION)
    data: Any = document.data
    problems = list(document.problems)
    try:
        declaration = Declaration.model_validate(data)
    except ValidationError as error:
        problems += [document.origins.problem(*mistake) for mistake in mistakes(Declaration, data, (), error)]
    if problems:
        raise ConfigError(problems)
    return declaration, document.origins


class _Literal(dict[str, str]):
    """An environment in which `${NAME}` stays what was written."""

    def __contains__(self, name: object) -> bool:
        return True

    def __getitem__(self, name: str) -> str:
        return f"${{{name}}}"
