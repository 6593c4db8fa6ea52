"""What a document of an integration says, the same for all protocol versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

Scalar: TypeAlias = str | float | bool
Attributes: TypeAlias = Mapping[str, Scalar]
NOTHING: Attributes = {}


class MetricKind(StrEnum):
    """Metric types of version 4."""

    GAUGE = "gauge"
    COUNT = "count"
    SUMMARY = "summary"
    RATE = "rate"
    CUMULATIVE_RATE = "cumulative-rate"
    CUMULATIVE_COUNT = "cumulative-count"
    PROMETHEUS_SUMMARY = "prometheus-summary"
    PROMETHEUS_HISTOGRAM = "prometheus-histogram"


NUMERIC_KINDS = frozenset(
    (
        MetricKind.GAUGE,
        MetricKind.COUNT,
        MetricKind.RATE,
        MetricKind.CUMULATIVE_RATE,
        MetricKind.CUMULATIVE_COUNT,
    )
)
"""Types whose value is one number."""


@dataclass(frozen=True, slots=True)
class Entity:
    """What samples are about; an empty name means the host."""

    name: str
    type: str = ""
    display_name: str = ""
    id_attributes: tuple[tuple[str, str], ...] = ()
    metadata: Attributes = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The entity's key as New Relic builds it: `type:name`, then the id attributes in lower case.

        >>> Entity("k-1", "broker", id_attributes=(("Env", "Prod"),)).key
        'broker:k-1:env=prod'
        """
        return ":".join([self.type, self.name, *(f"{k}={v}".lower() for k, v in self.id_attributes)])


HOST = Entity("")


@dataclass(frozen=True, slots=True)
class Sample:
    """One object of `metrics` in versions 1 to 3: a flat event of numbers and texts."""

    event_type: str
    fields: Attributes


@dataclass(frozen=True, slots=True)
class SummaryValue:
    """Value of a `summary`: what was observed within one interval; min and max may be missing."""

    count: float
    sum: float
    min: float | None
    max: float | None


@dataclass(frozen=True, slots=True)
class DistributionValue:
    """Value of a Prometheus summary (quantile, value) or histogram (upper bound, cumulative count)."""

    count: float
    sum: float
    points: tuple[tuple[float, float], ...]


Value: TypeAlias = float | SummaryValue | DistributionValue


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of version 4, what `common` says filled in.

    Units:
        time_ms since the Unix epoch, None when the document gives no time;
        interval_ms None when the document gives no interval.
    """

    name: str
    kind: MetricKind
    value: Value
    time_ms: int | None
    interval_ms: float | None
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, told once."""

    summary: str
    category: str
    time_ms: int | None
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Dataset:
    """What a document says of one entity; `samples` in versions 1 to 3, `metrics` in version 4."""

    entity: Entity = HOST
    samples: tuple[Sample, ...] = ()
    metrics: tuple[Metric, ...] = ()
    inventory: Mapping[str, Attributes] = field(default_factory=dict)
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Oddity:
    """A part of a document that cannot be used; `reason` is a short constant for counters."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Document:
    """One line of an integration's output. `oddities` tell what was left out, the first of them in words."""

    protocol: int
    name: str
    version: str
    datasets: tuple[Dataset, ...]
    oddities: tuple[Oddity, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """A line that asks the agent to run or register something and carries no data; `kind` is its key."""

    kind: str
