"""Settings of the message bus: addresses, keys, limits of sockets."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from metricsmith.contracts import PartConfig
from metricsmith.model.settings_types import SecretFile, SizeBytes
from metricsmith.net.bus_keys import read_keys

_ENDPOINT = re.compile(r"(tcp://(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):[0-9]{1,5}|ipc://.+|inproc://.+)")
_KEY = re.compile(r"[0-9A-Za-z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")


def _address(text: str) -> str:
    if not _ENDPOINT.fullmatch(text):
        raise ValueError("an address such as tcp://HOST:11002")
    return text


def _public_key(text: str) -> str:
    if not _KEY.fullmatch(text):
        raise ValueError("40 characters, as `metricsmith bus keys` prints them")
    return text


def _keys_file(file: str) -> str:
    with suppress(PermissionError):  # who checks a configuration may be another user than who runs it
        read_keys(file)
    return file


Endpoint = Annotated[str, StringConstraints(max_length=300), AfterValidator(_address)]
Key = Annotated[str, StringConstraints(max_length=300), AfterValidator(_public_key)]


class Curve(PartConfig):
    """Keys for authentication and encryption (CurveZMQ). `metricsmith bus keys` makes some."""

    secret_key_file: Annotated[SecretFile, AfterValidator(_keys_file)] = Field(
        description="File with our keys, as `metricsmith bus keys` writes it."
    )
    server_key: Key | None = Field(
        None, description="Public key of the side that binds; wanted on the side that connects."
    )
    authorized_keys: tuple[Key, ...] = Field(
        (),
        max_length=10_000,
        description="Public keys that may connect; wanted on the side that binds.",
    )


class SocketSettings(PartConfig):
    """How a socket reaches the bus."""

    endpoint: Endpoint = Field("tcp://localhost:11001", description="Address: tcp://HOST:PORT or ipc://PATH.")
    bind: bool = Field(False, description="Listen at the address instead of connecting to it.")
    curve: Curve | None = Field(None, description="Keys; without them everything is in clear.")
    high_water_mark: int = Field(
        100_000, ge=1, le=100_000_000, description="Messages that wait in memory for a peer."
    )
    max_message: SizeBytes = Field(4 << 20, ge=1024, le=1 << 30, description="Largest message accepted.")

    @model_validator(mode="after")
    def _keys(self) -> SocketSettings:
        if (absent := self.absent_key()) is not None:
            raise ValueError(f"curve.{absent[0]}: {absent[1]}")
        return self

    def absent_key(self) -> tuple[str, str] | None:
        """Return the setting of `curve` that this side needs and does not have, and what is wanted."""
        if self.curve is None:
            return None
        if self.bind and not self.curve.authorized_keys:
            return "authorized_keys", "got none, wanted the public keys that may connect"
        if not self.bind and self.curve.server_key is None:
            return "server_key", "got none, wanted the public key of the side that binds"
        return None
