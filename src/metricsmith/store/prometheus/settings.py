"""Settings of a store that is a Prometheus-compatible server."""

from __future__ import annotations

from pydantic import Field, model_validator

from metricsmith.model.settings_types import Secret
from metricsmith.net.addresses import HttpUrl
from metricsmith.net.settings import Access, BasicAuth


class PrometheusConfig(Access):
    """Where the server is, and how it is convinced."""

    url: HttpUrl = Field(
        description="Address of the server, up to before `/api/v1`, such as http://127.0.0.1:9090."
    )
    username: str | None = Field(None, description="User; short for `basic_auth`.")
    password: Secret | None = Field(None, description="Password; `${ENV}` and `file:PATH` are understood.")
    headers: dict[str, Secret] = Field(
        default_factory=dict,
        max_length=100,
        description="Headers of every request, such as `X-Scope-OrgID` of Mimir.",
    )

    @model_validator(mode="after")
    def _one_user(self) -> PrometheusConfig:
        if self.username is not None and (self.basic_auth or self.authorization):
            raise ValueError("got username beside basic_auth or authorization, wanted one of them")
        return self

    def access(self) -> Access:
        """Return how requests are made."""
        basic = self.basic_auth
        if self.username is not None:
            basic = BasicAuth(username=self.username, password=self.password)
        return Access(basic_auth=basic, authorization=self.authorization, tls=self.tls)
