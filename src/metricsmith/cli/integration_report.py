"""What the contract harness found, for people and for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

from metricsmith.cli.exits import Exit

if TYPE_CHECKING:
    from metricsmith.integration.report import Check, Report


def finish(report: Report, as_json: bool) -> None:
    """Print a report; end with 1 when something failed."""
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
