"""Settings of a store that is a Prometheus-compatible server."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from metricsmith.model.settings_types import DurationMs, Secret
from metricsmith.net.addresses import HttpUrl
from metricsmith.net.settings import Access, BasicAuth, Headers
from metricsmith.store_contracts import StoreConfig

API = "/api/v1"


class PrometheusConfig(StoreConfig, Access):
    """Where the server is, how it is convinced, and how it gets samples."""

    url: HttpUrl = Field(
        description="Address of the server, up to before `/api/v1`, such as http://127.0.0.1:9090."
    )
    write_url: HttpUrl | None = Field(
        None,
        description="Address for remote write where it is not `/api/v1/write` of the server, such as"
        " http://mimir:8080/api/v1/push.",
    )
    job_name: str | None = Field(
        None, min_length=1, max_length=200, description="`job` label of samples that have none."
    )
    scrape_interval: DurationMs | None = Field(
        None,
        ge=100,
        le=3_600_000,
        description="Samples are pushed that often; default `performance.flush_interval` where set, else 1s.",
    )
    push: bool = Field(
        True,
        description="false when the server scrapes the agent instead, at `metrics_path`; set"
        " `server.metrics.collected: true` then.",
    )
    metrics_path: str = Field(
        "/metrics",
        pattern=r"^/[A-Za-z0-9_./-]*$",
        max_length=200,
        description="Where the agent shows its metrics page, besides `/metrics`.",
    )
    username: str | None = Field(None, description="User; short for `basic_auth`.")
    password: Secret | None = Field(None, description="Password; `${ENV}` and `file:PATH` are understood.")
    headers: Headers = Field(
        default_factory=dict,
        max_length=100,
        description="Headers of every request, such as `X-Scope-OrgID` of Mimir.",
    )

    @model_validator(mode="after")
    def _one_user(self) -> PrometheusConfig:
        if self.username is not None and (self.basic_auth or self.authorization):
            raise ValueError("got username beside basic_auth or authorization, wanted one of them")
        return self

    def address(self) -> str:
        """Return the address of the server, without what belongs to a question."""
        return self.url.partition("?")[0].rstrip("/").removesuffix(API)

    def access(self) -> Access:
        """Return how requests are made."""
        basic = self.basic_auth
        if self.username is not None:
            basic = BasicAuth(username=self.username, password=self.password)
        return Access(basic_auth=basic, authorization=self.authorization, tls=self.tls)

    def sink(self) -> dict[str, Any]:
        """Return the settings of the `remote_write` sink that writes to the server."""
        access = self.access()
        return {
            "url": self.write_url or f"{self.address()}{API}/write",
            "flush_interval": self.scrape_interval,
            "external_labels": {"job": self.job_name} if self.job_name else {},
            "headers": self.headers,
            **{name: getattr(access, name) for name in Access.model_fields},
        }
