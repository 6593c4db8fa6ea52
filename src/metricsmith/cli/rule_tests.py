"""`metricsmith rules test`: tests of rules, in the format of `promtool test rules`."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metricsmith.cli.exits import Exit
from metricsmith.errors import ConfigError, Problem
from metricsmith.model.matchers import compile_anchored
from metricsmith.rules.model import NoData

if TYPE_CHECKING:
    from metricsmith.promql import EngineConfig
    from metricsmith.rules.unit_tests.run import Failure


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of one file."""

    file: str
    tests: int
    failures: list[Failure]
    problems: tuple[Problem, ...] = ()


def test(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Files of tests, or globs.")],
    run: Annotated[
        list[str] | None,
        typer.Option(metavar="REGEX", help="Only tests whose name matches, anywhere; may be repeated."),
    ] = None,
    diff: Annotated[
        bool, typer.Option("--diff", metavar="", help="Show line by line how the answer differs.")
    ] = False,
    closed_windows: Annotated[
        bool,
        typer.Option("--closed-windows", metavar="", help="Windows include their start, as in Prometheus 2."),
    ] = False,
    no_data: Annotated[
        NoData, typer.Option(help="For rules without `no_data`; resolve is as in Prometheus.")
    ] = NoData.KEEP,
    as_json: Annotated[bool, typer.Option("--json", metavar="", help="Print the outcome as JSON.")] = False,
) -> None:
    """Run tests as `promtool test rules` does; exit code 1 when one fails or none is run, 3 for bad files."""
    from metricsmith.promql import EngineConfig

    chosen = _chosen(run or [])
    config = EngineConfig(closed_windows=closed_windows)
    outcomes = []
    for file in _named(files):
        outcomes.append(_run(file, config, no_data, chosen))
        if not as_json:
            _print(outcomes[-1], diff)
    if as_json:
        typer.echo(json.dumps({"files": [_plain(outcome) for outcome in outcomes]}, indent=2))
    if any(outcome.failures for outcome in outcomes):
        raise typer.Exit(Exit.FAILURE)
    if any(outcome.problems for outcome in outcomes):
        raise typer.Exit(Exit.BAD_CONFIG)
    if run and not any(outcome.tests for outcome in outcomes):
        typer.echo(f"error: got no test whose name matches {' or '.join(run)}, wanted one", err=True)
        raise typer.Exit(Exit.FAILURE)


def _named(patterns: list[str]) -> list[str]:
    """Return the files that are meant, each once; what matches nothing stays, to be told as a mistake."""
    from metricsmith.rules.ruleset import matching

    return list(dict.fromkeys(name for pattern in patterns for name in ([*matching(pattern)] or [pattern])))


def _chosen(patterns: list[str]) -> Callable[[str], bool]:
    try:
        compiled = [compile_anchored(pattern) for pattern in patterns]
    except ValueError as error:
        raise typer.BadParameter(f"--run: {error}") from None
    return lambda name: not compiled or any(pattern.search(name) for pattern in compiled)


def _run(file: str, config: EngineConfig, no_data: NoData, chosen: Callable[[str], bool]) -> _Outcome:
    from metricsmith.rules.unit_tests.files import read_test_file
    from metricsmith.rules.unit_tests.run import run_tests
    from metricsmith.runtime.rule_bench import RuleBench
    from metricsmith.runtime.rule_engine import RuleEngine

    try:
        read = read_test_file(file, RuleEngine())
    except ConfigError as error:
        return _Outcome(file, 0, [], error.problems)
    tests = list(run_tests(read, lambda step_ms: RuleBench(step_ms, config), no_data, chosen))
    return _Outcome(file, len(tests), [failure for _, failures in tests for failure in failures])


def _print(outcome: _Outcome, diff: bool) -> None:
    for problem in outcome.problems:
        typer.echo(f"error: {problem}", err=True)
    for failure in outcome.failures:
        for line in _lines(failure, diff):
            typer.echo(line, err=True)
    count = f"{outcome.tests} {'test' if outcome.tests == 1 else 'tests'}"
    if outcome.problems:
        typer.echo(f"{outcome.file}: FAILED: cannot be run")
    elif outcome.failures:
        typer.echo(f"{outcome.file}: FAILED: {len(outcome.failures)} not as expected, in {count}")
    elif outcome.tests:
        typer.echo(f"{outcome.file}: SUCCESS: {count}")
    else:
        typer.echo(f"{outcome.file}: no tests run")


def _lines(failure: Failure, diff: bool) -> list[str]:
    test = f"{failure.test}: " if failure.test else ""
    lines = [f"{failure.file}:{failure.line}: {test}{failure.what}"]
    if not failure.expected:
        return lines
    if diff:
        compared = difflib.unified_diff(failure.expected, failure.got, "expected", "got", lineterm="", n=3)
        return lines + [f"  {line}" for line in compared]
    lines += ["  expected", *(f"    {line}" for line in failure.expected)]
    return [*lines, "  got", *(f"    {line}" for line in failure.got)]


def _plain(outcome: _Outcome) -> dict[str, Any]:
    failures = [asdict(failure) for failure in outcome.failures]
    return {**asdict(outcome), "failures": failures, "problems": [asdict(p) for p in outcome.problems]}
