"""`metricsmith kafka demo`: a real Kafka with consumer groups that keep up, lag, hang and catch up."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from metricsmith.cli.kafka_options import need_client
from metricsmith.cli.times import positive_seconds


def demo(
    duration: Annotated[
        str | None,
        typer.Option(
            "--for", metavar="DURATION", help="End by itself after this time, with a table of the groups."
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of the agent.")] = 9480,
    kafka_home: Annotated[
        Path | None,
        typer.Option(envvar="KAFKA_HOME", help="Folder of an unpacked Kafka; else that of `make services`."),
    ] = None,
) -> None:
    """Start a Kafka, programs that write and read, and an agent, and say what to expect; Ctrl-C ends all.

    Needs Java 17 or newer. Data lie in a temporary folder that is removed at the end.
    """
    limit_s = None if duration is None else positive_seconds(duration, "--for")
    need_client()
    from metricsmith.demo.kafka_run import run_kafka_demo

    asyncio.run(run_kafka_demo(limit_s, port, kafka_home))
