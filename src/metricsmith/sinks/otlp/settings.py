"""Settings of an `otlp` sink."""

from __future__ import annotations

from pydantic import Field

from metricsmith.contracts import Compressing, SinkConfig
from metricsmith.model.settings_types import DurationMs
from metricsmith.net.settings import Access, Headers


class OtlpConfig(SinkConfig, Compressing, Access):
    """Settings of an `otlp` sink. Protobuf over HTTP."""

    url: str = Field(
        pattern=r"^https?://",
        max_length=2000,
        description="Where to post, path and all, such as http://host:4318/v1/metrics.",
    )
    headers: Headers = Field(
        default_factory=dict,
        max_length=100,
        description="Headers of each request; hidden as secrets are; `${ENV}` and `file:PATH` work.",
    )
    resource_attributes: dict[str, str] = Field(
        default_factory=dict,
        max_length=100,
        description="Attributes of every resource, such as `deployment.environment.name: production`.",
    )
    timeout: DurationMs = Field(30_000, ge=100, le=600_000, description="Longest wait for an answer.")
