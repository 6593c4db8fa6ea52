"""`metricsmith rules`: rule files checked, and written out in full."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metricsmith.cli.backfill import backfill
from metricsmith.cli.exits import Exit
from metricsmith.cli.rule_tests import test
from metricsmith.cli.times import read_interval
from metricsmith.errors import Problem
from metricsmith.rules.model import AlertingRule

if TYPE_CHECKING:
    from metricsmith.rules.files import RuleFile
    from metricsmith.rules.ruleset import RuleSet

CHECK_EXAMPLES = """Examples:

metricsmith rules check rules/*.yml

metricsmith rules check rules/shop.yml --json
"""
app = typer.Typer(no_args_is_help=True, help="Check rule files, test them, and write them out.")
app.command("test")(test)
app.command("backfill")(backfill)


@app.command("check", epilog=CHECK_EXAMPLES)
def check(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Rule files or globs.")],
    as_json: Annotated[
        bool, typer.Option("--json", metavar="", help="Print what was found as JSON.")
    ] = False,
) -> None:
    """Check rule files and print every mistake; exit code 3 when there is one."""
    found = _load(files)
    if as_json:
        typer.echo(
            json.dumps({"files": [_summary(file) for file in found.files], **_unread(found)}, indent=2)
        )
    else:
        for file in found.files:
            _print(file)
        _print_problems(found.missing)
    if found.problems or not found.files:
        raise typer.Exit(Exit.BAD_CONFIG)


@app.command("expand")
def expand(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Rule file.")],
    interval: Annotated[
        str, typer.Option(metavar="DURATION", help="Of groups that set none: `rules.interval` of the agent.")
    ] = "1m",
) -> None:
    """Print a rule file as Prometheus reads it, short forms such as anomalies written out."""
    from metricsmith.rules.printer import format_groups

    found = _load([file], read_interval(interval))
    if found.problems:
        _print_problems(found.problems)
        raise typer.Exit(Exit.BAD_CONFIG)
    for group in found.groups:
        for rule in group.rules:
            if isinstance(rule, AlertingRule) and rule.no_data is not None:
                message = f"{rule.name}: no_data is left out, Prometheus has no such field"
                typer.echo(f"note: {Problem('', message, rule.origin.file, rule.origin.line)}", err=True)
    typer.echo(format_groups(found.groups), nl=False)


def _load(files: Sequence[str], interval_ms: int | None = None) -> RuleSet:
    from metricsmith.rules.ruleset import RuleSet, load_rules
    from metricsmith.rules.schema import DEFAULT_INTERVAL_MS
    from metricsmith.runtime.rule_engine import RuleEngine

    found = load_rules(files, RuleEngine(), default_interval_ms=interval_ms or DEFAULT_INTERVAL_MS)
    if not found.files and not found.missing:
        return RuleSet((), (Problem("", f"got no file that matches {', '.join(files)}, wanted rule files"),))
    return found


def _print(file: RuleFile) -> None:
    for note in _notes(file):
        typer.echo(f"note: {note}", err=True)
    _print_problems(file.problems)
    if not file.problems:
        count = sum(len(group.rules) for group in file.groups)
        typer.echo(f"{file.name}: SUCCESS: {count} {'rule' if count == 1 else 'rules'} found")


def _notes(file: RuleFile) -> list[Problem]:
    from metricsmith.rules.lint import conventions

    return [*file.notes, *conventions(file.groups)]


def _print_problems(problems: Sequence[Problem]) -> None:
    for problem in problems:
        typer.echo(f"error: {problem}", err=True)


def _summary(file: RuleFile) -> dict[str, Any]:
    return {
        "file": file.name,
        "groups": len(file.groups),
        "rules": sum(len(group.rules) for group in file.groups),
        "problems": [asdict(problem) for problem in file.problems],
        "notes": [asdict(note) for note in _notes(file)],
    }


def _unread(found: RuleSet) -> dict[str, Any]:
    return {"problems": [asdict(problem) for problem in found.missing]}
