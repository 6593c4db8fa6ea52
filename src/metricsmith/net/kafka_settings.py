"""How a Kafka cluster is reached: addresses, TLS, who we are."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from metricsmith.contracts import PartConfig
from metricsmith.model.settings_types import DurationMs, Secret
from metricsmith.net.settings import Tls


def _servers(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Server = Annotated[str, Field(max_length=300, pattern=r"^(\[[0-9A-Fa-f:.]+\]|[^\s:/,\[\]]+)(:[0-9]{1,5})?$")]


class Sasl(PartConfig):
    """Who we are. Secrets may be written as `${ENV}` or `file:PATH`, which is read at each connection."""

    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = Field(
        "SCRAM-SHA-512", description="SASL mechanism."
    )
    username: str = Field("", description="User, for all mechanisms but OAUTHBEARER.")
    password: Secret | None = Field(None, description="Password, for all mechanisms but OAUTHBEARER.")
    token: Secret | None = Field(None, description="Token, for OAUTHBEARER.")

    @model_validator(mode="after")
    def _complete(self) -> Sasl:
        if self.mechanism == "OAUTHBEARER":
            if self.token is None or self.username or self.password is not None:
                raise ValueError("wanted token, and neither username nor password, for OAUTHBEARER")
        elif not self.username or self.password is None or self.token is not None:
            raise ValueError(f"wanted username and password, and no token, for {self.mechanism}")
        return self


class Connection(PartConfig):
    """How the cluster is reached. `tls` and `sasl` decide the security protocol."""

    bootstrap_servers: Annotated[tuple[Server, ...], BeforeValidator(_servers)] = Field(
        ("localhost:9092",),
        min_length=1,
        max_length=100,
        description="Some brokers, as a list or separated by commas; the cluster names the others.",
    )
    tls: Tls | None = Field(None, description="Certificates and verification; `tls: {}` is TLS as it comes.")
    sasl: Sasl | None = Field(None, description="User and password, or token.")
    timeout: DurationMs = Field(
        10_000, ge=100, le=600_000, description="Longest wait for a broker, to connect and for each answer."
    )

    @model_validator(mode="after")
    def _no_server_name(self) -> Connection:
        if self.tls is not None and self.tls.server_name is not None:
            raise ValueError("tls.server_name: each broker has a name of its own, wanted none")
        return self

    def protocol(self) -> str:
        """Return Kafka's name of the security protocol."""
        return ("SASL_" if self.sasl else "") + ("SSL" if self.tls is not None else "PLAINTEXT")
