"""What is known of a target, for people and the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
    be another.
    """

    job: str
    url: str
    labels: Mapping[str, str]
    interval_ms: int
    timeout_ms: int
    last: LastScrape | None

    @property
    def health(self) -> Health:
        """How the last scrape ended."""
        if self.last is None:
            return Health.UNKNOWN
        return Health.DOWN if self.last.error else Health.UP
