"""The typed settings of the scrape source."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from metricsmith.model.duration import format_duration
from metricsmith.model.relabel import LABEL_NAME, RelabelRule
from metricsmith.model.settings_types import DurationMs, SizeBytes
from metricsmith.net.addresses import HttpUrl, Target
from metricsmith.net.settings import HttpSettings
from metricsmith.net.target_files import FileDiscovery
from metricsmith.sources.kubernetes.settings import KubernetesDiscovery

DAY_MS = 86_400_000
MIN_INTERVAL_MS = 10
DEFAULT_TIMEOUT_MS = 10_000


def _label_name(value: str) -> str:
    if not LABEL_NAME.fullmatch(value):
        raise ValueError(f'got "{value[:200]}", wanted a label name such as environment')
    return value


LabelName = Annotated[str, Field(max_length=1000), AfterValidator(_label_name)]


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
    http_sd: HttpDiscovery | None = Field(None, description="Targets from a URL.")
    kubernetes_sd: KubernetesDiscovery | None = Field(
        None, validate_default=True, description="Targets from a Kubernetes cluster."
    )

    # These look at one field each, so that they are heard beside mistakes elsewhere.
    @field_validator("timeout")
    @classmethod
    def _timeout_within_interval(cls, timeout: int | None, info: ValidationInfo) -> int | None:
        interval = info.data.get("interval")
        if timeout is not None and interval is not None and timeout > interval:
            raise ValueError(f"at most the interval, {format_duration(interval)}")
        return timeout

    @field_validator("kubernetes_sd")
    @classmethod
    def _some_targets(
        cls, kubernetes_sd: KubernetesDiscovery | None, info: ValidationInfo
    ) -> KubernetesDiscovery | None:
        others = [info.data.get(name, ...) for name in ("file_sd", "http_sd")]
        if kubernetes_sd is None and info.data.get("targets") == () and others == [None, None]:
            raise PydanticCustomError(
                "absent", "got no targets, wanted targets, file_sd, http_sd or kubernetes_sd"
            )
        return kubernetes_sd

    def timeout_ms(self) -> int:
        """Return the timeout, its default filled in."""
        return min(DEFAULT_TIMEOUT_MS, self.interval) if self.timeout is None else self.timeout
