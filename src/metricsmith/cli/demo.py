"""`metricsmith demo`, `demo-shop` and `loadgen`: something real to collect."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from metricsmith.model.duration import parse_duration

DURATION_HELP = "How long, such as 30s or 5m."


def seconds(text: str) -> float:
    """Return the seconds of a duration option.

    Raises:
        typer.BadParameter: not a duration.
    """
    try:
        return parse_duration(text) / 1000
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def demo_shop(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port; 0 takes a free one.")] = 3000,
    chaos: Annotated[bool, typer.Option("--chaos", help="Add latency, errors and restarts.")] = False,
    seed: Annotated[int | None, typer.Option(help="Make chance repeatable.")] = None,
) -> None:
    """Run a small shop backend that exposes /metrics."""
    from metricsmith.demo.run import serve_shop

    asyncio.run(serve_shop(host, port, chaos, seed))


def loadgen(
    url: Annotated[str, typer.Argument(help="Address of the shop, such as http://127.0.0.1:3000.")],
    rate: Annotated[float, typer.Option(help="Requests per second.")] = 50.0,
    duration: Annotated[str, typer.Option("--for", help=DURATION_HELP)] = "1m",
) -> None:
    """Send the shop's traffic, bounded in rate, time and concurrency, and count the answers."""
    from metricsmith.demo.load import MAX_RATE
    from metricsmith.demo.progress import load_with_progress

    limit_s = seconds(duration)
    if not 0 < rate <= MAX_RATE or limit_s <= 0:
        raise typer.BadParameter(
            f"got {rate:g}/s for {duration}, wanted up to {MAX_RATE:g}/s and a time above 0"
        )
    report = asyncio.run(load_with_progress(url, rate, limit_s))
    if report.sent == report.failed:
        typer.echo(f"error: nobody answers at {url} (start the shop with `metricsmith demo-shop`)", err=True)
        raise typer.Exit(1)


def demo(
    duration: Annotated[
        str | None,
        typer.Option("--for", help="End by itself after this time, with a table of what was collected."),
    ] = None,
    rate: Annotated[float, typer.Option(min=1, max=1000, help="Requests per second to the shop.")] = 50.0,
    chaos: Annotated[bool, typer.Option("--chaos", help="Disturb the shop.")] = False,
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of the agent.")] = 9480,
    data: Annotated[
        Path | None, typer.Option(help="Keep the data in this folder; else it is temporary.")
    ] = None,
) -> None:
    """Start shop, load and agent together and say where to look; Ctrl-C ends all three."""
    from metricsmith.demo.run import run_demo

    limit_s = None if duration is None else seconds(duration)
    asyncio.run(run_demo(limit_s, rate, chaos, port, data))
