"""`metricsmith integration`: own integrations, from a first draft to what others can install."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metricsmith.cli import integration_package as package
from metricsmith.cli.exits import Exit
from metricsmith.cli.integration_report import finish
from metricsmith.integration.kinds import Kind
from metricsmith.integration.names import check_name

if TYPE_CHECKING:
    from metricsmith.integration.harness import Options

app = typer.Typer(no_args_is_help=True, help="Make integrations of your own: a project, its tests, packages.")
NEW_EXAMPLES = """Examples:

metricsmith integration new queue-depth

metricsmith integration new queue-depth --kind exec --out checks/queue-depth
"""
TEST_EXAMPLES = """Examples:

metricsmith integration test queue-depth

metricsmith integration test --record --update-golden
"""
SHOWN = 5
"""Paths in a message."""


@app.command("new", epilog=NEW_EXAMPLES)
def new(
    name: Annotated[str, typer.Argument(help="Name, such as queue-depth.")],
    kind: Annotated[
        Kind,
        typer.Option(
            help="python: collectors; exec: any program that prints JSON; ohi: one for New Relic, too."
        ),
    ] = Kind.PYTHON,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the project.  [./NAME]", show_default=False)
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", metavar="", help="Overwrite files that are there.")
    ] = False,
) -> None:
    """Write a project that runs, tests and packages as it is; put your own measurement in its place."""
    from metricsmith.integration.scaffold import AlreadyThere, write_project

    try:
        check_name(name)
    except ValueError as error:
        raise typer.BadParameter(f"NAME: {error}") from None
    folder = out if out is not None else Path(name)
    try:
        paths = write_project(name, kind, folder, force=force)
    except AlreadyThere as error:
        shown = ", ".join(error.paths[:SHOWN]) + (", …" if len(error.paths) > SHOWN else "")
        _fail(f"{folder}: {shown} there already; nothing was written (--force overwrites)")
    except OSError as error:
        _fail(f"{error.filename or folder}: cannot be written: {error.strerror}")
    where = shlex.quote(str(folder))
    typer.echo(f"{folder}: {len(paths)} files of an integration of kind {kind.value}")
    for path in paths:
        typer.echo(f"  {path}")
    typer.echo(f"Next: cd {where} && metricsmith integration test")


@app.command("test", epilog=TEST_EXAMPLES)
def test(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Folder of the project.")] = Path(),
    record: Annotated[
        bool,
        typer.Option("--record", metavar="", help="Read the real inputs once, and keep them in recordings/."),
    ] = False,
    live: Annotated[
        bool, typer.Option("--live", metavar="", help="Read the real inputs and keep nothing.")
    ] = False,
    update_golden: Annotated[
        bool,
        typer.Option(
            "--update-golden", metavar="", help="Write what a collection gives, as the golden file."
        ),
    ] = False,
    collections: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            max=1_000_000,
            help="Collections that look for leaks.  [1000; an executable 20; none with --live]",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", metavar="", help="Print the report as JSON.")] = False,
) -> None:
    """Run a project under the contract harness: does it keep what integration.yaml says?

    Inputs come from recordings/ unless told otherwise. Ends with 1 when something failed.
    """
    from metricsmith.integration.harness import Options
    from metricsmith.integration.kit import examine

    if record and live:
        raise typer.BadParameter("got --record and --live, wanted one of them")
    if live and update_golden:
        raise typer.BadParameter(
            "got --live and --update-golden, wanted --record: a golden file is of recorded inputs"
        )
    mode = "record" if record else "" if live else "replay"
    options: Options = Options(mode, update_golden, collections)
    report = examine(folder, options)
    finish(report, as_json)


def _fail(message: str) -> None:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(Exit.FAILURE)


app.command("build", epilog=package.BUILD_EXAMPLES)(package.build)
app.command("install", epilog=package.INSTALL_EXAMPLES)(package.install)
app.command("verify", epilog=package.VERIFY_EXAMPLES)(package.verify)
