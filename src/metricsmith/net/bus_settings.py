"""Settings of the message bus: addresses, keys, limits of sockets."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from metricsmith.contracts import PartConfig
from metricsmith.model.settings_types import SizeBytes

Endpoint = Annotated[
    str,
    StringConstraints(
        max_length=300, pattern=r"^(tcp://(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):[0-9]{1,5}|ipc://.+|inproc://.+)$"
    ),
]
Key = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}$")]


class Curve(PartConfig):
    """Keys for authentication and encryption (CurveZMQ). `metricsmith bus keys` makes some."""

    secret_key_file: str = Field(description="File with our keys, as `metricsmith bus keys` writes it.")
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
        if self.curve is None:
            return self
        if self.bind and not self.curve.authorized_keys:
            raise ValueError("curve.authorized_keys: got none, wanted the public keys that may connect")
        if not self.bind and self.curve.server_key is None:
            raise ValueError("curve.server_key: got none, wanted the public key of the side that binds")
        return self
