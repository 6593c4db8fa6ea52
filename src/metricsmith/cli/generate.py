"""`metricsmith generate`: files for deployment and monitoring, made from the configuration."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from metricsmith.integration.generate.configured import Configured
    from metricsmith.integration.generate.files import Generated
    from metricsmith.integration.project import Project

EXAMPLES = """Examples:

metricsmith generate prometheus -c metricsmith.yaml --out prometheus

metricsmith generate kubernetes -c metricsmith.yaml | kubectl apply -f -
"""
app = typer.Typer(
    no_args_is_help=True,
    help="Make files for deployment and monitoring from the configuration.",
    epilog=EXAMPLES,
)

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Configuration file; else METRICSMITH_CONFIG, else defaults."),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="DIR", help="Folder to write into; else standard output."),
]
Projects = Annotated[
    list[Path] | None,
    typer.Option(
        "--project", metavar="DIR", help="Folder of an integration, for what it declares; repeatable."
    ),
]


@app.command("prometheus")
def prometheus(config: Config = None, out: Out = None, project: Projects = None) -> None:
    """A scrape configuration for Prometheus, and all rules as plain rule files."""
    from metricsmith.integration.generate.prometheus import prometheus

    _put(prometheus(_configured(config), _projects(project)), out)


@app.command("grafana")
def grafana(config: Config = None, out: Out = None, project: Projects = None) -> None:
    """Dashboards for Grafana: of what the configuration collects, and of projects.

    With --project and no configuration it is only what the project declares; without both, everything.
    """
    from metricsmith.integration.generate.grafana import grafana

    _put(grafana(_configured(config) if _file(config) else None, _projects(project)), out)


Image = Annotated[
    str | None, typer.Option(metavar="NAME:TAG", help="Container image, with a version or digest.")
]


@app.command("kubernetes")
def kubernetes(
    config: Config = None,
    out: Out = None,
    image: Image = None,
    namespace: Annotated[str, typer.Option(metavar="NAME", help="Namespace of everything.")] = "metricsmith",
) -> None:
    """Manifests for Kubernetes, and a kustomize base with --out."""
    from metricsmith.integration.generate.kubernetes import kubernetes

    if not re.fullmatch("[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", namespace):
        raise typer.BadParameter(f'got --namespace "{namespace}", wanted a name such as metricsmith')
    _put(kubernetes(_configured(config), _image(image), namespace), out)


@app.command("compose")
def compose(config: Config = None, out: Out = None, image: Image = None) -> None:
    """A Compose file for one machine; secrets are in a file of their own with --out."""
    from metricsmith.integration.generate.compose import compose

    _put(compose(_configured(config), _image(image)), out)


@app.command("otel-collector")
def otel_collector(config: Config = None, out: Out = None) -> None:
    """A configuration of the OpenTelemetry Collector that feeds the agent."""
    from metricsmith.integration.generate.otel_collector import otel_collector

    _put(otel_collector(_configured(config)), out)


@app.command("systemd")
def systemd(
    config: Config = None,
    out: Out = None,
    program: Annotated[
        str, typer.Option(metavar="PATH", help="The metricsmith program on the machine.")
    ] = "/usr/local/bin/metricsmith",
    installed: Annotated[
        str, typer.Option(metavar="PATH", help="Where the configuration is on the machine.")
    ] = "/etc/metricsmith/metricsmith.yaml",
) -> None:
    """A hardened unit for systemd."""
    from metricsmith.integration.generate.systemd import systemd

    for name, path in (("--program", program), ("--installed", installed)):
        _check_path(name, path)
    _put(systemd(_configured(config), program, installed), out)


def _image(image: str | None) -> str:
    from metricsmith.integration.generate.image import DEFAULT, check_image

    try:
        return check_image(DEFAULT if image is None else image)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _file(config: Path | None) -> Path | None:
    from metricsmith.config.environment import config_path

    named = config or config_path(os.environ)
    return None if named is None else Path(named)


def _configured(config: Path | None) -> Configured:
    from metricsmith.integration.generate.configured import read_configured

    return read_configured(_file(config), os.environ)


def _projects(folders: list[Path] | None) -> list[Project]:
    from metricsmith.integration.project import read_project

    return [read_project(folder) for folder in folders or ()]


def _check_path(option: str, path: str) -> None:
    if not path.startswith("/") or not path.isprintable() or any(c in path for c in " %\"'\\$"):
        wanted = "wanted an absolute path without blanks, quotes and %"
        raise typer.BadParameter(f'got {option} "{path}", {wanted}')


def _put(generated: Generated, out: Path | None) -> None:
    from metricsmith.integration.generate.files import lacking, left_over, stream, write

    for note in generated.notes:
        typer.echo(f"note: {note}", err=True)
    if out is None:
        for name in sorted(generated.private.keys() & generated.aside):
            typer.echo(f"note: {name}, which holds secrets, is written with --out only", err=True)
        typer.echo(stream(generated), nl=False)
        return
    try:
        for name, outcome in write(generated, out).items():
            typer.echo(f"{outcome:<9} {out / name}")
        for name, variable in lacking(generated, out):
            typer.echo(f"note: {out / name} is kept as it is, and lacks {variable}", err=True)
        for name in left_over(generated, out):
            typer.echo(f"note: {out / name} is of an earlier run and is generated no more", err=True)
    except OSError as error:
        raise typer.BadParameter(f"{error.filename or out}: {error.strerror}") from None
