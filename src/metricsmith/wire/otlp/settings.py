"""Settings of what OTLP metrics become; the names are those of Prometheus' section `otlp`."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from metricsmith.contracts import PartConfig
from metricsmith.model.settings_types import DurationMs

HOUR_MS = 3_600_000


class Translation(StrEnum):
    """How names of metrics and attributes become those of Prometheus."""

    UNDERSCORES = "UnderscoreEscapingWithSuffixes"
    NONE = "NoTranslation"


class OtlpSettings(PartConfig):
    """How metrics that OpenTelemetry sends are taken."""

    translation_strategy: Translation = Field(
        Translation.UNDERSCORES,
        description="`UnderscoreEscapingWithSuffixes` (`http.duration` in `s` is `http_duration_seconds`) or"
        " `NoTranslation` (names stay as they are sent).",
    )
    promote_resource_attributes: tuple[str, ...] = Field(
        (), max_length=100, description="Resource attributes that become labels of every series."
    )
    keep_identifying_resource_attributes: bool = Field(
        False,
        description="`target_info` has `service.name`, `service.namespace` and `service.instance.id`, too.",
    )
    promote_scope_metadata: bool = Field(
        False, description="Series have labels `otel_scope_name`, `otel_scope_version` and so on."
    )
    delta_expiry: DurationMs = Field(
        HOUR_MS,
        ge=1000,
        le=24 * HOUR_MS,
        description="A sum of deltas begins anew when none came for that long.",
    )
    delta_series: int = Field(
        1_000_000, ge=0, le=10_000_000, description="Most series whose deltas are summed."
    )
