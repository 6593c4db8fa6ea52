"""What one collection of an integration gives, whatever it is written in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from metricsmith.model.labels import NAME_LABEL, format_labels
from metricsmith.model.metadata import Metadata

Series: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]
"""A metric's name and its labels, sorted."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One value; `time_ms` is None where the collector gives no time."""

    series: Series
    value: float
    time_ms: int | None = None

    @property
    def name(self) -> str:
        """The name that queries know it by."""
        return self.series[0]

    @property
    def labels(self) -> dict[str, str]:
        """The labels that the integration gives."""
        return dict(self.series[1])


@dataclass(frozen=True, slots=True)
class Observation:
    """What a collection gave. `failures` say what gave nothing, `refused` what an agent would leave out."""

    samples: Sequence[Sample] = ()
    metadata: Mapping[str, Metadata] = field(default_factory=dict)
    failures: Sequence[str] = ()
    refused: Sequence[str] = ()
    duration_s: float = 0.0

    @property
    def series(self) -> frozenset[Series]:
        """The series that have a sample."""
        return frozenset(sample.series for sample in self.samples)


class Observed(Protocol):
    """An integration that can be asked to collect, as an agent does; failures are in what it returns."""

    async def collect(self, mode: str) -> Observation:
        """Return what a collection gives; inputs are read in that mode."""
        ...

    def processes(self) -> int:
        """Return how many processes it has left running."""
        ...

    def close(self) -> None:
        """Release threads and processes."""
        ...


def shown(series: Series) -> str:
    """Return a series as people write it.

    >>> shown(("queue_items", (("queue", "mail"),)))
    'queue_items{queue="mail"}'
    """
    name, labels = series
    return format_labels({**dict(labels), NAME_LABEL: name})
