"""`metricsmith query`: a PromQL answer as a table, a plot or JSON."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from metricsmith.cli.client import DEFAULT_URL, Unreachable, call
from metricsmith.model.duration import parse_duration
from metricsmith.model.labels import format_labels

__all__ = ["Unreachable", "query"]

PLOTTED_SERIES = 8
DEFAULT_STEPS = 120


def query(
    expression: Annotated[str, typer.Argument(metavar="EXPR", help="PromQL expression.")],
    start: Annotated[
        str | None, typer.Option(help="Range query from: RFC 3339, Unix seconds, or -10m before now.")
    ] = None,
    end: Annotated[
        str | None, typer.Option(help="Until (default now); for an instant query, its time.")
    ] = None,
    step: Annotated[str | None, typer.Option(help="Resolution of a range query, such as 15s.")] = None,
    url: Annotated[str, typer.Option(help="Address of the agent.")] = DEFAULT_URL,
    as_json: Annotated[bool, typer.Option("--json", help="Print the API's `data` as JSON.")] = False,
) -> None:
    """Ask the agent a PromQL question; with --start, over a range."""
    now = time.time()
    end_s = _time(end, now, "--end") if end else now
    parameters = {"query": expression}
    if start is None:
        parameters["time"] = f"{end_s:.3f}"
        data, warnings = call(url, "/api/v1/query", parameters)
    else:
        start_s = _time(start, now, "--start")
        step_s = _step(step, end_s - start_s)
        parameters |= {"start": f"{start_s:.3f}", "end": f"{end_s:.3f}", "step": f"{step_s:g}"}
        data, warnings = call(url, "/api/v1/query_range", parameters)
    for warning in warnings:
        typer.echo(f"warning: {warning}", err=True)
    if as_json:
        typer.echo(json.dumps(data))
    elif data["resultType"] == "matrix" and start is not None:
        _plot(expression, data["result"])
    else:
        print_table(_rows(data), ("series", "value"))


def print_table(rows: list[tuple[str, ...]], columns: tuple[str, ...], title: str | None = None) -> None:
    """Print rows as a table that fits the terminal; all but the first column are right-aligned."""
    from rich.console import Console
    from rich.table import Table

    if not rows:
        typer.echo("no data (nothing matches at that time)", err=True)
        return
    table = Table(title=title, box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console(width=None if sys.stdout.isatty() else 10_000, markup=False, highlight=False)
    console.print(table)


def _rows(data: dict[str, Any]) -> list[tuple[str, ...]]:
    match data["resultType"]:
        case "scalar" | "string":
            return [(data["resultType"], str(data["result"][1]))]
        case "vector":
            return [(format_labels(s["metric"]), s["value"][1]) for s in data["result"]]
    return [
        (format_labels(s["metric"]), f"{value} @ {_clock(t)}")
        for s in data["result"]
        for t, value in s["values"]
    ]


def _plot(title: str, result: list[dict[str, Any]]) -> None:
    import plotext

    if not result:
        typer.echo("no data (nothing matches in that range)", err=True)
        return
    plotext.clear_figure()
    plotext.theme("pro" if sys.stdout.isatty() else "clear")
    plotext.plot_size(None if sys.stdout.isatty() else 100, 22)
    for series in result[:PLOTTED_SERIES]:
        points = [(t, float(v)) for t, v in series["values"]]
        finite = [(t, v) for t, v in points if abs(v) != float("inf") and v == v]
        if finite:
            plotext.plot(*zip(*finite, strict=True), label=format_labels(series["metric"]), marker="braille")
    times = sorted({t for series in result for t, _ in series["values"]})
    ticks = times[:: max(1, len(times) // 6)]
    plotext.xticks(ticks, [_clock(t) for t in ticks])
    plotext.title(title)
    picture = plotext.build()
    typer.echo(picture if sys.stdout.isatty() else plotext.uncolorize(picture))
    if len(result) > PLOTTED_SERIES:
        typer.echo(
            f"{len(result) - PLOTTED_SERIES} more series; narrow the expression or use --json", err=True
        )


def _clock(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%H:%M:%S")


def _step(text: str | None, range_s: float) -> float:
    if range_s < 0:
        raise typer.BadParameter("got an end before the start, wanted --start before --end")
    if text is None:
        return max(1.0, round(range_s / DEFAULT_STEPS))
    try:
        return parse_duration(text) / 1000
    except ValueError as error:
        raise typer.BadParameter(f"--step: {error}") from None


def _time(text: str, now: float, option: str) -> float:
    try:
        if text.startswith("-"):
            return now - parse_duration(text[1:]) / 1000
        if text.replace(".", "", 1).isdigit():
            return float(text)
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except ValueError:
        message = f'{option}: got "{text}", wanted RFC 3339, Unix seconds, or -10m'
        raise typer.BadParameter(message) from None
