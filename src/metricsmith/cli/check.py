"""`metricsmith check-config`: every mistake of a configuration and its files, with line and hint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metricsmith.errors import ConfigError

EXAMPLES = """Examples:

metricsmith check-config metricsmith.yaml

metricsmith check-config /etc/metricsmith/metricsmith.yaml && kill -HUP $(pidof metricsmith)
"""


def check_config(
    file: Annotated[Path, typer.Argument(help="Configuration file, YAML.")],
) -> None:
    """Check a configuration file and print every mistake in it.

    Rule files and files of integrations that it names are checked with it.
    """
    from metricsmith.config import load_file
    from metricsmith.runtime.rule_engine import RuleEngine
    from metricsmith.runtime.rules import configured_files
    from metricsmith.sources.exec.files import read_all
    from metricsmith.sources.exec.settings import ExecConfig

    configuration = load_file(file)
    problems = [*configured_files(configuration, RuleEngine()).problems]
    for part in configuration.of("sources"):
        if isinstance(part.config, ExecConfig):
            problems += read_all(part.config).problems
    if problems:
        raise ConfigError(problems)
    counts = ", ".join(_count(len(configuration.of(g)), g) for g in ("sources", "processors", "sinks"))
    mode = configuration.settings.service.type.value
    for note in configuration.notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"{file}: ok ({mode}; storage {configuration.settings.storage.type}; {counts})")


def _count(number: int, plural: str) -> str:
    return f"{number} {plural.removesuffix('s') if number == 1 else plural}"
