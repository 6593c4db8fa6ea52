"""`metricsmith integration`: own integrations, from a first draft to what others can install."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metricsmith.cli.exits import Exit
from metricsmith.integration.kinds import Kind
from metricsmith.integration.names import check_name

if TYPE_CHECKING:
    from metricsmith.integration.harness import Options
    from metricsmith.integration.report import Check, Report

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
    if as_json:
        typer.echo(json.dumps(report.json(), indent=2))
    else:
        _show(report)
    if not report.passed:
        raise typer.Exit(Exit.FAILURE)


def _show(report: Report) -> None:
    """Print a table of checks, then each finding whole."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, markup=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False, show_header=False)
    for each in report.checks:
        style = _STYLES[each.verdict]
        table.add_row(Text(each.verdict, style), each.name, Text(_detail(each), "dim"))
    console.print(table)
    for each in report.checks:
        for finding in each.findings:
            head = (f"{each.verdict}: ", _STYLES[each.verdict])
            console.print(Text.assemble(head, f"{each.name}: {finding}"))
    failed = sum(each.verdict.value == "failed" for each in report.checks)
    verdict = f"{failed} of {len(report.checks)} checks failed" if failed else "keeps its contract"
    console.print(Text(f"{report.name} {report.version}: {verdict}", "bold red" if failed else "bold green"))


_STYLES = {"passed": "green", "failed": "bold red", "warned": "yellow", "skipped": "dim"}


def _detail(check: Check) -> str:
    count = len(check.findings)
    told = f"{count} finding{'s' if count > 1 else ''}" if count else ""
    return "; ".join(filter(None, (check.detail, told)))


def _fail(message: str) -> None:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(Exit.FAILURE)
