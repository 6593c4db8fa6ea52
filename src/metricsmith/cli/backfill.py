"""`metricsmith rules backfill`: recording rules evaluated over the past, by the agent with the samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metricsmith.cli.client import DEFAULT_URL, URL_VARIABLE, http_address, post_json
from metricsmith.cli.exits import Exit
from metricsmith.cli.table import printable
from metricsmith.cli.times import read_interval, read_range
from metricsmith.rules.model import AlertingRule, Group, RecordingRule

if TYPE_CHECKING:
    from rich.progress import Progress

_PATH = "/api/v1/rules/backfill"


@dataclass(slots=True)
class _Total:
    """What was done so far; failures that have been told are not told again."""

    rounds: int = 0
    samples: int = 0
    failures: set[str] = field(default_factory=set)


def backfill(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Rule files or globs.")],
    start: Annotated[
        str, typer.Option(metavar="TIME", help="From: RFC 3339, Unix seconds, or -7d before now.")
    ],
    end: Annotated[str, typer.Option(metavar="TIME", help="Until.")] = "now",
    interval: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Between evaluations; that of each group if absent."),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            metavar="URL", envvar=URL_VARIABLE, help=f"Address of the agent. [default: {DEFAULT_URL}]"
        ),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option("--config", "-c", metavar="FILE", help="Take the address from this configuration."),
    ] = None,
) -> None:
    """Have the agent evaluate recording rules over the past, so that their series have a history.

    Groups are done one after the other, in the order of the files. Doing it again changes nothing.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from metricsmith.rules.files import read_text

    start_ms, end_ms = read_range(start, end)
    groups = _groups(files)
    order: dict[str, Any] = {"end_ms": end_ms}
    if interval is not None:
        order["interval_ms"] = read_interval(interval)
    address = _address(url, config)
    total = _Total()
    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bar:
        for group in groups:
            task = bar.add_task(group.name, total=end_ms - start_ms)
            rules = read_text(group.file)
            first = {**order, "file": group.file, "rules": rules, "group": group.name, "start_ms": start_ms}
            for done in _requests(address, first):
                _show(done, group, total, bar)
                bar.update(task, completed=(done["nextMs"] or end_ms) - start_ms)
    typer.echo(
        f"{total.samples} samples in {total.rounds} rounds of {len(groups)} {_plural('group', groups)}"
    )
    if total.failures:
        raise typer.Exit(Exit.FAILURE)


def _requests(address: str, order: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what each request did, until the range is done."""
    while True:
        done: dict[str, Any] = post_json(address, _PATH, order)
        yield done
        if done["nextMs"] is None:
            return
        order = {**order, "start_ms": done["nextMs"], "continued": True}


def _show(done: dict[str, Any], group: Group, total: _Total, bar: Progress) -> None:
    total.rounds += done["rounds"]
    total.samples += done["samples"]
    failures = [f"error: {group.file}: {failure}" for failure in done["failures"]]
    for failure in failures:
        if failure not in total.failures:
            bar.console.print(printable(failure), markup=False, soft_wrap=True)
    total.failures |= {*failures}


def _groups(files: Sequence[str]) -> list[Group]:
    """Return the groups that record; alerting rules are told to be left out."""
    from metricsmith.rules.ruleset import load_rules
    from metricsmith.rules.schema import DEFAULT_INTERVAL_MS
    from metricsmith.runtime.rule_engine import RuleEngine

    found = load_rules(files, RuleEngine(), default_interval_ms=DEFAULT_INTERVAL_MS)
    for problem in found.problems:
        typer.echo(f"error: {problem}", err=True)
    if found.problems:
        raise typer.Exit(Exit.BAD_CONFIG)
    alerts = [rule for group in found.groups for rule in group.rules if isinstance(rule, AlertingRule)]
    if alerts:
        left_out = f"{len(alerts)} alerting {_plural('rule', alerts)} left out"
        typer.echo(f"note: {left_out}: only recording rules have a history", err=True)
    groups = [group for group in found.groups if any(isinstance(r, RecordingRule) for r in group.rules)]
    if not groups:
        typer.echo(f"error: got no recording rules in {', '.join(files)}, wanted some", err=True)
        raise typer.Exit(Exit.FAILURE)
    return groups


def _address(url: str | None, config: str | None) -> str:
    if url is not None or config is None:
        return http_address(url or DEFAULT_URL)
    from metricsmith.config import load_file

    return http_address(load_file(config).settings.server.local_url())


def _plural(word: str, things: Sequence[object]) -> str:
    return word if len(things) == 1 else f"{word}s"
