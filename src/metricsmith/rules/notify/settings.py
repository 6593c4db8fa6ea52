"""The typed settings of notification: Alertmanagers, webhooks, services through Apprise."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from metricsmith.contracts import PartConfig
from metricsmith.model.settings_types import DurationMs, Secret, file_of
from metricsmith.net.addresses import check_http_url
from metricsmith.net.settings import Access
from metricsmith.net.target_files import FileDiscovery
from metricsmith.rules.notify.apprise_urls import check_apprise_url

DAY_MS = 86_400_000
ALERTMANAGER_URL = "http://127.0.0.1:9093"
ALERTMANAGER_HINT = "an Alertmanager takes no webhooks: name it under `alerts.alertmanagers`"


def is_alertmanager(url: str) -> bool:
    """Return whether a URL is one that an Alertmanager takes alerts at, in a format that is no webhook's.

    The path of its first API is one that receivers of webhooks have too, so
    there the host or the port must say that it is an Alertmanager.
    """
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    return path.endswith("/api/v2/alerts") or (
        path.endswith("/api/v1/alerts") and (parts.port == 9093 or "alertmanager" in (parts.hostname or ""))
    )


def _webhook_url(secret: SecretStr) -> SecretStr:
    # A webhook's address often is its own password, so that nothing of it stands in messages.
    url = secret.get_secret_value()
    if file_of(url) is not None:
        return secret
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or len(url) > 2000 or any(map(str.isspace, url)):
        raise ValueError("a URL such as https://hooks.example.com/alerts, or file:PATH")
    return secret


def _apprise_url(secret: SecretStr) -> SecretStr:
    if file_of(secret) is None:
        check_apprise_url(secret.get_secret_value())
    return secret


WebhookUrl = Annotated[Secret, AfterValidator(_webhook_url)]
AppriseUrl = Annotated[Secret, AfterValidator(_apprise_url)]
AlertmanagerUrl = Annotated[
    str, Field(max_length=2000), AfterValidator(partial(check_http_url, example=ALERTMANAGER_URL))
]


class AlertmanagerConfig(Access):
    """One or more Alertmanagers that are reached in the same way. Each of them is told of every alert."""

    url: AlertmanagerUrl | None = Field(None, description=f"Address of one, such as {ALERTMANAGER_URL}.")
    urls: tuple[AlertmanagerUrl, ...] = Field((), max_length=100, description="Addresses of several.")
    file_sd: FileDiscovery | None = Field(None, description="Addresses from files, as Prometheus' file_sd.")
    scheme: Literal["http", "https"] = Field("http", description="Scheme of those given as HOST:PORT.")
    path_prefix: str = Field(
        "", pattern=r"^(/.*)?$", max_length=1000, description="Put before `/api/v2/alerts`."
    )
    timeout: DurationMs = Field(10_000, ge=100, le=600_000, description="Longest time of a request.")

    @field_validator("url", "urls")
    @classmethod
    def _only_a_place(cls, value: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
        for url in (value,) if isinstance(value, str) else value or ():
            if "?" in url or "#" in url:
                raise ValueError("a URL without a query, such as http://127.0.0.1:9093")
        return value

    @model_validator(mode="after")
    def _some(self) -> AlertmanagerConfig:
        if self.url is None and not self.urls and self.file_sd is None:
            raise ValueError("got no address, wanted url, urls or file_sd")
        return self

    def addresses(self) -> tuple[str, ...]:
        """Return the addresses that stand in the configuration."""
        return (*((self.url,) if self.url is not None else ()), *self.urls)


class NotifySettings(PartConfig):
    """Who is told of alerts, and how often."""

    webhook_url: WebhookUrl | None = Field(
        None, description="Where alerts are posted as JSON; `${ENV}` and `file:PATH` are understood."
    )
    send_resolved: bool = Field(
        False,
        description="Tell webhooks and `notify` when an alert ends, too; Alertmanagers always are.",
    )
    alertmanagers: tuple[AlertmanagerConfig, ...] = Field(
        (), max_length=100, description="Alertmanagers, each told of every alert."
    )
    notify: tuple[AppriseUrl, ...] = Field(
        (),
        max_length=100,
        description="Addresses of services in Apprise's form, such as `slack://…`; needs the extra `notify`.",
    )
    repeat_interval: DurationMs = Field(
        4 * 3_600_000,
        ge=1000,
        le=365 * DAY_MS,
        description="When webhooks and `notify` are told again of what still fires.",
    )
    group_by: tuple[str, ...] = Field(
        ("alertname",),
        max_length=100,
        description="Webhooks and `notify` are told of alerts together that agree in these labels.",
    )
    timeout: DurationMs = Field(
        10_000, ge=100, le=600_000, description="Longest time of one delivery to a webhook or by `notify`."
    )
