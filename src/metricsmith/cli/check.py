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
    from metricsmith.runtime.file_problems import file_problems, summary

    configuration = load_file(file)
    if problems := file_problems(configuration):
        raise ConfigError(problems)
    for note in configuration.notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"{file}: ok ({summary(configuration)})")
