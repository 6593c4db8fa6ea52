"""`metricsmith check-config`: every mistake of a configuration, with file, line and hint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metricsmith import registry
from metricsmith.config import load_file


def check_config(
    file: Annotated[Path, typer.Argument(help="Configuration file, YAML.")],
) -> None:
    """Check a configuration file and print every mistake in it."""
    configuration = load_file(file)
    counts = ", ".join(f"{len(configuration.of(g))} {g}" for g in ("sources", "processors", "sinks"))
    mode = configuration.settings.service.type.value
    settings = configuration.settings
    for name in settings.unused():
        typer.echo(f"note: {name} is configured, but this version does not use it yet", err=True)
    if settings.storage.type not in registry.known("stores"):
        typer.echo(f"note: storage.type {settings.storage.type} cannot be run by this version yet", err=True)
    typer.echo(f"{file}: ok ({mode}; storage {configuration.settings.storage.type}; {counts})")
