"""Settings of a `newrelic` sink, and the addresses that they mean."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from metricsmith.contracts import Compressing, SinkConfig
from metricsmith.model.settings_types import DurationMs, Secret
from metricsmith.net.settings import Tls

DAY_MS = 86_400_000
_OF_USERS, _OF_EU = "NRAK-", "eu01xx"
_METRICS = {
    "us": "https://metric-api.newrelic.com/metric/v1",
    "eu": "https://metric-api.eu.newrelic.com/metric/v1",
}
_EVENTS = {
    "us": "https://insights-collector.newrelic.com",
    "eu": "https://insights-collector.eu01.nr-data.net",
}


class NewRelicConfig(SinkConfig, Compressing):
    """Settings of a `newrelic` sink."""

    api_key: Secret = Field(
        description="Licence key of the account; `${ENV}` and `file:PATH` are understood."
    )
    region: Literal["us", "eu"] = Field("us", description="Where the account's data is.")
    account_id: int | None = Field(
        None, ge=1, description="Number of the account. Events are sent when it is given, and only then."
    )
    attributes: dict[str, str | bool | int | float] = Field(
        {}, max_length=50, description="Attributes of everything that is sent, such as `env: production`."
    )
    buckets: bool = Field(False, description="Send the buckets of histograms, too, as counts.")
    event_type: str = Field(
        "MetricsmithEvent",
        pattern="^[A-Za-z][A-Za-z0-9_:]{0,254}$",
        description="Type of the events, after `FROM` in NRQL.",
    )
    max_gap: DurationMs = Field(
        300_000,
        ge=1000,
        le=DAY_MS,
        description="Longest time between two samples of a counter; after a longer one it begins anew.",
    )
    timeout: DurationMs = Field(30_000, ge=100, le=600_000, description="Longest wait for an answer.")
    endpoint: str | None = Field(
        None,
        pattern=r"^https?://",
        max_length=2000,
        description="Address of the Metric API; default by region.",
    )
    event_endpoint: str | None = Field(
        None,
        pattern=r"^https?://",
        max_length=2000,
        description="Address of the Event API up to `/v1/accounts`; default by region.",
    )
    tls: Tls = Field(default_factory=lambda: Tls(), description="Certificates and verification.")

    @model_validator(mode="after")
    def _fitting_key(self) -> NewRelicConfig:
        if wrong := self.mistake_in(self.api_key.get_secret_value()):
            raise ValueError(wrong)
        return self

    def mistake_in(self, key: str) -> str:
        """Return why a key cannot work, as far as its beginning tells; nothing when it may."""
        if key.startswith(_OF_USERS):
            return f"got a user key ({_OF_USERS}…) as api_key, wanted a licence key"
        if key.startswith(_OF_EU) and self.region == "us" and self.endpoint is None:
            return f"got a key of an account in the EU ({_OF_EU}…) and region: us, wanted region: eu"
        return ""

    def metrics_url(self) -> str:
        """Return where samples are posted."""
        return self.endpoint or _METRICS[self.region]

    def events_url(self) -> str:
        """Return where events are posted."""
        base = (self.event_endpoint or _EVENTS[self.region]).rstrip("/")
        return f"{base}/v1/accounts/{self.account_id}/events"
