"""`metricsmith check-config`: every mistake of a configuration, with file, line and hint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metricsmith.config import load_file


def check_config(
    file: Annotated[Path, typer.Argument(help="Configuration file, YAML.")],
) -> None:
    """Check a configuration file and print every mistake in it."""
    configuration = load_file(file)
    counts = ", ".join(_count(len(configuration.of(g)), g) for g in ("sources", "processors", "sinks"))
    mode = configuration.settings.service.type.value
    for note in configuration.notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"{file}: ok ({mode}; storage {configuration.settings.storage.type}; {counts})")


def _count(number: int, plural: str) -> str:
    return f"{number} {plural.removesuffix('s') if number == 1 else plural}"
