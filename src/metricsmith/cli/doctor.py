"""`metricsmith doctor`: a configuration against reality, and what to do."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metricsmith.cli.client import call
from metricsmith.cli.exits import Exit
from metricsmith.cli.times import positive_seconds
from metricsmith.errors import ConfigError, MetricsmithError
from metricsmith.model.findings import Finding, Level

if TYPE_CHECKING:
    from metricsmith.config.load import Configuration
    from metricsmith.model.findings import Findings
    from metricsmith.runtime.doctor.examination import Check, Done, Examination

EXAMPLES = """Examples:

metricsmith doctor -c metricsmith.yaml

metricsmith doctor --only sinks --only disk

metricsmith doctor --send

metricsmith doctor --json | jq '.findings[] | select(.level == "problem")'

Exit codes: 0 no problems (warnings may be there), 1 problems, 2 wrong usage, 3 bad configuration.
"""
SHOWN = 3
_COLOURS = {Level.OK: typer.colors.GREEN, Level.WARNING: typer.colors.YELLOW, Level.PROBLEM: typer.colors.RED}


def doctor(
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Configuration file; else METRICSMITH_CONFIG, else defaults."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="NAME", help="Only this area, source or sink; may be repeated."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", metavar="", help="Print JSON.")] = False,
    send: Annotated[
        bool,
        typer.Option("--send", metavar="", help="Have the running agent send one sample to each sink."),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", metavar="", help="Only warnings and problems.")
    ] = False,
    timeout: Annotated[str, typer.Option(metavar="DURATION", help="Longest time of one check.")] = "10s",
    verbose: Annotated[
        bool, typer.Option("--verbose", metavar="", help="Log where a check itself failed.")
    ] = False,
) -> None:
    """Hold a configuration against reality, and say what to do; nothing is changed.

    Every target is fetched once, destinations and servers are reached, and
    files, ports, clock, disk, limits and rights are looked at. Collectors in
    Python are loaded, and not called; programs are looked for, and not run.
    """
    from metricsmith.config import load_file
    from metricsmith.config.environment import config_path
    from metricsmith.runtime.doctor.checks import examination_of, names_of

    timeout_s = positive_seconds(timeout, "--timeout")
    logging.basicConfig(level=logging.CRITICAL)
    logging.getLogger("metricsmith.runtime.doctor").setLevel(logging.DEBUG if verbose else logging.CRITICAL)
    file = config or config_path(os.environ)
    try:
        configuration = load_file(file)
    except ConfigError as error:
        _tell_unreadable(error, as_json)
        raise typer.Exit(Exit.BAD_CONFIG) from None
    chosen = only or []
    _check_names(chosen, names_of(configuration))
    sending = _sending(configuration) if send else []
    examination = examination_of(configuration, chosen, timeout_s, sending)
    asyncio.run(_run(examination, as_json, quiet))
    if as_json:
        typer.echo(json.dumps(_document(examination), indent=2))
    if examination.count(Level.PROBLEM):
        raise typer.Exit(Exit.FAILURE)


def _check_names(chosen: list[str], known: Sequence[str]) -> None:
    from metricsmith.model.wording import nearest, one_of

    for name in chosen:
        if name not in known:
            hint = f" ({found})" if (found := nearest(name, list(known))) else ""
            raise typer.BadParameter(f'--only: got "{name}", wanted {one_of(list(known))}{hint}')


def _sending(configuration: Configuration) -> list[Check]:
    """Return checks that have the agent send a sample, as `metricsmith sink test` does."""
    from metricsmith.net.threads import in_thread
    from metricsmith.runtime.doctor.examination import Check

    url = configuration.settings.server.local_url()

    def send(name: str, findings: Findings) -> None:
        try:
            done, _ = call(url, "/api/v1/sinks/test", {"name": name})
        except MetricsmithError as error:
            findings.problem("a sample", f"not taken: {error}", "taken")
        else:
            findings.ok("a sample", f"taken in {done['seconds'] * 1000:.0f} ms {done['said']}".rstrip())

    def check(name: str) -> Check:
        async def run(findings: Findings) -> None:
            await in_thread("doctor", partial(send, name, findings))

        return Check("sinks", name, run)

    return [check(part.name) for part in configuration.of("sinks")]


async def _run(examination: Examination, as_json: bool, quiet: bool) -> None:
    from metricsmith.model.wording import counted

    progress = Progress()
    headed = ""
    progress.show(examination.pending)
    async for done in examination.run():
        lines = [f for f in done.findings.lines if not quiet or f.level is not Level.OK]
        progress.clear()
        if lines and not as_json:
            headed = _print(done, lines, headed)
        progress.show(examination.pending)
    progress.clear()
    if not as_json:
        problems, warnings, well = map(examination.count, (Level.PROBLEM, Level.WARNING, Level.OK))
        told = f"{counted(problems, 'problem')}, {counted(warnings, 'warning')}, {well} ok"
        typer.echo(f"\n{told}" if headed else told)


def _print(done: Done, lines: Sequence[Finding], headed: str) -> str:
    """Print findings, under a heading unless that is the last one printed; return the heading."""
    head = f"{done.check.area}: {done.check.name}" if done.check.name else done.check.area
    if head != headed:
        typer.secho(head, bold=True)
    for line in lines:
        level = typer.style(f"{line.level.value:<8}", fg=_COLOURS[line.level])
        wanted = f", wanted {line.wanted}" if line.wanted else ""
        typer.echo(f"  {level} {line.about}: {line.got}{wanted}")
        if line.hint:
            typer.echo(f"  {'':<8} {line.hint}")
    return head


class Progress:
    """Names on one line of the terminal what still runs; nothing where stderr is none."""

    def __init__(self) -> None:
        self._on = sys.stderr.isatty()

    def show(self, pending: Sequence[str]) -> None:
        """Write the line."""
        if self._on and pending:
            more = f" and {len(pending) - SHOWN} more" if len(pending) > SHOWN else ""
            line = f"checking {', '.join(pending[:SHOWN])}{more} …"
            sys.stderr.write(line[: shutil.get_terminal_size().columns - 1])
            sys.stderr.flush()

    def clear(self) -> None:
        """Remove the line."""
        if self._on:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _document(examination: Examination) -> dict[str, Any]:
    return {
        **{f"{level.value}_count": examination.count(level) for level in Level},
        "findings": [
            {"area": done.check.area, "part": done.check.name, **asdict(line)}
            for done in examination.done
            for line in done.findings.lines
        ],
    }


def _tell_unreadable(error: ConfigError, as_json: bool) -> None:
    if not as_json:
        for problem in error.problems:
            typer.echo(f"error: {problem}", err=True)
        return
    found = [
        Finding(
            Level.PROBLEM, f"{p.file}:{p.line}" if p.line else p.file, f"{p.path}: {p.message}", "", p.hint
        )
        for p in error.problems
    ]
    counts = {"ok_count": 0, "warning_count": 0, "problem_count": len(found)}
    lines = [{"area": "configuration", "part": "", **asdict(line)} for line in found]
    typer.echo(json.dumps({**counts, "findings": lines}, indent=2))
