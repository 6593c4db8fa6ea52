"""`metricsmith bus`: a forwarder between producers and consumers, and keys."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metricsmith.cli.bus_options import IN, OUT, AuthorizedKeys, SecretKey, socket_settings
from metricsmith.cli.exits import Exit

if TYPE_CHECKING:
    from metricsmith.net.forwarder import Forwarded

app = typer.Typer(no_args_is_help=True, help="Run a forwarder of the message bus, and make keys for it.")

FORWARD = """Examples:

metricsmith bus forward

metricsmith bus forward --in tcp://0.0.0.0:11001 --secret-key-file bus.key --authorized-key KEY
"""


@app.command("forward", epilog=FORWARD)
def forward(
    incoming: Annotated[
        str, typer.Option("--in", metavar="ENDPOINT", help="Where producers connect; loopback by default.")
    ] = IN,
    outgoing: Annotated[
        str, typer.Option("--out", metavar="ENDPOINT", help="Where consumers connect; loopback by default.")
    ] = OUT,
    secret_key: SecretKey = None,
    authorized_keys: AuthorizedKeys = None,
) -> None:
    """Forward messages from producers to consumers, which both connect here, until Ctrl-C."""
    settings = [
        socket_settings(endpoint, option, bind=True, secret_key=secret_key, authorized_keys=authorized_keys)
        for endpoint, option in ((incoming, "--in"), (outgoing, "--out"))
    ]
    from metricsmith.net.forwarder import Forwarder

    forwarder = Forwarder(*settings)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: forwarder.stop())
    producers, consumers = forwarder.addresses()
    typer.echo(f"producers connect to {producers}, consumers to {consumers}; Ctrl-C ends this", err=True)
    forwarder.run()
    typer.echo(_summary(forwarder.counts), err=True)


@app.command("keys", epilog="Example:\n\nmetricsmith bus keys /etc/metricsmith/bus.key")
def keys(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write; it must not exist.")],
) -> None:
    """Write a new pair of keys to a file that only you may read; print the public key."""
    from metricsmith.net.bus_keys import write_keys

    try:
        public = write_keys(file)
    except OSError as error:
        typer.echo(f"error: {file}: {error.strerror}", err=True)
        raise typer.Exit(Exit.FAILURE) from None
    typer.echo(public)


def _summary(counts: Forwarded) -> str:
    lost = f", {counts.incomplete:,} not to all" if counts.incomplete else ""
    return (
        f"{counts.messages:,} messages forwarded{lost}, {counts.size_bytes:,} bytes,"
        f" {counts.subscriptions:,} subscriptions"
    )
