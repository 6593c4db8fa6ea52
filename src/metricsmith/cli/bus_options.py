"""Options that the commands of the bus share, and the settings that they make."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metricsmith.errors import MetricsmithError

if TYPE_CHECKING:
    from metricsmith.net.bus_settings import SocketSettings

IN, OUT = "tcp://127.0.0.1:11001", "tcp://127.0.0.1:11002"

Connect = Annotated[
    str | None,
    typer.Option(metavar="ENDPOINT", help=f"Listen to who binds there, such as a forwarder's {OUT}."),
]
Bind = Annotated[
    str | None, typer.Option(metavar="ENDPOINT", help="Listen there, in the place of a consumer.")
]
SecretKey = Annotated[
    Path | None,
    typer.Option(
        "--secret-key-file", metavar="FILE", help="Our keys, as `metricsmith bus keys` writes them."
    ),
]
ServerKey = Annotated[
    str | None, typer.Option(metavar="KEY", help="Public key of the side that binds; with --connect.")
]
AuthorizedKeys = Annotated[
    list[str] | None,
    typer.Option("--authorized-key", metavar="KEY", help="Public key that may connect; give it for each."),
]


def socket_settings(
    endpoint: str,
    option: str,
    *,
    bind: bool,
    secret_key: Path | None = None,
    server_key: str | None = None,
    authorized_keys: list[str] | None = None,
) -> SocketSettings:
    """Return the settings of a socket.

    Raises:
        typer.BadParameter: the address or the keys cannot be used.
    """
    from pydantic import ValidationError

    from metricsmith.net.bus_settings import SocketSettings

    keys = {"server_key": server_key, "authorized_keys": authorized_keys or ()}
    if secret_key is None and any(keys.values()):
        raise typer.BadParameter("got a public key, wanted --secret-key-file with it")
    curve = None if secret_key is None else {"secret_key_file": str(secret_key), **keys}
    try:
        return SocketSettings.model_validate({"endpoint": endpoint, "bind": bind, "curve": curve})
    except ValidationError as error:
        found = error.errors()[0]
        at = ".".join(map(str, found["loc"]))
        if at == "endpoint":
            raise typer.BadParameter(
                f'{option}: got "{endpoint}", wanted an address such as {IN} or ipc:///run/bus'
            ) from None
        told = str(found["msg"]).removeprefix("Value error, ")
        wanted = told if "got " in told else f'got "{found["input"]}", wanted {told}'
        raise typer.BadParameter(f"{at + ': ' if at else ''}{wanted}") from None


def listening(
    connect: str | None,
    bind: str | None,
    secret_key: Path | None,
    server_key: str | None,
    authorized_keys: list[str] | None,
) -> SocketSettings:
    """Return the settings of who listens, by default to a forwarder.

    Raises:
        typer.BadParameter: both are given, or one cannot be used.
    """
    if connect and bind:
        raise typer.BadParameter("got --connect and --bind, wanted one of them")
    option = "--bind" if bind else "--connect"
    return socket_settings(
        bind or connect or OUT,
        option,
        bind=bool(bind),
        secret_key=secret_key,
        server_key=server_key,
        authorized_keys=authorized_keys,
    )


class NothingHeard(MetricsmithError):
    """Nobody published anything while a command listened."""
