"""`metricsmith check-config`: every mistake of a configuration and its rule files, with line and hint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metricsmith.errors import ConfigError


def check_config(
    file: Annotated[Path, typer.Argument(help="Configuration file, YAML.")],
) -> None:
    """Check a configuration file and print every mistake in it, and in the rule files that it names."""
    from metricsmith.config import load_file
    from metricsmith.runtime.rule_engine import RuleEngine
    from metricsmith.runtime.rules import configured_files

    configuration = load_file(file)
    rules = configured_files(configuration, RuleEngine())
    if rules.problems:
        raise ConfigError(rules.problems)
    counts = ", ".join(_count(len(configuration.of(g)), g) for g in ("sources", "processors", "sinks"))
    mode = configuration.settings.service.type.value
    for note in configuration.notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"{file}: ok ({mode}; storage {configuration.settings.storage.type}; {counts})")


def _count(number: int, plural: str) -> str:
    return f"{number} {plural.removesuffix('s') if number == 1 else plural}"
