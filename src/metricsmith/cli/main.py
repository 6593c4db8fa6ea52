"""The `metricsmith` command: its sub-commands, exit codes, and one clear line for every error."""

from __future__ import annotations

import errno
import signal
import sys
from typing import Annotated

import typer

from metricsmith import __version__
from metricsmith.cli import (
    alerts,
    bus,
    check,
    collect,
    demo,
    doctor,
    generate,
    health,
    integration,
    kafka,
    oci,
    ohi,
    query,
    rules,
    run,
    sinks,
    sql,
    store,
    topics,
)
from metricsmith.cli.client import Unreachable
from metricsmith.cli.exits import Exit
from metricsmith.cli.table import printable
from metricsmith.errors import ConfigError, MetricsmithError, QueryError

app = typer.Typer(
    name="metricsmith",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Collect, keep and query the metrics that do not exist yet.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 bad configuration, 4 query refused, "
    "5 agent or broker not reached.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
# What is left over is taken, so that the command can say where a file goes.
app.command("run", context_settings={"allow_extra_args": True}, epilog=run.EXAMPLES)(run.run)
app.command("demo")(demo.demo)
app.command("demo-shop")(demo.demo_shop)
app.command("loadgen")(demo.loadgen)
app.command("check-config", epilog=check.EXAMPLES)(check.check_config)
app.command("doctor", epilog=doctor.EXAMPLES)(doctor.doctor)
app.command("query", cls=query.QueryCommand, epilog=query.EXAMPLES)(query.query)
app.command("collect", epilog=collect.EXAMPLES)(collect.collect)
app.command("health", epilog=health.EXAMPLES)(health.health)
app.command("alerts", epilog=alerts.EXAMPLES)(alerts.alerts)
app.command("ohi", epilog=ohi.EXAMPLES)(ohi.ohi)
app.command("topics", epilog=topics.TOPICS_EXAMPLES)(topics.topics)
app.command("tail", epilog=topics.TAIL_EXAMPLES)(topics.tail)
app.add_typer(bus.app, name="bus")
app.add_typer(rules.app, name="rules")
app.add_typer(integration.app, name="integration")
app.add_typer(generate.app, name="generate")
app.add_typer(kafka.app, name="kafka")
app.add_typer(oci.app, name="oci")
app.command("sql", epilog=sql.EXAMPLES)(sql.sql)
app.add_typer(store.app, name="store")
app.add_typer(sinks.sink, name="sink")
app.add_typer(sinks.quarantine, name="quarantine")


@app.command("version")
def version() -> None:
    """Print the version."""
    typer.echo(f"metricsmith {__version__}")


def _print_version(asked: bool) -> None:
    if asked:
        version()
        raise typer.Exit


@app.callback()
def root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", metavar="", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Options of the command itself."""


def main() -> None:
    """Run the command line; errors that are expected become one line and an exit code."""
    try:
        app()
    except MetricsmithError as error:
        for line in str(error).splitlines():
            typer.echo(f"error: {printable(line)}", err=True)
        sys.exit(_code(error))
    except OSError as error:
        if error.filename is None and error.errno not in _FULL:
            raise  # not of a file that somebody named
        typer.echo(f"error: {printable(_told(error))}", err=True)
        sys.exit(Exit.FAILURE)
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)
    finally:
        # It ends already: one more Ctrl-C would only replace the exit code by death from a signal.
        signal.signal(signal.SIGINT, signal.SIG_IGN)


_FULL = (errno.ENOSPC, errno.EDQUOT)
_RIGHTS = "run the command as the user whose file it is"
_HINTS = {
    errno.ENOENT: "check the path",
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    **dict.fromkeys(_FULL, "make room, or choose another place"),
}


def _told(error: OSError) -> str:
    """Return the file, what the system says of it, and what to do."""
    named = f"{error.filename}: " if error.filename is not None else ""
    hint = f" ({_HINTS[error.errno]})" if error.errno in _HINTS else ""
    return f"{named}{error.strerror or error}{hint}"


def _code(error: MetricsmithError) -> Exit:
    if isinstance(error, ConfigError):
        return Exit.BAD_CONFIG
    if isinstance(error, QueryError):
        return Exit.BAD_QUERY
    if isinstance(error, Unreachable):
        return Exit.UNREACHABLE
    return Exit.FAILURE
