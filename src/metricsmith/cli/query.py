"""`metricsmith query`: a PromQL answer as a table, a plot or JSON."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from metricsmith.cli.client import DEFAULT_URL, URL_VARIABLE, call, http_address
from metricsmith.cli.explain import EXPLAIN, print_explanation
from metricsmith.cli.plot import print_plot
from metricsmith.cli.table import in_order, print_table, printable
from metricsmith.cli.times import read_time
from metricsmith.model.duration import parse_duration
from metricsmith.model.labels import format_labels

DEFAULT_STEPS = 120
EXAMPLES = """\
Examples:

metricsmith query up

metricsmith query 'sum by (job) (rate(http_requests_total[1m]))' --start -1h

metricsmith query --json 'up' --end 2026-11-21T10:00:00Z

metricsmith query --explain 'sum by (job) (rate(http_requests_total[1m]))'
"""


class QueryCommand(TyperCommand):
    """The command, with a hint for expressions that look like options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Return the arguments that are left over, as TyperCommand does.

        Raises:
            typer.BadParameter: one begins with a single `-` and is no option of the command.
        """
        own = {name for parameter in self.params for name in parameter.opts}
        own |= set(self.get_help_option_names(ctx))
        valued = own - {"--json", "--explain"}
        before = ""
        for arg in args:
            unknown = arg.startswith("--") and arg.partition("=")[0] not in own
            if arg == "--" or (unknown and before not in valued):
                break  # an option that is none is told by the parser, with those near it
            # After an option stands its value, such as --start -10m.
            looks_like_option = arg.startswith("-") and not arg.startswith("--") and arg not in own
            if looks_like_option and before not in valued:
                raise typer.BadParameter(
                    f"got {arg!r}, which reads as an option; "
                    f"put -- before an expression that begins with -: metricsmith query -- {arg!r}"
                )
            before = arg
        return super().parse_args(ctx, args)


def query(
    expression: Annotated[str, typer.Argument(metavar="EXPR", help="PromQL expression.")],
    start: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Range query from: RFC 3339, Unix seconds, or -10m before now; draws a plot."
        ),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Until (default now); for an instant query, its time."),
    ] = None,
    step: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Resolution of a range query: 15s, or seconds.")
    ] = None,
    url: Annotated[
        str, typer.Option(metavar="URL", envvar=URL_VARIABLE, help="Address of the agent.")
    ] = DEFAULT_URL,
    as_json: Annotated[
        bool, typer.Option("--json", metavar="", help="Print the API's `data` as JSON.")
    ] = False,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", metavar="", help="Run it, and show what each step did in place of the result."
        ),
    ] = False,
) -> None:
    """Ask the agent a PromQL question; with --start, over a range."""
    now = time.time()
    address = http_address(url)
    end_s = read_time(end, now, "--end") if end else now
    if start is not None:
        start_s = read_time(start, now, "--start")
        step_s = _step(step, end_s - start_s)
        if explain:
            _explain(address, _bounds(expression, start_s, end_s, step_s), as_json)
        else:
            _range(address, expression, start_s, end_s, step_s, as_json)
    elif step is not None:
        raise typer.BadParameter("--step: wanted --start too, for only a range query has steps")
    elif explain:
        _explain(address, _moment(expression, end_s), as_json)
    else:
        _instant(address, expression, end_s, as_json)


def _explain(url: str, parameters: dict[str, str], as_json: bool) -> None:
    data, _ = _ask(url, EXPLAIN, parameters)
    print_explanation(data, as_json)


def _instant(url: str, expression: str, time_s: float, as_json: bool) -> None:
    data, remarked = _ask(url, "/api/v1/query", _moment(expression, time_s))
    if as_json:
        typer.echo(json.dumps(data))
    elif not data["result"]:
        _print_why_nothing(url, expression, remarked)
    else:
        print_table(_rows(expression, data), ("series", "value"))


def _range(url: str, expression: str, start_s: float, end_s: float, step_s: float, as_json: bool) -> None:
    data, remarked = _ask(url, "/api/v1/query_range", _bounds(expression, start_s, end_s, step_s))
    if as_json:
        typer.echo(json.dumps(data))
    elif not data["result"]:
        _print_why_nothing(url, expression, remarked)
    else:
        print_plot(expression, data["result"], start_s, end_s, step_s)


def _print_why_nothing(url: str, expression: str, remarked: bool) -> None:
    from metricsmith.cli.suggest import explain_nothing

    typer.echo(printable(explain_nothing(url, expression, remarked=remarked)), err=True)


def _moment(expression: str, time_s: float) -> dict[str, str]:
    return {"query": expression, "time": f"{time_s:.3f}"}


def _bounds(expression: str, start_s: float, end_s: float, step_s: float) -> dict[str, str]:
    return {"query": expression, "start": f"{start_s:.3f}", "end": f"{end_s:.3f}", "step": f"{step_s:g}"}


def _ask(url: str, path: str, parameters: dict[str, str]) -> tuple[dict[str, Any], bool]:
    """Return the answer, and whether there were remarks on it, which are printed."""
    data, remarks = call(url, path, parameters)
    for remark in remarks:
        typer.echo(printable(remark), err=True)
    return data, bool(remarks)


def _rows(expression: str, data: dict[str, Any]) -> list[tuple[str, ...]]:
    match data["resultType"]:
        case "scalar" | "string":
            return [(data["resultType"], str(data["result"][1]))]
        case "vector":
            return [(format_labels(s["metric"]), s["value"][1]) for s in in_order(expression, data["result"])]
    return [
        (format_labels(s["metric"]), f"{value} @ {_clock(t)}")
        for s in in_order(expression, data["result"])
        for t, value in s["values"]
    ]


def _clock(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%H:%M:%S")


def _step(text: str | None, range_s: float) -> float:
    if range_s < 0:
        raise typer.BadParameter("got an end before the start, wanted --start before --end")
    if text is None:
        return max(1.0, round(range_s / DEFAULT_STEPS))
    try:
        step_s = float(text) if re.fullmatch(r"[0-9.]+", text) else parse_duration(text) / 1000
    except ValueError:
        step_s = 0.0
    if not step_s > 0:
        raise typer.BadParameter(f'--step: got "{text}", wanted a duration above 0 such as 15s, or seconds')
    return step_s
