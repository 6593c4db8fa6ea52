"""Settings of an `oci` sink, with the rules that the service has for them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from metricsmith.contracts import PartConfig, SinkConfig
from metricsmith.model.settings_types import DurationMs
from metricsmith.net.addresses import check_http_url

MAX_STREAMS = 50
"""Most streams that the service takes in a call."""
MAX_CONNECTIONS = 10
"""As many as the SDK keeps open: more calls at once would each open one."""

_RESERVED = ("oci_", "oracle_")
_NAMESPACE = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_RESOURCE_GROUP = re.compile(r"[A-Za-z][A-Za-z0-9._$-]*")
_OCID = re.compile(r"ocid1\.[a-z0-9]+\.[a-z0-9-]*\.[a-z0-9-]*(\.[a-z0-9-]+)+", re.IGNORECASE)
_QUERY_HOST = re.compile(r"telemetry\.(.+)", re.IGNORECASE)

Auth = Literal["config_file", "instance_principal", "resource_principal", "workload_identity"]


class AccountSettings(PartConfig):
    """In whose name the service is called, and how long is waited for it."""

    auth: Auth = Field("config_file", description="Where the credentials come from.")
    config_file: str = Field("~/.oci/config", description="The SDK's configuration file (config_file).")
    profile: str = Field("DEFAULT", min_length=1, description="Profile in that file (config_file).")
    connect_timeout: DurationMs = Field(5000, ge=100, le=60_000, description="Longest wait for a connection.")
    timeout: DurationMs = Field(10_000, ge=100, le=60_000, description="Longest wait for an answer.")


class OciConfig(SinkConfig, AccountSettings):
    """Settings of an `oci` sink: OCI Monitoring. Needs the extra `oci`."""

    batch_size: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Most samples sent at once, in calls of 50 streams; default `performance.batch_size`.",
    )
    worker_count: int | None = Field(4, ge=1, le=MAX_CONNECTIONS, description="Concurrent calls.")
    namespace: str = Field(
        max_length=256,
        description="Metric namespace: a letter, then letters, digits and `_`; not `oci_…` or `oracle_…`.",
    )
    compartment_id: str = Field(
        max_length=255,
        description="OCID of the compartment of the metrics; `metricsmith oci compartments` lists them.",
    )
    resource_group: str | None = Field(None, max_length=256, description="Resource group of all metrics.")
    endpoint: str | None = Field(
        None,
        max_length=2000,
        description="Address of the service; default `telemetry-ingestion` of the credentials' region.",
    )
    average: Literal["delta", "lifetime"] = Field(
        "delta",
        description="Averages of histograms and summaries: `delta`, of what was observed since the scrape"
        " before; `lifetime`, of all that was.",
    )
    quantiles: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        (), max_length=20, description="Quantiles sent of each histogram, such as 0.95: `<family>_p95`."
    )
    counters: Literal["as_is", "delta", "rate"] = Field(
        "as_is",
        description="How counters are sent: as they are, as `…_delta` since the scrape before, or as"
        " `…_per_second`.",
    )
    instance: str = Field(
        "",
        max_length=512,
        description="`instance` dimension of series without labels; default the host's name.",
    )
    calls_per_second: int = Field(
        50,
        ge=1,
        le=1000,
        description="Most calls in a second, shared by sinks with the same credentials; the service takes 50"
        " of a tenancy.",
    )

    def conversions(self) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """Return what makes of histograms, summaries and counters what the service has a form for."""
        averaged = ("average", {"mode": self.average, "quantiles": self.quantiles})
        return [averaged] if self.counters == "as_is" else [averaged, (self.counters, {})]

    @field_validator("namespace")
    @classmethod
    def _namespace(cls, value: str) -> str:
        if "." in value:
            raise ValueError(f'got "{value}", wanted no dots, such as {value.replace(".", "_")}')
        if not _NAMESPACE.fullmatch(value):
            raise ValueError(f'got "{value}", wanted a letter, then letters, digits and underscores')
        if value.lower().startswith(_RESERVED):
            raise ValueError(
                f'got "{value}", wanted no name that begins with oci_ or oracle_: they are reserved'
            )
        return value

    @field_validator("compartment_id")
    @classmethod
    def _compartment(cls, value: str) -> str:
        if not _OCID.fullmatch(value):
            raise ValueError(f'got "{value}", wanted an OCID such as ocid1.compartment.oc1..aaaa')
        return value

    @field_validator("resource_group")
    @classmethod
    def _resource_group(cls, value: str | None) -> str | None:
        if value is not None and not _RESOURCE_GROUP.fullmatch(value):
            raise ValueError(f'got "{value}", wanted a letter, then letters, digits and . _ - $')
        return value

    @field_validator("endpoint")
    @classmethod
    def _endpoint(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(check_http_url(value, "https://telemetry-ingestion.eu-frankfurt-1.oraclecloud.com"))
        host = parts.hostname or ""
        if parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError(f'got "{host}" with a path or query, wanted https://HOST')
        if query := _QUERY_HOST.fullmatch(host):
            raise ValueError(
                f'got "{host}", which answers queries; wanted https://telemetry-ingestion.{query[1]},'
                " or null for that of the region"
            )
        if parts.scheme == "http" and not _is_loopback(host):
            raise ValueError(f'got http for "{host}", wanted https')
        return value.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
