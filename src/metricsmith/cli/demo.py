"""`metricsmith demo`, `demo-shop` and `loadgen`: something real to collect."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from metricsmith.cli.client import http_address
from metricsmith.cli.exits import Exit
from metricsmith.cli.times import positive_seconds

SHOP_PORT = 3000


def demo_shop(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port; 0 takes a free one.")] = SHOP_PORT,
    chaos: Annotated[
        bool, typer.Option("--chaos", metavar="", help="Add latency, errors and restarts.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Make chance repeatable.")] = None,
) -> None:
    """Run a small shop backend that exposes /metrics."""
    from metricsmith.demo.run import serve_shop

    asyncio.run(serve_shop(host, port, chaos, seed))


def loadgen(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="Address of the shop, such as http://127.0.0.1:3000.")
    ],
    rate: Annotated[float, typer.Option(metavar="NUMBER", help="Requests per second, at most 5000.")] = 50.0,
    duration: Annotated[
        str, typer.Option("--for", metavar="DURATION", help="How long, such as 30s or 5m.")
    ] = "1m",
) -> None:
    """Send the shop's traffic and count the answers.

    At most 64 requests wait for an answer at once, each at most 10 seconds.

    What a slower shop cannot take is skipped and counted.

    Ctrl-C ends it with the counts.
    """
    from metricsmith.demo.load import MAX_RATE, LoadReport
    from metricsmith.demo.progress import load_with_progress
    from metricsmith.demo.signals import stop_on_signal

    limit_s, address = positive_seconds(duration, "--for"), http_address(url, SHOP_PORT)
    if not 0 < rate <= MAX_RATE:
        raise typer.BadParameter(f"--rate: got {rate:g}, wanted above 0 and at most {MAX_RATE:g}")

    async def load() -> LoadReport:
        return await load_with_progress(address, rate, limit_s, stop_on_signal())

    report = asyncio.run(load())
    if report.failed == report.sent > 0:
        typer.echo(
            f"error: nobody answers at {address} (start the shop with `metricsmith demo-shop`)", err=True
        )
        raise typer.Exit(Exit.FAILURE)


def demo(
    duration: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="DURATION",
            help="End by itself after this time, with a table of what was collected.",
        ),
    ] = None,
    rate: Annotated[float, typer.Option(min=1, max=1000, help="Requests per second to the shop.")] = 50.0,
    chaos: Annotated[bool, typer.Option("--chaos", metavar="", help="Disturb the shop.")] = False,
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of the agent.")] = 9480,
    data: Annotated[
        Path | None, typer.Option(help="Keep the data in this folder; else it is temporary.")
    ] = None,
) -> None:
    """Start shop, load and agent together and say where to look; Ctrl-C ends all three."""
    from metricsmith.demo.run import run_demo

    limit_s = None if duration is None else positive_seconds(duration, "--for")
    asyncio.run(run_demo(limit_s, rate, chaos, port, data))
