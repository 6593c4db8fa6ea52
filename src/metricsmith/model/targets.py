"""What is known of targets that are scraped, for people and the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Health(StrEnum):
    """How the last scrape of a target ended; unknown before the first."""

    UP = "up"
    DOWN = "down"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class LastScrape:
    """One scrape's end; `error` is empty when it went well."""

    time_ms: int
    duration_s: float
    error: str


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """A target that is being scraped; no secret is in any field.

    `job` is the name of its source, Prometheus' scrape pool; its `job` label may
    be another. `discovered` are the labels that relabel rules were given.
    """

    job: str
    url: str
    labels: Mapping[str, str]
    interval_ms: int
    timeout_ms: int
    last: LastScrape | None
    discovered: Mapping[str, str] = field(default_factory=dict)

    @property
    def health(self) -> Health:
        """How the last scrape ended."""
        if self.last is None:
            return Health.UNKNOWN
        return Health.DOWN if self.last.error else Health.UP


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """The targets of one source: those that are scraped, and those that a relabel rule drops.

    Of the dropped ones, each by its discovered labels, `dropped` holds the
    first; `dropped_count` counts all. `list_age_s` is 0 while the list of targets
    is current, else how long ago it was.
    """

    name: str
    active: tuple[TargetStatus, ...]
    dropped: tuple[Mapping[str, str], ...] = ()
    dropped_count: int = 0
    list_age_s: float = 0.0
