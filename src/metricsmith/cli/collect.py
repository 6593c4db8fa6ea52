"""`metricsmith collect`: the collectors of one file, printed or served."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from metricsmith.cli.exits import Exit
from metricsmith.cli.times import positive_seconds

if TYPE_CHECKING:
    from metricsmith.runtime.collectors import CollectorSession, Reading
    from metricsmith.sources.python.settings import PythonConfig

EXAMPLES = """Examples:

metricsmith collect collectors.d/shop.py --once

metricsmith collect collectors.d/shop.py --listen :8080
"""
DEFAULT_INTERVAL = "10s"
TARGET_HELP = "Python file with collectors, or an installed `package.module:Name`."


def collect(
    target: Annotated[str, typer.Argument(metavar="FILE", help=TARGET_HELP)],
    once: Annotated[bool, typer.Option("--once", metavar="", help="Collect once, print and end.")] = False,
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="[HOST]:PORT",
            help="Serve /metrics there and collect when asked; `:8080` is 127.0.0.1, `0.0.0.0:8080` all.",
        ),
    ] = None,
    interval: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help=f"Time between rounds [{DEFAULT_INTERVAL}]; with --listen, how long values are kept [0s].",
        ),
    ] = None,
    timeout: Annotated[
        str, typer.Option(metavar="DURATION", help="Longest collection, unless a collector says.")
    ] = "5s",
    as_json: Annotated[
        bool, typer.Option("--json", metavar="", help="Print JSON, a line per round.")
    ] = False,
    process: Annotated[
        bool | None,
        typer.Option(
            "--process/--no-process",
            help="Metrics of this process, of Python and of the collectors; served unless told not to.",
        ),
    ] = None,
) -> None:
    """Run the collectors of a file and print what they give, or serve it; warnings go to stderr.

    One that fails, hangs or gives too much is told, and the others go on.
    With --once the command then ends with 1.
    """
    if listen is not None and (once or as_json):
        raise typer.BadParameter("got --listen with --once or --json, wanted one of them")
    address = None if listen is None else listen_address(listen)
    config = settings(timeout)
    every_s = None if interval is None else positive_seconds(interval, "--interval")
    output = sys.stdout
    with collectors_may_print(target), contextlib.suppress(BrokenPipeError):
        if address is not None:
            asyncio.run(_serve(target, config, address, every_s or 0.0, process is not False))
            return
        pause_s = None if once else every_s or positive_seconds(DEFAULT_INTERVAL, "")
        well = asyncio.run(_print(target, config, pause_s, process is True, as_json, output))
        if not well:
            raise typer.Exit(Exit.FAILURE)


def settings(timeout: str) -> PythonConfig:
    """Return the settings under which collectors run in a command."""
    from metricsmith.sources.python.settings import PythonConfig

    positive_seconds(timeout, "--timeout")
    return PythonConfig.model_validate({"timeout": timeout})


@contextlib.contextmanager
def collectors_may_print(target: str) -> Iterator[None]:
    """Keep what collectors print out of the output, and let a file import its neighbours."""
    folder = str(Path(target).resolve().parent)
    if target.endswith(".py"):
        sys.path.insert(0, folder)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        if target.endswith(".py"):
            sys.path.remove(folder)


def listen_address(text: str) -> tuple[str, int]:
    """Return host and port of `[HOST]:PORT`; without a host it is loopback.

    Raises:
        typer.BadParameter: something else.

    >>> listen_address(":8080"), listen_address("0.0.0.0:8080"), listen_address("[::1]:80")
    (('127.0.0.1', 8080), ('0.0.0.0', 8080), ('::1', 80))
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not (port.isascii() and port.isdigit() and len(port) < 6 and int(port) < 65_536):
        raise typer.BadParameter(f'--listen: got "{text}", wanted such as :8080 or 0.0.0.0:8080')
    return host or "127.0.0.1", int(port)


class Teller:
    """Writes failures, remarks and advice to stderr, each once."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def tell(self, reading: Reading) -> None:
        """Write what is new."""
        self._write("error", reading.failures)
        self._write("warning", [*reading.remarks, *reading.advice()])

    def _write(self, kind: str, lines: list[str]) -> None:
        for line in lines:
            if line not in self._told:
                self._told.add(line)
                typer.echo(f"{kind}: {line}", err=True)


async def _serve(
    target: str, config: PythonConfig, address: tuple[str, int], keep_s: float, report: bool
) -> None:
    from metricsmith.runtime.collect_server import PATH, Page, serve
    from metricsmith.runtime.collectors import open_session

    host, _ = address
    shown = f"[{host}]" if ":" in host else host
    session = await open_session(target, config, process=report)
    page = Page(session, keep_s, report, Teller().tell)
    try:
        await serve(page, *address, lambda port: typer.echo(f"http://{shown}:{port}{PATH}", err=True))
    finally:
        session.close()


async def _print(
    target: str, config: PythonConfig, pause_s: float | None, process: bool, as_json: bool, output: TextIO
) -> bool:
    """Print one round, or rounds without end; return whether all went well."""
    from metricsmith.runtime.collectors import open_session, with_report

    session: CollectorSession = await open_session(target, config, process)
    teller = Teller()
    try:
        while True:
            reading = await session.read()
            teller.tell(reading)
            shown = with_report(reading) if process else reading
            output.write(_json(shown) if as_json else shown.exposition().decode())
            output.flush()
            if pause_s is None:
                return not reading.failures
            await asyncio.sleep(pause_s)
    finally:
        session.close()


def _json(reading: Reading) -> str:
    import orjson

    return orjson.dumps(reading.json(), option=orjson.OPT_APPEND_NEWLINE).decode()
