"""The configuration that files are generated from: what its author wrote, and what it means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metricsmith.config.load import Configuration, load_text
from metricsmith.errors import ConfigError, Problem
from metricsmith.model.yaml_lines import read_yaml

REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
UNSET = "variable-not-set"
"""Stands for the value of a variable, where any text will do."""


@dataclass(frozen=True, slots=True)
class Configured:
    """A configuration with its data as written, `${NAME}` unread, and the variables that it refers to."""

    meaning: Configuration
    data: dict[str, Any] = field(repr=False)
    variables: Mapping[str, str | None] = field(repr=False)
    """Of each variable the value that it has here, or None."""


def read_configured(file: Path | None, environment: Mapping[str, str]) -> Configured:
    """Return the configuration of a file, the defaults without one.

    Variables that the file refers to need not be set here: the agent that runs
    elsewhere has them. Overrides of the environment are not read: they are
    those of this shell.

    Raises:
        ConfigError: the file has mistakes.
    """
    text, name = "", ""
    if file is not None:
        name = str(file)
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise ConfigError([Problem("", f"cannot be read: {reason}", name)]) from None
    names = sorted(set(REFERENCE.findall(text)))
    variables = {each: environment.get(each) for each in names}
    known = {each: value for each, value in variables.items() if value is not None}
    try:
        meaning = load_text(text, name, dict.fromkeys(names, UNSET) | known)
    except ConfigError as error:
        if mistakes := [problem for problem in error.problems if UNSET not in problem.message]:
            raise ConfigError(mistakes) from None
        load_text(text, name, known)  # tells which variables must be set here
        raise
    data = read_yaml(text, name, {each: f"${{{each}}}" for each in names}).data
    return Configured(meaning, data, variables)
