"""`metricsmith run`: the agent, until a signal ends it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from pathlib import Path
from typing import Annotated

import typer

log = logging.getLogger("metricsmith")

EXAMPLES = """Examples:

metricsmith run -c metricsmith.yaml

METRICSMITH_SERVER_LISTEN=127.0.0.1:9481 metricsmith run
"""


def run(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Configuration file; else METRICSMITH_CONFIG, else defaults."),
    ] = None,
) -> None:
    """Run the agent; Ctrl-C and SIGTERM stop it in order, SIGHUP reloads the configuration."""
    if context.args:
        wanted = f"wanted the configuration behind -c: metricsmith run -c {context.args[0]}"
        raise typer.BadParameter(f'got "{context.args[0]}", {wanted}')
    import uvloop

    from metricsmith.config import load_file
    from metricsmith.config.environment import config_path
    from metricsmith.runtime.lean_arrow import spare_pandas
    from metricsmith.runtime.logs import set_up_logging
    from metricsmith.runtime.service import Service

    file = config or config_path(os.environ)
    configuration = load_file(file)
    set_up_logging(configuration.settings.logging)
    spare_pandas()

    async def serve() -> None:
        service = Service(configuration)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, service.request_stop)
        loop.add_signal_handler(signal.SIGHUP, service.request_reload)
        await service.run()

    uvloop.run(serve())
