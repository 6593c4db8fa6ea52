"""Settings of a `remote_write` sink."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from metricsmith.contracts import SinkConfig
from metricsmith.model.settings_types import DurationMs
from metricsmith.net.settings import Access, Headers


def _as_text(value: Any) -> Any:
    """YAML reads 2.0 as a number."""
    return str(float(value)) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


class RemoteWriteConfig(SinkConfig, Access):
    """Settings of a `remote_write` sink."""

    url: str = Field(
        pattern=r"^https?://",
        max_length=2000,
        description="Where to write, such as http://host:9090/api/v1/write.",
    )
    version: Annotated[Literal["auto", "1.0", "2.0"], BeforeValidator(_as_text)] = Field(
        "auto",
        description="Version of the protocol. `auto`: 2.0 if the server takes it, otherwise 1.0.",
    )
    headers: Headers = Field(
        default_factory=dict,
        max_length=100,
        description="Headers of each request, such as `X-Scope-OrgID`; hidden as secrets are. `${ENV}` and"
        " `file:PATH` are understood.",
    )
    external_labels: dict[str, str] = Field(
        {}, max_length=100, description="Labels put on every series that has none of that name."
    )
    timeout: DurationMs = Field(30_000, ge=100, le=600_000, description="Longest wait for an answer.")
    metadata: bool = Field(
        True, description="Send type, unit and help of metrics: by 1.0 once an hour, by 2.0 with each series."
    )
