"""The typed settings of the scrape source."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Annotated, Literal
from urllib.parse import SplitResult, parse_qsl, urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from metricsmith.contracts import PartConfig
from metricsmith.model.duration import format_duration
from metricsmith.model.relabel import LABEL_NAME, RelabelRule
from metricsmith.model.settings_types import DurationMs, SizeBytes

DAY_MS = 86_400_000
MIN_INTERVAL_MS = 10
DEFAULT_TIMEOUT_MS = 10_000
URL_WANTED = "wanted a URL such as http://127.0.0.1:3000/metrics"
_USER = re.compile(r"[^/]*@")


def _got(target: str) -> str:
    """What was got, without user, password and query, which may be secrets."""
    return f'got "{_USER.sub("", target.partition("?")[0])[:200]}"'


def _http_url(value: str) -> str:
    try:
        parts = urlsplit(value)
    except ValueError:  # brackets that hold no IPv6 address
        raise ValueError(f"{_got(value)}, {URL_WANTED}") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("got a URL with a user or password in it, wanted basic_auth")
    if parts.scheme not in ("http", "https") or not parts.hostname or any(map(str.isspace, value)):
        raise ValueError(f"{_got(value)}, {URL_WANTED}")
    _check_port(parts, value)
    return value


def _check_port(parts: SplitResult, target: str) -> None:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError(f"{_got(target)}, wanted a port from 1 to 65535")


def _target(value: str) -> str:
    if "://" in value:
        split_target(_http_url(value))
        return value
    wanted = "wanted HOST:PORT or a URL such as http://HOST:PORT/metrics"
    if any(c in "/@?#\\" or c.isspace() for c in value):
        raise ValueError(f"{_got(value)}, {wanted}")
    try:
        parts = urlsplit(f"//{value}")
    except ValueError:
        raise ValueError(f"{_got(value)}, {wanted}") from None
    if not parts.hostname:
        raise ValueError(f"{_got(value)}, {wanted}")
    _check_port(parts, value)
    return value


def _targets_file(value: str) -> str:
    if PurePath(value).suffix not in (".json", ".yml", ".yaml"):
        raise ValueError(f'got "{value[:200]}", wanted a path that ends in .json, .yml or .yaml')
    return value


def split_target(target: str) -> tuple[str, str, str, dict[str, str]]:
    """Return scheme, address, path and query of a target; all but the address are empty for HOST:PORT.

    Raises:
        ValueError: a malformed URL, or one that names a query parameter twice
            or without a value: these do not survive as labels.
    """
    if "://" not in target:
        return "", target, "", {}
    parts = urlsplit(target)
    pairs = parse_qsl(parts.query, keep_blank_values=True, max_num_fields=1000)
    query = dict(pairs)
    if len(query) < len(pairs) or not all(query.values()):
        raise ValueError("got a repeated or empty query parameter in a target, wanted it in `params`")
    return parts.scheme, parts.netloc, parts.path, query


def _label_name(value: str) -> str:
    if not LABEL_NAME.fullmatch(value):
        raise ValueError(f'got "{value[:200]}", wanted a label name such as environment')
    return value


HttpUrl = Annotated[str, Field(max_length=2000), AfterValidator(_http_url)]
LabelName = Annotated[str, Field(max_length=1000), AfterValidator(_label_name)]
Target = Annotated[str, AfterValidator(_target)]
TargetsFile = Annotated[str, AfterValidator(_targets_file)]


class BasicAuth(PartConfig):
    """User and password."""

    username: str = Field("", description="User.")
    password: SecretStr | None = Field(None, description="Password; `${ENV}` and `file:PATH` are understood.")
    password_file: str | None = Field(None, description="File that holds the password, read at each request.")

    @model_validator(mode="after")
    def _one(self) -> BasicAuth:
        if self.password is not None and self.password_file is not None:
            raise ValueError("got password and password_file, wanted one of them")
        return self

    def secret(self) -> SecretStr:
        """Return the password, a file still unread."""
        return _secret(self.password, self.password_file)


class Authorization(PartConfig):
    """An Authorization header."""

    type: str = Field("Bearer", pattern=r"^[\w-]{1,100}$", description="Scheme of the header.")
    credentials: SecretStr | None = Field(None, description="Token; `${ENV}` and `file:PATH` are understood.")
    credentials_file: str | None = Field(None, description="File that holds the token, read at each request.")

    @model_validator(mode="after")
    def _one(self) -> Authorization:
        if self.type.lower() == "basic":
            raise ValueError("got type: Basic, wanted basic_auth for a user and password")
        if (self.credentials is None) == (self.credentials_file is None):
            raise ValueError("wanted exactly one of credentials and credentials_file")
        return self

    def secret(self) -> SecretStr:
        """Return the token, a file still unread."""
        return _secret(self.credentials, self.credentials_file)


def _secret(text: SecretStr | None, file: str | None) -> SecretStr:
    return SecretStr(f"file:{file}") if file is not None else text or SecretStr("")


class Tls(PartConfig):
    """How https connections are verified. Files are read again when they change."""

    ca_file: str | None = Field(None, description="Authorities to trust instead of the system's.")
    cert_file: str | None = Field(None, description="Client certificate.")
    key_file: str | None = Field(None, description="Key of the client certificate.")
    server_name: str | None = Field(None, description="Name that the certificate must have.")
    insecure_skip_verify: bool = Field(False, description="Accept any certificate. For tests only.")

    @model_validator(mode="after")
    def _pair(self) -> Tls:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("wanted cert_file and key_file together")
        return self


class HttpSettings(PartConfig):
    """How requests are made."""

    basic_auth: BasicAuth | None = Field(None, description="User and password.")
    authorization: Authorization | None = Field(None, description="Authorization header, by default Bearer.")
    tls: Tls = Field(default_factory=lambda: Tls(), description="Certificates and verification.")
    follow_redirects: bool = Field(True, description="Follow up to 10 redirects.")

    @model_validator(mode="after")
    def _one_authentication(self) -> HttpSettings:
        if self.basic_auth is not None and self.authorization is not None:
            raise ValueError("got basic_auth and authorization, wanted at most one of them")
        return self


class FileDiscovery(PartConfig):
    """Targets from files."""

    files: tuple[TargetsFile, ...] = Field(
        min_length=1, max_length=1000, description="Paths ending in .json, .yml or .yaml; globs are allowed."
    )
    refresh: DurationMs = Field(
        300_000, ge=100, le=DAY_MS, description="Longest time until a change is seen; usually it is 5 s."
    )


class HttpDiscovery(HttpSettings):
    """Targets from a URL that answers the JSON of Prometheus' http_sd."""

    url: HttpUrl = Field(description="Address that answers the list of targets.")
    refresh: DurationMs = Field(60_000, ge=100, le=DAY_MS, description="How often it is asked.")


class ScrapeConfig(HttpSettings):
    """Settings of a `scrape` source; names are Prometheus' own."""

    interval: DurationMs = Field(
        15_000, ge=MIN_INTERVAL_MS, le=DAY_MS, description="Time between scrapes of a target."
    )
    timeout: DurationMs | None = Field(
        None,
        ge=1,
        le=DAY_MS,
        description="Longest time of a scrape; default 10s, or the interval if shorter.",
    )
    targets: tuple[Target, ...] = Field(
        (), max_length=100_000, description="URLs, or HOST:PORT with `scheme` and `metrics_path`."
    )
    labels: dict[LabelName, str] = Field({}, description="Labels put on every target that does not set them.")
    scheme: Literal["http", "https"] = Field("http", description="Scheme of targets given as HOST:PORT.")
    metrics_path: str = Field("/metrics", pattern="^/", description="Path of targets given as HOST:PORT.")
    params: dict[str, tuple[str, ...]] = Field({}, description="Query parameters of every request.")
    honor_labels: bool = Field(
        False, description="Keep a scraped label that collides with a target label; else it is `exported_…`."
    )
    honor_timestamps: bool = Field(True, description="Keep timestamps that the target gives.")
    body_size_limit: SizeBytes = Field(
        64 << 20, ge=1, le=1 << 30, description="Largest body, before and after decompression."
    )
    sample_limit: int = Field(
        0, ge=0, description="Most samples of a scrape after relabelling; 0 is no limit."
    )
    label_limit: int = Field(0, ge=0, description="Most labels of a series; 0 is no limit.")
    label_name_length_limit: int = Field(0, ge=0, description="Longest label name in bytes; 0 is no limit.")
    label_value_length_limit: int = Field(0, ge=0, description="Longest label value in bytes; 0 is no limit.")
    target_limit: int = Field(
        10_000, ge=1, le=1_000_000, description="Most targets; what is above is not scraped, and counted."
    )
    relabel_configs: tuple[RelabelRule, ...] = Field(
        (), max_length=1000, description="Rules on a target's labels, before it is scraped."
    )
    metric_relabel_configs: tuple[RelabelRule, ...] = Field(
        (), max_length=1000, description="Rules on each scraped series."
    )
    file_sd: FileDiscovery | None = Field(None, description="Targets from files.")
    http_sd: HttpDiscovery | None = Field(None, validate_default=True, description="Targets from a URL.")

    # These look at one field each, so that they are heard beside mistakes elsewhere.
    @field_validator("timeout")
    @classmethod
    def _timeout_within_interval(cls, timeout: int | None, info: ValidationInfo) -> int | None:
        interval = info.data.get("interval")
        if timeout is not None and interval is not None and timeout > interval:
            raise ValueError(f"at most the interval, {format_duration(interval)}")
        return timeout

    @field_validator("http_sd")
    @classmethod
    def _some_targets(cls, http_sd: HttpDiscovery | None, info: ValidationInfo) -> HttpDiscovery | None:
        if http_sd is None and info.data.get("targets") == () and info.data.get("file_sd", ...) is None:
            raise PydanticCustomError("absent", "got no targets, wanted targets, file_sd or http_sd")
        return http_sd

    def timeout_ms(self) -> int:
        """Return the timeout, its default filled in."""
        return min(DEFAULT_TIMEOUT_MS, self.interval) if self.timeout is None else self.timeout
